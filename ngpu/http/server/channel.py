"""One client's connection: bytes in, requests one after another, replies out (RFC 9112 §9)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ngpu.http.server.body import RequestBody
from ngpu.http.server.head import Head
from ngpu.http.server.intake import Intake
from ngpu.http.server.phase import Phase
from ngpu.http.server.refusal import Refused, plain_error
from ngpu.http.server.relaying import Relaying
from ngpu.http.server.request import NgpuRequest
from ngpu.http.server.target import ALLOW

if TYPE_CHECKING:
    from ngpu.http.server.site import Site

_NEVER = float("inf")

_TURN = 16
"""Pipelined requests that are served in one turn of the reactor; then other connections have theirs."""


@implementer(IHalfCloseableProtocol)
class Channel(Relaying):
    """The server's end of a connection.

    Bytes behind a request are kept, unread, until its reply is written, so nothing after a malformed request ever
    runs, and what is kept is bounded. While a request is served the connection is still read, up to that bound, to see
    its client go. A client that closes, or half-closes, its side while it waits for a reply counts as gone: TCP does
    not tell the two apart. Replies that are already written are still sent to it.
    """

    def __init__(self, site: Site) -> None:
        self.site = self.factory = site
        self.phase = Phase.HEAD
        self._limits = site.limits
        self._clock = site.clock
        self._in = Intake(site.limits, site.request_lines)
        self._idle = False  # kept alive, and not a byte of the next head is here
        self._deadline = _NEVER
        self._request: NgpuRequest | None = None
        self._continue_due = False
        self._last = False  # the connection ends with the present reply
        self._advancing = False
        self._turn: IDelayedCall | None = None
        self._reading = True
        self._eof = False
        self._lingered = 0

    # what the transport calls

    def connectionMade(self) -> None:
        """Begin to wait for a head."""
        self.open(self._clock, self._limits.write_timeout)
        self._deadline = self._clock.seconds() + self._limits.head_timeout
        self.site.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self.phase is Phase.HEAD:
            self._in.add(data)
            self._advance()
        elif self.phase is Phase.REQUEST:
            if self._request is not None and not self._request.body.complete:
                self.size_next(len(data))
                self._feed_body(self._request, data)
            else:
                self._in.add(data)
            self._adjust_reading()
        elif self.phase is Phase.LINGER:
            self._lingered += len(data)
            self._adjust_reading()

    def readConnectionLost(self) -> None:
        """The client sends no more (RFC 9112 §9.6); if it waits for a reply it counts as gone."""
        self._eof = True
        request = self._request
        if request is not None and request.switched:
            request.body.feed(b"", True)
            return
        if request is not None:
            self._drop_request(request, Failure(ConnectionDone("the client closed its side of the connection")))
        if request is not None or self._turn is None:
            self._end(linger=False)

    def writeConnectionLost(self) -> None:
        """All is sent, and the client knows that it was the last."""
        if self.phase is Phase.LINGER:
            self._deadline = self._clock.seconds() + self._limits.linger_time

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over; a request that is being served is told."""
        self.phase = Phase.CLOSED
        self._deadline = _NEVER
        self._in.buffer = b""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._out.stopProducing()
        request = self._request
        if request is not None and request.switched and reason.check(ConnectionDone):
            request.body.feed(b"", True)  # TLS has no halves
        elif request is not None:
            self._drop_request(request, reason)
        self.site.remove(self)

    def drained(self) -> None:
        """The client keeps up again: go on with its requests."""
        self._advance()

    # from bytes to requests

    def _advance(self) -> None:
        """Serve what is in the buffer, a bounded number of requests in one turn of the reactor."""
        if self._advancing:
            return
        self._advancing = True
        try:
            for _ in range(_TURN):
                if not self._step():
                    break
            else:
                if self._turn is None:
                    self._turn = self._clock.callLater(0, self._next_turn)
        finally:
            self._advancing = False
        if self._eof and self._turn is None and self.phase is Phase.HEAD:
            self._end(linger=False)
        self._adjust_reading()

    def _next_turn(self) -> None:
        self._turn = None
        self._advance()

    def _step(self) -> bool:
        """Start the next request if its head is complete; true when it is also done."""
        if self.phase is not Phase.HEAD or not self._in.buffer or not self._out.writable:
            return False
        self._in.skip_empty_line()
        if self._idle and self._in.buffer:
            self._idle = False
            self._deadline = self._clock.seconds() + self._limits.head_timeout
        try:
            found = self._in.next_head()
        except Refused as refused:
            self._refuse(refused)
            return False
        if found is None:
            return False
        self._start(*found)
        return self.phase is Phase.HEAD

    def _start(self, head: Head, size: int) -> None:
        self.phase = Phase.REQUEST
        self._deadline = _NEVER
        self._last = False
        body = RequestBody(head.length, self._limits, self._clock, self._body_wanted)
        self._continue_due = head.expects
        request = self._request = NgpuRequest(self, head, body, size, self._clock.seconds())
        if self._in.buffer and not body.complete:
            self._feed_body(request, self._in.buffer)
        if self._request is request:
            request.process()

    def _feed_body(self, request: NgpuRequest, data: bytes) -> None:
        try:
            piece, last = self._in.take_body(data)
        except Refused as refused:
            self._refuse(refused)
        else:
            request.body.feed(piece, last)

    def _body_wanted(self) -> None:
        """Somebody waits for body bytes: say so to a client that asked to be told (RFC 9110 §10.1.1)."""
        request = self._request
        if self._continue_due and request is not None:
            self._continue_due = False
            if request.body.received == 0 and not request.startedWriting:
                self._out.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._adjust_reading()

    def _adjust_reading(self) -> None:
        """Read the connection when, and only when, there is room for what comes."""
        room = len(self._in.buffer) < self._limits.pipeline_size
        if self.phase is Phase.HEAD:
            room = room or self._out.writable
        elif self.phase is Phase.LINGER:
            room = self._lingered < self._limits.linger_size
        elif self._request is not None and not self._request.body.complete:
            room = self._request.body.hungry
        if room is not self._reading and self.phase is not Phase.CLOSED and not self._eof:
            self._reading = room
            if room:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    # the ends

    def _refuse(self, refused: Refused) -> None:
        """Answer 400 or the like, and end; a request whose body broke is told first."""
        request = self._request
        if request is None:
            self.site.log_refused(self.peer_ip, refused.status, refused.msg)
        else:
            begun = request.startedWriting
            request.code = refused.status
            self._drop_request(request, Failure(ConnectionAborted(refused.msg)))
            if begun:
                self.abortConnection()
                return
        self._out.write(plain_error(refused.status, refused.msg, self.site.date(), ALLOW * (refused.status == 405)))
        self._end(linger=True)

    def _drop_request(self, request: NgpuRequest, reason: Failure) -> None:
        self._request = None
        request.connectionLost(reason)

    def _end(self, linger: bool) -> None:
        """Close once all replies are sent; with ``linger``, read on for a while so that no reset overtakes them."""
        if self.phase is Phase.CLOSED:
            return
        linger = linger and not self._eof and not self.isSecure()
        self.phase = Phase.LINGER if linger else Phase.CLOSED
        self._deadline = _NEVER
        self._in.buffer = b""
        self._adjust_reading()
        self._out.close(half=linger)

    def check(self, now: float) -> None:
        """Act on the times that have run out; the site calls it every ``Limits.tick`` seconds."""
        self._out.check(now)
        if (request := self._request) is not None:
            read = self._reading and not request.body.held_up
            request.body.check(now)
            if not read and not self._eof and self.peer_left(half=not request.switched):
                self.abortConnection()
        if now < self._deadline:
            return
        if self.phase is Phase.HEAD and not self._out.writable:
            self._deadline = now + self._limits.idle_timeout  # it is busy taking the last reply
        elif self.phase is Phase.HEAD and self._in.buffer:
            self._refuse(Refused(408, "The head of the request did not come in time."))
        else:
            self._end(linger=False)

    def close_if_idle(self) -> None:
        """Close unless a request is being served or has begun to come."""
        if self.phase is Phase.HEAD and not self._in.buffer:
            self._end(linger=False)

    # what the Request calls

    def ends_with(self, request: NgpuRequest, close: bool) -> bool:
        """Settle, as a reply begins, whether the connection ends with it, and tell."""
        self._last = close or request.head.close or self.site.draining or not request.body.complete
        return self._last

    def switch(self, request: NgpuRequest) -> RequestBody:
        """All that comes from now on, and what came already, is the request's body, until the client ends it."""
        self._last = True
        self._in.without_end()
        body = RequestBody(None, replace(self._limits, body_rate=0), self._clock, self._body_wanted)
        body.feed(*self._in.take_body(self._in.buffer))
        return body

    def requestDone(self, request: NgpuRequest, whole: bool) -> None:
        """Its reply is written; go on with the next request, or end.

        :param whole: false when the reply is shorter than it promised to be.
        """
        self._request = None
        if not whole:
            self.abortConnection()
        elif self._last or self.site.draining:
            self._end(linger=not request.body.complete or bool(self._in.buffer))
        elif self.phase is Phase.REQUEST:
            self.phase = Phase.HEAD
            self._idle = True
            self._deadline = self._clock.seconds() + self._limits.idle_timeout
            self._advance()
        request.body.fail(ConnectionDone("the request was answered"))

    def loseConnection(self) -> None:
        """Close once all that was written is sent."""
        self._end(linger=False)

    def abortConnection(self) -> None:
        """Cut the connection off now."""
        self.phase = Phase.CLOSED
        self.transport.abortConnection()
