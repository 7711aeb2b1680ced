"""The reply's side of a request: one head with one framing field, and a body that keeps to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from twisted.web.server import Request

from ngpu.http.server.body import RequestBody
from ngpu.http.server.reply import SWITCHED, Fields, Framing, check_field, frame, passed_head, reply_head
from ngpu.relay import Begin, Over, Relay

_JOIN = 64 * 1024
"""A body up to this size is joined to its head, to be one write and one TLS record; a larger one is not copied."""

_NO_FRAMING = Framing(b"", body=False)


class Replying(Request):
    """Writes replies.

    The head of a reply goes out with its first bytes, but the very first ``write`` waits for the end of the reactor's
    turn: when ``finish`` comes before that, the reply has a Content-Length and is one write.
    """

    channel: Any
    body: RequestBody
    bytes_out = 0
    switched = False
    _cut = False
    _framing = _NO_FRAMING
    _held: bytes | None = None
    _head = b""  # of a passed reply that is written together with its body
    _flush: IDelayedCall | None = None
    _gone: Callable[[], None] | None = None

    def setHeader(self, name: Any, value: Any) -> None:
        """Set a field of the reply.

        :raises ValueError: when it would break out of its line.
        """
        check_field(
            name.encode("iso-8859-1") if isinstance(name, str) else name,
            value.encode("utf-8") if isinstance(value, str) else value,
        )
        super().setHeader(name, value)  # type: ignore[no-untyped-call]

    def write(self, data: bytes) -> None:
        """Send some of the reply's body; dropped when the client has gone.

        :raises ValueError: the fields of the reply cannot be sent, or this is more than its Content-Length.
        :raises RuntimeError: after ``finish``.
        """
        if self._disconnected:
            return
        if self.finished:
            raise RuntimeError("Request.write called on a request after Request.finish was called.")
        if self.startedWriting:
            head, self._head = self._head, b""
            self._send(head, data)
        elif self._held is None and self._promised() is None:
            self._held = data
            self._flush = self.channel.site.clock.callLater(0, self._begin_late)
        else:
            self._begin(self._promised(), data)

    def pass_on(
        self,
        status: int,
        fields: Fields,
        length: int | None,
        whole: bool = False,
        own: Fields = (),
    ) -> None:
        """Begin a reply that another server made; its head goes out at once, with none of the fields set here.

        :param length: of the body, where it is known.
        :param whole: all of the body, or the end, comes in this turn of the reactor: the head waits for it.
        :param own: fields beside those, which are as they should be.
        :raises ValueError: the head cannot be sent.
        """
        if self._disconnected:
            return
        framing = frame(status, self.method, self.clientproto, length)
        close = self.channel.ends_with(self, framing.close)
        self._pass_head(status, fields, framing, close, own, whole)

    def switch(self, fields: Fields, own: Fields = ()) -> None:
        """Answer 101; from now on ``body`` is what the client sends, and what is written goes out as it is.

        :raises ValueError: the head cannot be sent.
        """
        if self._disconnected:
            return
        self.switched = True
        head = Framing(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", body=True, close=True)
        self._pass_head(SWITCHED, fields, head, close=False, own=own)
        self.body = self.channel.switch(self)

    def _pass_head(
        self, status: int, fields: Fields, framing: Framing, close: bool, own: Fields, wait: bool = False
    ) -> None:
        head = passed_head(status, fields, framing, close, self.channel.site.date(), own)
        self.code = status
        self.startedWriting = 1
        self._framing = framing
        if wait:
            self._head = head
        else:
            self._send(head, b"")

    def cut(self) -> None:
        """The reply that has begun cannot be completed: end the connection, so that it does not look whole.

        ``finish`` has to follow. What was written is still sent, unless only the connection's end tells the reply's.
        """
        if not self._disconnected and not self.finished:
            self._cut = True
            self.channel.loseConnection()

    def _promised(self) -> int | None:
        """The Content-Length that the application has set."""
        values = self.responseHeaders.getRawHeaders(b"content-length")
        if values is None:
            return None
        if len(values) != 1 or not values[0].isdigit() or len(values[0]) > 18:
            raise ValueError("the Content-Length of the reply is no number")
        return int(values[0])

    def _begin_late(self) -> None:
        """Nothing came after the first bytes in their turn of the reactor, so this reply is a stream."""
        self._flush = None
        try:
            self._begin(self._promised(), b"")
        except ValueError:
            self.processingFailed(Failure())  # type: ignore[no-untyped-call]

    def _begin(self, length: int | None, data: bytes) -> None:
        """Send the reply's head, what was held and ``data``."""
        framing = frame(self.code, self.method, self.clientproto, length)
        asked = b"close" in (value.lower() for value in self.responseHeaders.getRawHeaders(b"connection", ()))
        close = self.channel.ends_with(self, framing.close or asked)
        if self.lastModified is not None:
            self.responseHeaders.setRawHeaders(b"Last-Modified", [datetimeToString(self.lastModified)])
        if self.etag is not None:
            self.responseHeaders.setRawHeaders(b"ETag", [self.etag])
        if self.cookies:
            self.responseHeaders.setRawHeaders(b"Set-Cookie", self.cookies)
        fields = self.responseHeaders.getAllRawHeaders()
        head = reply_head(self.code, fields, framing, close, self.channel.site.date())
        held = self._drop_held()
        self.startedWriting = 1
        self._framing = framing
        self._send(head, held + data if held and data else held or data)

    def _drop_held(self) -> bytes:
        flush, self._flush = self._flush, None
        if flush is not None:
            flush.cancel()
        held, self._held = self._held, None
        return held or b""

    def _send(self, head: bytes, data: bytes) -> None:
        framing = self._framing
        if not framing.body:
            data = b""
        self.sentLength += len(data)
        if framing.length is not None and framing.body and self.sentLength > framing.length:
            self.channel.abortConnection()
            raise ValueError("the reply is longer than its Content-Length")
        if framing.chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        for piece in (head + data,) if len(data) <= _JOIN else (head, data):
            if piece:
                self.bytes_out += len(piece)
                self.channel.write(piece)

    def relay_reply(self, source: Any, count: int, over: Over) -> Relay | None:
        """Let some of what is left of a reply that was passed on come over another transport; see `ngpu.relay`."""

        def ended(relay: Relay) -> None:
            self.sentLength += relay.given
            self.bytes_out += relay.given
            over(relay)

        begin: Begin | None = getattr(self.channel, "relay_out", None)
        framing = self._framing
        if begin is None or not framing.body or (framing.length or 0) < self.sentLength + count:
            return None
        return begin(source, count, ended)

    def finish(self) -> None:
        """The reply is complete. Does nothing when the client has gone or the reply was finished before.

        A reply that turns out shorter than its Content-Length aborts the connection, which is how its client knows.
        """
        if self._disconnected or self.finished:
            return
        if not self.startedWriting:
            length = self._promised()
            self._begin(len(self._held or b"") if length is None else length, b"")
        if self._head:
            head, self._head = self._head, b""
            self._send(head, b"")
        if self._framing.chunked and not self._cut:
            self.bytes_out += 5
            self.channel.write(b"0\r\n\r\n")
        framing = self._framing
        whole = not framing.body or framing.length is None or self.sentLength == framing.length
        self.finished = 1
        if self.producer is not None:
            self.unregisterProducer()  # type: ignore[no-untyped-call]
        channel, self.channel = self.channel, None
        self._gone = None
        for notification in self._take_notifications():
            notification.callback(None)
        channel.site.request_ended(self, aborted=self._cut or not whole)
        channel.requestDone(self, whole if not self._cut else not framing.close)

    def _take_notifications(self) -> list[Any]:
        notifications, self.notifications = self.notifications, []
        return notifications
