"""The Request that Klein sees: twisted.web's, with a streamed body and replies of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString, parse_qs
from twisted.web.http_headers import Headers
from twisted.web.server import Request

from ngpu.http.server.body import RequestBody
from ngpu.http.server.head import Head, headers_of
from ngpu.http.server.refusal import error_body
from ngpu.http.server.reply import SWITCHED, Framing, check_field, frame, passed_head, reply_head
from ngpu.http.server.target import ALLOW

if TYPE_CHECKING:
    from ngpu.http.server.channel import Channel

_JOIN = 64 * 1024
"""A body up to this size is joined to its head, to be one write and one TLS record; a larger one is not copied."""


class NgpuRequest(Request):
    """A request whose head is complete; its body comes through ``body``.

    ``uri`` and ``path`` are in origin-form whatever the client sent, ``args`` comes from the query only, ``content``
    stays ``None``. ``peer_ip`` is the address of the connection's other end ("" where it has none), ``started`` the
    clock's time at which the head was complete. ``bytes_in`` counts the head and the body with its coding taken off,
    ``bytes_out`` what was given to the connection. ``switched`` says that the request became a tunnel.

    The head of a reply goes out with its first bytes, but the very first ``write`` waits for the end of the reactor's
    turn: when ``finish`` comes before that, the reply has a Content-Length and is one write.
    """

    defaultContentType = None
    channel: Any

    def __init__(self, channel: Channel, head: Head, body: RequestBody, head_size: int, started: float) -> None:
        self.head = head
        super().__init__(channel, parsePOSTFormSubmission=False)  # type: ignore[no-untyped-call]
        self._headers: Headers | None = None
        self.method = head.method
        self.clientproto = head.version
        self.uri, self.path = head.target.uri, head.target.path
        self.args = parse_qs(head.target.query, True) if head.target.query else {}
        self.body = body
        self.peer_ip = channel.peer_ip
        self.started = started
        self.bytes_out = 0
        self.notes: dict[str, str] = {}
        self._head_size = head_size
        self._framing = Framing(b"", body=False)
        self._held: bytes | None = None
        self._flush: IDelayedCall | None = None
        self.switched = False
        self._cut = False

    @property
    def requestHeaders(self) -> Headers:
        """The fields as twisted.web has them; made when somebody asks, since ``head`` serves most."""
        self._headers = headers_of(self.head) if self._headers is None else self._headers
        return self._headers

    @requestHeaders.setter
    def requestHeaders(self, headers: Headers) -> None:
        self._headers = headers

    def getHeader(self, key: Any) -> Any:
        """The last value of a field, ``None`` where there is none."""
        values = self.head.named.get((key if isinstance(key, bytes) else key.encode()).lower())
        return None if values is None else values[-1] if isinstance(key, bytes) else values[-1].decode()

    @property
    def bytes_in(self) -> int:
        """Bytes received so far."""
        return self._head_size + self.body.received

    def process(self) -> None:
        """Hand the request to the site's resource; what it raises becomes a 500."""
        site = self.site = self.channel.site
        self.prepath = []
        parts = self.path[1:].split(b"/")
        self.postpath = [unquote_to_bytes(part) for part in parts] if b"%" in self.path else parts
        try:
            if self.path == b"*":
                self._answer_star()
            else:
                self.render(site.getResourceFor(self))  # type: ignore[no-untyped-call]
        except Exception:
            self.processingFailed(Failure())

    def _answer_star(self) -> None:
        """``OPTIONS *`` asks about the server as a whole (RFC 9110 §9.3.7)."""
        self.setHeader(b"Allow", ALLOW)
        self.finish()

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
            self._send(b"", data)
        elif self._held is None and self._promised() is None:
            self._held = data
            self._flush = self.channel.site.clock.callLater(0, self._begin_late)
        else:
            self._begin(self._promised(), data)

    def pass_on(self, status: int, fields: Sequence[tuple[bytes, bytes]], length: int | None) -> None:
        """Begin a reply that another server made; its head goes out at once, with none of the fields set here.

        :param length: of the body, where it is known.
        :raises ValueError: the head cannot be sent.
        """
        if self._disconnected:
            return
        framing = frame(status, self.method, self.clientproto, length)
        close = self.channel.ends_with(self, framing.close)
        self._pass_head(status, fields, framing, close)

    def switch(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Answer 101; from now on ``body`` is what the client sends, and what is written goes out as it is.

        :raises ValueError: the head cannot be sent.
        """
        if self._disconnected:
            return
        self.switched = True
        head = Framing(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", body=True, close=True)
        self._pass_head(SWITCHED, fields, head, close=False)
        self.body = self.channel.switch(self)

    def _pass_head(self, status: int, fields: Sequence[tuple[bytes, bytes]], framing: Framing, close: bool) -> None:
        head = passed_head(status, fields, framing, close, self.channel.site.date())
        self.code = status
        self.startedWriting = 1
        self._framing = framing
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
            self.processingFailed(Failure())

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

    def finish(self) -> None:
        """The reply is complete. Does nothing when the client has gone or the reply was finished before.

        A reply that turns out shorter than its Content-Length aborts the connection, which is how its client knows.
        """
        if self._disconnected or self.finished:
            return
        if not self.startedWriting:
            length = self._promised()
            self._begin(len(self._held or b"") if length is None else length, b"")
        if self._framing.chunked and not self._cut:
            self.bytes_out += 5
            self.channel.write(b"0\r\n\r\n")
        framing = self._framing
        whole = not framing.body or framing.length is None or self.sentLength == framing.length
        self.finished = 1
        if self.producer is not None:
            self.unregisterProducer()
        channel, self.channel = self.channel, None
        for notification in self._take_notifications():
            notification.callback(None)
        channel.site.request_ended(self, aborted=self._cut or not whole)
        channel.requestDone(self, whole if not self._cut else not framing.close)

    def _take_notifications(self) -> list[Any]:
        notifications, self.notifications = self.notifications, []
        return notifications

    def connectionLost(self, reason: Failure) -> None:
        """The client has gone, or is no longer served: whoever works on this request is told."""
        if self._disconnected or self.finished:
            return
        self._disconnected = True
        self._drop_held()
        channel, self.channel = self.channel, None
        producer, self.producer = self.producer, None
        if producer is not None:
            channel.unregisterProducer()
            producer.stopProducing()
        for notification in self._take_notifications():
            notification.errback(reason)
        self.body.fail(reason.value or ConnectionLost())
        channel.site.request_ended(self, aborted=True)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let ``producer`` write at the client's pace; it is stopped at once when the client has gone."""
        if self._disconnected:
            producer.stopProducing()
            return
        super().registerProducer(producer, streaming)  # type: ignore[no-untyped-call]

    def unregisterProducer(self) -> None:
        """The end of ``registerProducer``."""
        self.producer = None
        if self.channel is not None:
            self.channel.unregisterProducer()

    def processingFailed(self, reason: Failure) -> None:
        """Log a failure that nobody has handled, and answer 500, or cut off a reply that has begun."""
        self._log.failure("{method} request failed", failure=reason, method=self.method)
        if self._disconnected or self.finished:
            return
        if self.startedWriting:
            self.channel.abortConnection()
            return
        self._drop_held()
        self.responseHeaders = Headers()
        self.cookies = []
        self.setResponseCode(500)
        self.setHeader(b"Content-Type", b"application/json")
        self.write(error_body(500, "The gateway failed at this request; its log says why."))
        self.finish()
