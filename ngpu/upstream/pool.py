"""The connections to the replicas, and which of them rest between two calls."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IAddress, IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from ngpu.errors import DialFailed
from ngpu.upstream.connection import Connection
from ngpu.upstream.dial import Dial, endpoint_of
from ngpu.upstream.doubts import Doubts
from ngpu.upstream.origin import Origin

HASTY = 60.0
"""Seconds for which each connection to an origin serves one call, after it has closed one that rested.

A call that is sent just as the origin closes is lost, and nothing tells whether the worker has begun with it.
"""

LONG = 1.0
"""Seconds after which an attempt that is given up says as much of its origin as one that failed."""

_STOPPING = "the gateway is stopping"
_IN_DOUBT = "it was gone a moment ago, and its engine has not shown since that this port is still its own"


class ConnectionFactory(Factory):
    """Makes the connections to one origin."""

    noisy = False

    def __init__(self, origin: Origin, pool: Pool) -> None:
        self._origin = origin
        self._pool = pool

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """Twisted: a connection that is about to be made."""
        return Connection(self._origin, self._pool)


class Pool:
    """Makes connections, and keeps those that can take another call for a short while.

    How many calls run at once is not its business: the replicas' slots say that.

    :param reactor: ``IReactorTCP``, ``IReactorTime`` and, for names, ``IReactorPluggableNameResolver``.
    :param idle: seconds that a connection rests at most, default 2: servers close theirs later, uvicorn after 5.
    :param per_origin: how many rest at most for one host and port, default 128.
    :param total: how many rest at most for all of them, default 1024.
    :ivar doubts: where no new connection may lead.
    """

    def __init__(self, reactor: Any, idle: float = 2.0, per_origin: int = 128, total: int = 1024) -> None:
        self.doubts = Doubts(reactor)
        self._reactor = reactor
        self._idle = idle
        self._per_origin = per_origin
        self._total = total
        self._route = lru_cache(maxsize=1024)(self._make_route)
        self._dials: set[Dial] = set()
        self._open: set[Connection] = set()
        self._resting: dict[Origin, dict[Connection, None]] = {}
        self._resting_count = 0
        self._hasty: dict[Origin, float] = {}  # until when, oldest first
        self._sweep: IDelayedCall | None = None
        self._closing: Deferred[None] | None = None

    def take(self, origin: Origin) -> Connection | None:
        """A connection that rests and is still good, the one used last."""
        group = self._resting.get(origin)
        while group:
            connection, _ = group.popitem()
            self._resting_count -= 1
            if connection.fresh():
                return connection
            self._hung_up(origin)
            connection.abort()
        return None

    def dial(self, origin: Origin) -> Deferred[Connection]:
        """Make a connection.

        :raises DialFailed: through the Deferred, as CancelledDialing when it is cancelled.
        """
        if self._closing is not None:
            return fail(DialFailed(f"the replica at {origin} is not called: {_STOPPING}"))
        if origin in self.doubts:
            return fail(_in_doubt(origin))
        endpoint, factory = self._route(origin)
        dial = Dial(self._reactor, endpoint, factory, origin)
        if not dial.outcome.called:
            self._dials.add(dial)
            dial.outcome.addBoth(self._dialed, dial, origin, self._reactor.seconds())
        return dial.outcome

    async def close(self) -> None:
        """Close every connection, those in use too, and give up those that are being made."""
        if self._closing is None:
            self._closing = Deferred()
            for dial in tuple(self._dials):
                dial.give_up(_STOPPING)
            if self._sweep is not None:
                self._sweep.cancel()
                self._sweep = None
            for connection in self._open:
                connection.abort()
            if not self._open:
                self._closing.callback(None)
        await self._closing

    def opened(self, connection: Connection) -> None:
        """A connection was made."""
        self._open.add(connection)

    def rested(self, connection: Connection) -> None:
        """Keep a connection for the next call, if there is room."""
        group = self._resting.setdefault(connection.origin, {})
        full = len(group) >= self._per_origin or self._resting_count >= self._total
        if full or self._closing is not None or (self._hasty and self._is_hasty(connection.origin)):
            connection.close()
            return
        connection.rested_at = self._reactor.seconds()
        group[connection] = None
        self._resting_count += 1
        if self._sweep is None:
            self._sweep = self._reactor.callLater(self._idle / 4, self._close_idle)

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        if self._forget(connection):
            self._hung_up(connection.origin)
        if self._closing is not None and not self._open and not self._closing.called:
            self._closing.callback(None)

    def _close_idle(self) -> None:
        """Close what would rest too long by the next time that we look, a quarter of ``idle`` from now."""
        self._sweep = None
        limit = self._reactor.seconds() - self._idle * 3 / 4
        for origin, group in tuple(self._resting.items()):
            for connection in tuple(group):
                if connection.rested_at > limit:
                    break
                self._forget(connection)
                connection.close()
            if not group:
                del self._resting[origin]
        if self._resting:
            self._sweep = self._reactor.callLater(self._idle / 4, self._close_idle)

    def _forget(self, connection: Connection) -> bool:
        """Whether it was at rest."""
        group = self._resting.get(connection.origin)
        if group is None or connection not in group:
            return False
        del group[connection]
        self._resting_count -= 1
        return True

    def _hung_up(self, origin: Origin) -> None:
        now = self._reactor.seconds()
        self._hasty.pop(origin, None)
        self._hasty[origin] = now + HASTY
        for each, until in tuple(self._hasty.items()):
            if until > now:
                break
            del self._hasty[each]

    def _is_hasty(self, origin: Origin) -> bool:
        now: float = self._reactor.seconds()
        return self._hasty.get(origin, now) > now

    def _dialed(self, result: Any, dial: Dial, origin: Origin, began: float) -> Any:
        self._dials.discard(dial)
        if not isinstance(result, Failure):
            if origin in self.doubts:  # the kernel tried again meanwhile, and may have found somebody else
                result.abort()
                return Failure(_in_doubt(origin))
            self.doubts.reached(origin)
        elif dial.tried and (result.check(DialFailed) or self._reactor.seconds() - began >= LONG):
            self.doubts.missed(origin)
        return result

    def _make_route(self, origin: Origin) -> tuple[IStreamClientEndpoint, Factory]:
        return endpoint_of(self._reactor, origin), ConnectionFactory(origin, self)


def _in_doubt(origin: Origin) -> DialFailed:
    return DialFailed(f"the replica at {origin} is not called: {_IN_DOUBT}")
