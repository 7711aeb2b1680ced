"""The body of a request, while it comes: pulled by whoever serves the request, at the pace at which it is pulled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from copy import copy
from io import SEEK_END, BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ngpu.errors import PayloadTooLarge, RequestTimeout
from ngpu.http.server.limits import Limits
from ngpu.relay import LEAST, Begin, Over, Relay

BOUND = 64 * 1024
"""Bytes kept while nobody asks; with this many the connection is not read any more, so one read more may be kept."""


class RequestBody:
    """The body of one request; one reader at a time.

    ``length`` is the Content-Length, or ``None`` for a chunked body; ``received`` counts the bytes that came, and
    ``complete`` says that all of them have (though perhaps nobody has read them).

    :param wanted: called when the reader wants bytes that are not here yet.
    """

    def __init__(self, length: int | None, limits: Limits, clock: IReactorTime, wanted: Callable[[], None]) -> None:
        self.length = length
        self.received = 0
        self.complete = length == 0
        self._limits = limits
        self._clock = clock
        self._wanted = wanted
        self._kept = b""
        self._error: BaseException | None = None
        self._waiter: Deferred[bytes] | None = None
        self._waiting_since = 0.0
        self._waited = 0.0  # seconds of waiting in the present window, before the present wait
        self._window_from = 0  # bytes that had come when it began
        self._ahead = True  # bytes may be taken in that nobody has asked for
        self._refused = False
        self._relay: Relay | None = None

    async def read(self, limit: int) -> bytes:
        """The whole rest of the body.

        Holds the body once while it comes, with an eighth to spare.

        :param limit: the most bytes to take; a body of exactly that many passes.
        :raises PayloadTooLarge: at once when the Content-Length says so, else when the limit is passed.
        :raises RequestTimeout: it came slower than the limits allow.
        :raises ConnectionLost: the client has gone (``twisted.internet.error``).
        """
        self._check_length(limit)
        there = self.whole()
        if there is not None:
            return there
        whole: BytesIO | None = None  # gives out what it holds without a copy
        async for piece in self.within(limit):
            if whole is None:
                whole = BytesIO(piece)  # shares a first piece, which most often is the whole, until more is written
                whole.seek(0, SEEK_END)
            else:
                whole.write(piece)
        return b"" if whole is None else whole.getvalue()

    async def within(self, limit: int) -> AsyncIterator[bytes]:
        """The same in pieces, as they come."""
        self._check_length(limit)
        total = 0
        async for piece in self.chunks():
            total += len(piece)
            if total > limit:
                raise PayloadTooLarge(f"The body has more than the {limit} bytes that are allowed: send less.")
            yield piece

    def _check_length(self, limit: int) -> None:
        if self.length is not None and self.length > limit:
            raise PayloadTooLarge(f"The body has {self.length} bytes, {limit} are allowed: send less.")

    def whole(self) -> bytes | None:
        """All of a body whose length was told, where it has come and nobody has read of it; ``None`` otherwise."""
        if not self.complete or self.length is None or len(self._kept) != self.length:
            return None
        kept, self._kept = self._kept, b""
        return kept

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; while the loop's body works, no more than BOUND and one read are taken in.

        :raises RequestTimeout: it came slower than the limits allow.
        :raises ConnectionLost: the client has gone (``twisted.internet.error``).
        """
        while True:
            if self._kept:
                piece, self._kept = self._kept, b""
                yield piece
            elif self._error is not None:
                raise self._error
            elif self.complete:
                return
            elif piece := await self._wait():
                yield piece

    async def _wait(self) -> bytes:
        """Wait for some bytes; none of them means that the body has ended or failed."""
        if self._waiter is not None:
            raise RuntimeError("A request's body has one reader at a time.")
        waiter = self._waiter = Deferred()
        self._waiting_since = self._clock.seconds()
        self._wanted()
        try:
            return await waiter
        finally:
            self._waiter = None
            self._waited += self._clock.seconds() - self._waiting_since

    def relay(self, begin: Begin, sink: Any, over: Over) -> Relay | None:
        """Let what has not come pass by into a transport, once nothing is kept; see `ngpu.relay.relay_between`."""

        def ended(relay: Relay) -> None:
            self._relay = None
            self.received += relay.taken
            self.complete = self.received == self.length
            over(relay)

        left = 0 if self.length is None else self.length - self.received
        if left < LEAST or self._error is not None or self._refused:
            return None
        self._ahead = False
        if self._kept:
            return None
        self._waiting_since = self._clock.seconds()
        self._relay = begin(sink, left, ended)
        self._ahead = self._refused = self._relay is None
        self._wanted()
        return self._relay

    @property
    def held_up(self) -> bool:
        """Whether the connection is not read for now, since what passes by is not taken."""
        return self._relay is not None and self._relay.waiting

    @property
    def hungry(self) -> bool:
        """Whether the connection should be read for this body."""
        ahead = self._ahead and len(self._kept) < BOUND
        return not self.complete and (self._waiter is not None or self._relay is not None or ahead)

    def feed(self, data: bytes, complete: bool) -> None:
        """Take body bytes from the connection.

        :param complete: these are the last.
        """
        self.received += len(data)
        self.complete = complete
        if self._error is None and (data or complete) and not self._wake(data):
            self._kept += data

    def fail(self, error: BaseException) -> None:
        """Nothing more will come, or be taken: readers get ``error``; what was kept is dropped."""
        if self._error is None and not (self.complete and not self._kept):
            self._error = error
            self._kept = b""
            self._wake(b"")
            if self._relay is not None:
                self._relay.end()

    def lost(self, reason: Failure) -> None:
        """The client has gone.

        Twisted has one error for all connections that end alike: raised itself, it would keep, for ever, the frames of
        all calls in which it was, and what those hold.
        """
        self.fail(copy(reason.value) or ConnectionLost())

    def check(self, now: float) -> None:
        """Fail the body when its last window of ``body_window`` seconds of waiting brought too little."""
        relay = self._relay
        if relay is not None:
            if not relay.waiting:
                self._waited += now - self._waiting_since
            self._waiting_since = now
        elif self._waiter is None:
            return
        if self._waited + now - self._waiting_since < self._limits.body_window:
            return
        came = self.received + (0 if relay is None else relay.taken)
        if came - self._window_from < self._limits.body_rate * self._limits.body_window:
            self.fail(RequestTimeout(f"The body came slower than {self._limits.body_rate} bytes a second."))
        self._waited = 0.0
        self._waiting_since = now
        self._window_from = came

    def _wake(self, data: bytes) -> bool:
        waiter, self._waiter = self._waiter, None
        if waiter is None:
            return False
        waiter.callback(data)
        return True
