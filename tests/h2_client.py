"""A client that speaks HTTP/2 step by step, and frames that none would send."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame

WITHIN = 10.0
Fields = Sequence[tuple[bytes, bytes]]


def client_context(root: str | None = None, *protocols: str) -> ssl.SSLContext:
    """One that trusts this root, or anybody."""
    context = ssl.create_default_context(cafile=root)
    if root is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols([*protocols])
    return context


def head(method: bytes = b"GET", path: bytes = b"/", *more: tuple[bytes, bytes]) -> Fields:
    return [(b":method", method), (b":scheme", b"https"), (b":authority", b"gw.test"), (b":path", path), *more]


class Replied:
    """What has come of one reply."""

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.informed: list[bytes] = []
        self.body = bytearray()
        self.ended = False
        self.reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.fields[b":status"])


class H2Client:
    """One connection. It gives windows back only when the test does, unless it is ``greedy``."""

    def __init__(self, port: int, greedy: bool = True, window: int = 65535, checked: bool = True) -> None:
        raw = socket.create_connection(("127.0.0.1", port), WITHIN)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = client_context(None, "h2").wrap_socket(raw)
        assert self.sock.selected_alpn_protocol() == "h2"
        self.greedy = greedy
        self.frames = H2Connection(
            H2Configuration(
                client_side=True,
                validate_outbound_headers=checked,
                normalize_outbound_headers=checked,
            )
        )
        self.frames.local_settings = Settings(client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.replies: dict[int, Replied] = {}
        self.going: ConnectionTerminated | None = None
        self.closed = False
        self.came = bytearray()
        self.frames.initiate_connection()
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.sock.close()

    def flush(self) -> None:
        self.raw(self.frames.data_to_send())

    def raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def frame(self, *frames: Frame) -> None:
        """Send frames as they are."""
        self.raw(b"".join(each.serialize() for each in frames))

    def ask(self, fields: Fields, ended: bool = True, body: bytes = b"") -> int:
        """Begin a request; a body has to fit into the window."""
        number = self.frames.get_next_available_stream_id()
        self.frames.send_headers(number, fields, end_stream=ended and not body)
        self.replies[number] = Replied()
        if body:
            self.send(number, body, ended)
        self.flush()
        return number

    def send(self, number: int, data: bytes, ended: bool = False) -> None:
        """Send some of a body as its window opens."""
        left = memoryview(data)
        while left:
            room = min(self.frames.local_flow_control_window(number), self.frames.max_outbound_frame_size)
            if room <= 0:
                self.flush()
                self.more()
                continue
            self.frames.send_data(number, left[:room], end_stream=ended and len(left) <= room)
            left = left[room:]
        self.flush()

    def window(self, number: int) -> int:
        """How much may be sent at once now."""
        return self.frames.local_flow_control_window(number)

    def more(self) -> list[Event]:
        """What comes next; nothing once the other end has closed."""
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, ssl.SSLError):
            data = b""
        if not data:
            self.closed = True
            return []
        if len(self.came) < 1_000_000:
            self.came += data
        try:
            events = self.frames.receive_data(data)
        except ProtocolError:
            return []
        for event in events:
            self._take(event)
        if not self.closed:
            try:
                self.flush()
            except OSError:
                self.closed = True
        return events

    def _take(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self.going = event
        reply = self.replies.get(getattr(event, "stream_id", 0) or 0)
        if reply is None:
            return
        fields: Any
        if isinstance(event, ResponseReceived):
            fields = event.headers
            reply.fields = dict(fields)
        elif isinstance(event, InformationalResponseReceived):
            fields = event.headers
            reply.informed.append(dict(fields)[b":status"])
        elif isinstance(event, DataReceived):
            reply.body += event.data
            if self.greedy:
                self.frames.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            reply.ended = True
        elif isinstance(event, StreamReset):
            reply.reset = int(event.error_code)

    def until(self, true: Callable[[], object]) -> None:
        """Read until that is so, or the other end has closed."""
        self.flush()
        while not true() and not self.closed:
            self.more()

    def reply(self, number: int) -> Replied:
        """The reply to a request, once it is whole or was broken off."""
        reply = self.replies[number]
        self.until(lambda: reply.ended or reply.reset is not None)
        return reply

    def end(self) -> int | None:
        """How the other end closes: the code of its last GOAWAY, whatever h2 thinks of what came before."""
        self.until(lambda: self.closed)
        code, data = None, memoryview(bytes(self.came))
        while len(data) >= 9:
            frame, length = Frame.parse_frame_header(data[:9])
            frame.parse_body(data[9 : 9 + length])
            data = data[9 + length :]
            code = frame.error_code if isinstance(frame, GoAwayFrame) else code
        return code
