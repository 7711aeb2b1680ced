"""The Request that Klein sees: twisted.web's, with a streamed body and replies of ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.web.http import parse_qs
from twisted.web.http_headers import Headers

from ngpu.http.server.body import RequestBody
from ngpu.http.server.head import Head, headers_of
from ngpu.http.server.refusal import error_body
from ngpu.http.server.replying import Replying
from ngpu.http.server.target import ALLOW
from ngpu.relay import Begin, Over, Relay

if TYPE_CHECKING:
    from ngpu.http.server.channel import Channel


_KEPT = 256
"""Bytes of a query at most that is remembered: most of a customer's calls have one of few."""

_short = lru_cache(maxsize=1024)(lambda query: parse_qs(query, True))


class NgpuRequest(Replying):
    """A request whose head is complete; its body comes through ``body``.

    ``uri`` and ``path`` are in origin-form whatever the client sent, ``args`` comes from the query only, ``content``
    stays ``None``. ``peer_ip`` is the address of the connection's other end ("" where it has none), ``started`` the
    clock's time at which the head was complete. ``bytes_in`` counts the head and the body with its coding taken off,
    ``bytes_out`` what was given to the connection. ``switched`` says that the request became a tunnel.
    """

    defaultContentType = None

    def __init__(self, channel: Channel, head: Head, body: RequestBody, head_size: int, started: float) -> None:
        # what twisted.web's Request sets, but for the header fields, which it would make anew for each
        self.channel = channel
        self.client, self.host, self.transport = channel.getPeer(), channel.getHost(), channel.transport
        self.notifications = []
        self.received_cookies, self.cookies = {}, []
        self.queued, self._parsePOSTFormSubmission = False, False
        Componentized.__init__(self)
        self.head = head
        self.method = head.method
        self.clientproto = head.version
        self.uri, self.path = head.target.uri, head.target.path
        query = head.target.query
        self.args = dict(_short(query) if len(query) <= _KEPT else parse_qs(query, True)) if query else {}
        self.body = body
        self.peer_ip = channel.peer_ip
        self.started = started
        self.notes: dict[str, str] = {}
        self.prepath = []
        self._headers: Headers | None = None
        self._head_size = head_size

    @cached_property
    def responseHeaders(self) -> Headers:  # type: ignore[override]
        """The fields of a reply of ours; made when somebody asks, since replies that are passed on have none."""
        return Headers()

    @cached_property
    def postpath(self) -> list[bytes]:  # type: ignore[override]
        """The segments of the path, decoded, that no resource has taken yet."""
        parts = self.path[1:].split(b"/")
        return [unquote_to_bytes(part) for part in parts] if b"%" in self.path else parts

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
        try:
            if self.path == b"*":
                self._answer_star()
            else:
                leaf = site.resource.isLeaf
                self.render(site.resource if leaf else site.getResourceFor(self))  # type: ignore[no-untyped-call]
        except Exception:
            self.processingFailed(Failure())

    def when_gone(self, tell: Callable[[], None]) -> None:
        """Call this, in place of what was said before, once the client has gone; never after ``finish``.

        The same as ``notifyFinish``, for one that does not want to know of the end.
        """
        self._gone = tell

    def _answer_star(self) -> None:
        """``OPTIONS *`` asks about the server as a whole (RFC 9110 §9.3.7)."""
        self.setHeader(b"Allow", ALLOW)
        self.finish()

    def relay_body(self, sink: Any, over: Over) -> Relay | None:
        """Let the rest of the body pass by into a transport; see `ngpu.relay.relay_between`."""
        begin: Begin | None = getattr(self.channel, "relay_in", None)
        return None if begin is None else self.body.relay(begin, sink, over)

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
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()
        for notification in self._take_notifications():
            notification.errback(reason)
        self.body.lost(reason)
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
