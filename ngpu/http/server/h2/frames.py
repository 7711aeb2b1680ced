"""The h2 library, as we use it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream
from hyperframe.exceptions import InvalidPaddingError

from ngpu.http.server.limits import Limits

if TYPE_CHECKING:
    from hyperframe.frame import Frame, GoAwayFrame

STREAMS = 100
"""Requests that a client may have open at once on one connection."""

UNREAD = 65535
"""Bytes of a body that may come before anybody reads it: the protocol's own default."""

READ = 256 * 1024
"""And while somebody does, on their way or not read yet."""

CONNECTION = 1024 * 1024
"""The same for the connection; given back as bytes come, for it is the streams that hold them."""

EVERY_STREAM = 2**31 - 1

_TABLE = 4096
"""The most that is remembered of our own headers, whatever the client would keep: it would be kept here, too."""


class Frames(H2Connection):
    """One connection's states and windows.

    Fields are not checked here, see `head_of`, which also says which mistakes end only a stream; nor are bodies against
    the length that was told, see `Stream.take_body`.
    """

    MAX_CLOSED_STREAMS = 1000

    def __init__(self, limits: Limits) -> None:
        super().__init__(
            H2Configuration(
                client_side=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.head_size,
                SettingCodes.INITIAL_WINDOW_SIZE: UNREAD,
            },
        )
        # so that a head that is a little too long still gets its 431; one longer than this ends the connection
        self.decoder.max_header_list_size = 2 * limits.head_size

    def begin(self) -> None:
        """Say what holds here."""
        self.initiate_connection()
        self.increment_flow_control_window(CONNECTION - UNREAD)

    def received(self, data: bytes) -> Iterator[Event]:
        """In place of ``receive_data``: the events of each frame before the next one is looked at.

        Whoever acts on an event finds its stream as it was then, and not as a RST_STREAM has left it that came along.

        :raises ProtocolError: the client has broken the protocol; the GOAWAY is written.
        """
        self.incoming_buffer.add_data(data)
        self.incoming_buffer.max_frame_size = self.max_inbound_frame_size
        while True:
            try:
                frame = next(self.incoming_buffer, None)
                events = () if frame is None else self._receive_frame(frame)
            except InvalidPaddingError as error:
                self._terminate_connection(ErrorCodes.PROTOCOL_ERROR)
                raise ProtocolError("Received frame with invalid padding.") from error
            except ProtocolError as error:
                self._terminate_connection(error.error_code)
                raise
            if frame is None:
                return
            yield from events

    def keep_table_small(self) -> None:
        """To be called after each change of the client's settings."""
        if self.encoder.header_table_size > _TABLE:
            self.encoder.header_table_size = _TABLE

    def _begin_new_stream(self, stream_id: int, allowed_ids: Any) -> H2Stream:
        """h2 itself ends the connection over a Content-Length that is wrong, with all that others do on it."""
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        stream._initialize_content_length = _nothing_expected  # type: ignore[method-assign]
        return stream

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        """The client opens no more streams; it still waits for the replies on those that there are (RFC 9113 §6.8).

        h2 itself takes it for the end of the connection.
        """
        return [], [ConnectionTerminated()]


def _nothing_expected(headers: Iterable[Any]) -> None:
    """In place of remembering how long the body is to be."""


def goaway(last: int, code: ErrorCodes) -> bytes:
    """A GOAWAY frame; h2 makes them only where it is also to forget the streams.

    :param last: the highest stream that is, or may yet be, served.
    """
    return struct.pack(">BHBBIII", 0, 8, 7, 0, 0, last, code)
