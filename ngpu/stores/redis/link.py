"""A connection that is there, or being made again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ngpu.stores.redis.greeting import Unfit
from ngpu.stores.redis.wire import Lost, Wire, WireFactory, said

AGAIN_AFTER, AGAIN_AT_MOST = 0.05, 1.0
"""Seconds between tries to connect: the first pause, and the longest."""

# the default jitter is up to a second, which would be most of the pause
_pauses = backoffPolicy(AGAIN_AFTER, AGAIN_AT_MOST, 2.0, jitter=lambda: 0.0)


class Link:
    """Keeps one wire up; each new one is greeted before it is used.

    :param greet: raises where the wire must not be used.
    :param timeout: seconds for connecting and greeting.
    :param factory: makes the wires, where they are of another kind.
    :ivar wire: the one that is up, or ``None``.
    :ivar failure: why the last try failed, or ``None`` while all is well.
    """

    log = Logger("ngpu.store")

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        greet: Callable[[Wire], Awaitable[None]],
        reactor: IReactorTime,
        timeout: float,
        factory: WireFactory | None = None,
    ) -> None:
        self.wire: Wire | None = None
        self.failure: BaseException | None = None
        self._greet = greet
        self._reactor = reactor
        self._timeout = timeout
        self._waiting: dict[Deferred[None], None] = {}  # in order, so that calls stay in theirs
        self._told = False
        self._unfit = 0
        self._wire: Wire | None = None
        self._service = ClientService(
            _Watched(endpoint, self._failed),
            factory or WireFactory(),
            retryPolicy=self._pause,
            clock=reactor,
            prepareConnection=self._connected,
        )

    def start(self) -> None:
        """Begin to connect."""
        self._service.startService()

    def stop(self) -> Deferred[None]:
        """Disconnect, and connect no more."""
        if not self._service.running:
            return succeed(None)
        if self._wire is not None:
            self._wire.cut()
        stopped: Deferred[None] = self._service.stopService()
        return stopped

    def give_up(self, wire: Wire) -> None:
        """Cut a wire that gives no answer, or leads to the wrong server; another one is made."""
        if self.wire is wire:
            self.wire = None
        wire.cut()

    def change(self) -> Deferred[None]:
        """Fires when the wire is up, or a try to get it up has failed; may be cancelled."""
        waiter: Deferred[None] = Deferred(lambda gone: self._waiting.pop(gone, None))
        self._waiting[waiter] = None
        return waiter

    def _pause(self, attempts: int) -> float:
        """Seconds until the next try; a connection that was made and found unfit is a try that failed."""
        return _pauses(max(attempts, self._unfit))

    def _connected(self, wire: Any) -> None:
        self._wire = wire
        # ClientService loses count of a connection that it is told to reject itself: this one is cut, and comes again
        greeted = Deferred.fromCoroutine(self._greeted(wire)).addTimeout(self._timeout, self._reactor)

        def unfit(failure: Failure) -> None:
            self._unfit += 1
            self._failed(failure if wire.why is None or not failure.check(Lost) else Failure(wire.why))
            wire.cut()

        greeted.addErrback(unfit)

    async def _greeted(self, wire: Wire) -> None:
        await self._greet(wire)
        wire.gone.addCallback(self._down, wire)
        if self._told:
            self.log.info("Redis is there again", journal="store_back")
        self.wire, self.failure, self._told, self._unfit = wire, None, False, 0
        self._wake()

    def _down(self, result: None, wire: Wire) -> None:
        if self.wire is wire:
            self.wire = None

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) or not self._service.running:
            return
        self.failure = failure.value
        if not self._told:
            reason = reason_of(failure.value)
            self.log.error("Redis cannot be used: {reason}", journal="store_unavailable", reason=reason)
        self._told = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            waiter.callback(None)


@implementer(IStreamClientEndpoint)
class _Watched:
    """Tells of attempts that failed, which ``ClientService`` keeps to itself."""

    def __init__(self, endpoint: IStreamClientEndpoint, failed: Callable[[Failure], None]) -> None:
        self._endpoint = endpoint
        self._failed = failed

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See ``IStreamClientEndpoint.connect``."""

        def told(failure: Failure) -> Failure:
            self._failed(failure)
            return failure

        connecting: Deferred[Any] = self._endpoint.connect(protocolFactory)
        return connecting.addErrback(told)


def reason_of(error: BaseException | None) -> str:
    """Why Redis cannot be used, as the end of a sentence that begins with where it is."""
    if isinstance(error, Unfit):
        return str(error)
    if isinstance(error, defer.TimeoutError) or error is None:
        return "gives no answer"
    if isinstance(error, ConnectError):
        return f"cannot be reached: {error.args[0] if error.args and error.args[0] else said(error)}"
    return f"cannot be reached: {said(error)}"
