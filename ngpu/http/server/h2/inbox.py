"""From h2's events to requests, and what becomes of mistakes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import StreamClosedError
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.python.failure import Failure

from ngpu.http.server.h2.floods import Floods, Kind
from ngpu.http.server.h2.frames import CONNECTION, UNREAD
from ngpu.http.server.h2.head import Malformed, check_trailers, head_of
from ngpu.http.server.h2.stream import Stream
from ngpu.http.server.refusal import Refused

if TYPE_CHECKING:
    from ngpu.http.server.h2.channel import H2Channel

_MOST_STREAMS = 100_000
"""Requests after which the client is asked to connect anew."""


@dataclass
class _Lingering:
    """A body of which nothing is taken any more: until when it may come, and how many bytes more."""

    until: float
    left: int


class Inbox:
    """The streams of one connection.

    :ivar streams: those whose reply is not sent, by their numbers.
    :ivar new: those of them that were not begun.
    :ivar closed_to_new: streams that come from now on are refused; their client may safely ask elsewhere.
    """

    def __init__(self, channel: H2Channel) -> None:
        self.streams: dict[int, Stream] = {}
        self.new: deque[Stream] = deque()
        self.closed_to_new = False
        self._lingering: dict[int, _Lingering] = {}
        self.floods = Floods(channel.clock.seconds())
        self._channel = channel
        self._frames = channel.frames
        self._unread = 0
        self._takes: dict[type[events.Event], Callable[[Any], None]] = {
            events.RequestReceived: self._request,
            events.DataReceived: self._data,
            events.TrailersReceived: self._trailers,
            events.StreamEnded: self._ended,
            events.StreamReset: self._reset,
            events.WindowUpdated: self._window,
            events.RemoteSettingsChanged: self._settings,
            events.PingReceived: lambda _: self._count(Kind.PING),
            events.PriorityUpdated: lambda _: self._count(Kind.PRIORITY),
            events.UnknownFrameReceived: lambda _: self._count(Kind.UNKNOWN),
        }

    def take(self, event: events.Event) -> None:
        """Act on what has come.

        :raises Flood: it is too much.
        """
        take = self._takes.get(type(event))
        if take is not None:
            take(event)

    def _request(self, event: events.RequestReceived) -> None:
        number = event.stream_id
        if self.closed_to_new:
            self._frames.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            return
        stream = self.streams[number] = Stream(self._channel, number)
        self.new.append(stream)
        self._channel.note()
        fields: Any = event.headers
        site = self._channel.site
        try:
            stream.take_head(*head_of(fields, event.stream_ended is not None, site.limits, site.request_lines))
        except Refused as refused:
            stream.refuse(refused)
        except Malformed as malformed:
            self._break_off(number, str(malformed))
        if number >= 2 * _MOST_STREAMS:
            self._channel.retire()

    def _data(self, event: events.DataReceived) -> None:
        size = event.flow_controlled_length
        self._unread += size
        if self._unread >= CONNECTION // 4:
            self._channel.open_window(self._unread, None)
            self._unread = 0
        if not event.data and event.stream_ended is None:
            self._count(Kind.EMPTY)
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            if not stream.take_body(event.data, size):
                self._break_off(event.stream_id, "the body is longer than content-length says")
        elif size and event.stream_ended is None:
            self._drop_data(event.stream_id, size)

    def _trailers(self, event: events.TrailersReceived) -> None:
        fields: Any = event.headers
        try:
            check_trailers(fields)
        except Malformed as malformed:
            self._break_off(event.stream_id, str(malformed))

    def _ended(self, event: events.StreamEnded) -> None:
        self._lingering.pop(event.stream_id, None)
        stream = self.streams.get(event.stream_id)
        if stream is not None and not stream.take_end():
            self._break_off(event.stream_id, "the body is shorter than content-length says")

    def _reset(self, event: events.StreamReset) -> None:
        if self._lingering.pop(event.stream_id, None) is None:
            self._count(Kind.RESET)
        self.drop(event.stream_id, Failure(ConnectionDone("the client has reset the stream")))

    def _break_off(self, number: int, why: str) -> None:
        """What came on a stream is no request."""
        self._count(Kind.RESET)
        self._channel.site.log_refused(self._channel.peer_ip, 400, why)
        with suppress(StreamClosedError):  # its reply is sent, and this was the client's end of it
            self._frames.reset_stream(number, ErrorCodes.PROTOCOL_ERROR)
        self.drop(number, Failure(ConnectionAborted(why)))

    def _window(self, event: events.WindowUpdated) -> None:
        self._count(Kind.WINDOW)
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            self._channel.wake(stream)
        elif not event.stream_id:
            self._wake_all()

    def _settings(self, event: events.RemoteSettingsChanged) -> None:
        self._count(Kind.SETTINGS)
        self._frames.keep_table_small()
        self._wake_all()

    def _wake_all(self) -> None:
        for stream in self.streams.values():
            self._channel.wake(stream)

    def _count(self, kind: Kind) -> None:
        self.floods.count(kind, self._channel.clock.seconds())

    def linger(self, number: int) -> None:
        """The reply is sent before the client has sent its body: what still comes is dropped.

        RFC 9113 §8.1 has us say so with a RST_STREAM; but some clients miss a reply that comes just before one, or wait
        on after it (curl 7.88 does either), so that they get the while that they have in HTTP/1.1.
        """
        limits = self._channel.limits
        until = self._channel.clock.seconds() + limits.linger_time
        self._lingering[number] = _Lingering(until, limits.linger_size - UNREAD)
        self._frames.increment_flow_control_window(UNREAD, number)

    def _drop_data(self, number: int, size: int) -> None:
        lingering = self._lingering.get(number)
        if lingering is not None and lingering.left >= size:
            lingering.left -= size
            self._frames.increment_flow_control_window(size, number)

    def check(self, now: float) -> None:
        """Act on the times that have run out."""
        while self._lingering:
            number, lingering = next(iter(self._lingering.items()))
            if lingering.until > now:
                break
            del self._lingering[number]
            self._frames.reset_stream(number, ErrorCodes.NO_ERROR)
            self._channel.woken()

    def drop(self, number: int, reason: Failure) -> None:
        """A stream is over before its reply was."""
        stream = self.streams.pop(number, None)
        if stream is not None:
            stream.lost(reason)
            self._channel.gone(stream)

    def drop_all(self, reason: Failure) -> None:
        """All of them are."""
        self._lingering.clear()
        streams, self.streams = self.streams, {}
        self.new.clear()
        for stream in streams.values():
            stream.lost(reason)
