"""How the process itself does: is its loop late, does its store answer, how much of what it has is in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

import ngpu
from ngpu.errors import StoreUnavailable
from ngpu.line import Line
from ngpu.metrics import Metrics
from ngpu.storing import IStore

BEAT = 0.5
"""Seconds between two looks at how late the loop is."""

ASK_EVERY = 5.0
"""Seconds between two questions to the store."""


class Site(Protocol):
    """A listener: how many connections it has."""

    @property
    def connections(self) -> int:
        """How many there are."""


class Pulse:
    """Measures, beside the calls: none of them pays for it.

    :param lines: by workspace id, live.
    :param sites: the listeners, by name.
    :param most: connections that each of them may have.
    """

    log = Logger("ngpu.pulse")

    def __init__(
        self,
        metrics: Metrics,
        store: IStore,
        lines: Mapping[str, Line],
        sites: Mapping[str, Site],
        most: int,
        clock: IReactorTime,
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._lines = lines
        self._sites = sites
        self._clock = clock
        self._due = 0.0
        self._beat: IDelayedCall | None = None
        self._asking: Deferred[None] | None = None
        self._asks = LoopingCall(self._ask)
        self._asks.clock = clock
        for name in sites:
            metrics.connections_limit.labels(name).set(most)
        metrics.info.labels(ngpu.__version__).set(1)
        metrics.add_source(self._bring_up_to_date)

    def start(self) -> None:
        """Begin to measure."""
        self._next()
        self._asks.start(ASK_EVERY)

    def stop(self) -> None:
        """Measure no more."""
        if self._beat is not None:
            self._beat.cancel()
        if self._asks.running:
            self._asks.stop()
        if self._asking is not None:
            self._asking.cancel()

    def _next(self) -> None:
        self._due = self._clock.seconds() + BEAT
        self._beat = self._clock.callLater(BEAT, self._beats)

    def _beats(self) -> None:
        self._metrics.loop_lag.observe(max(0.0, self._clock.seconds() - self._due))
        self._next()

    def _ask(self) -> Deferred[None]:
        self._asking = Deferred.fromCoroutine(self._ask_now())
        return self._asking.addErrback(self._stumbled)

    async def _ask_now(self) -> None:
        began = self._clock.seconds()
        try:
            await self._store.get("")
        except StoreUnavailable:
            self._metrics.store_up.set(0)
            return
        self._metrics.store_up.set(1)
        self._metrics.store_seconds.observe(self._clock.seconds() - began)

    def _stumbled(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("a question to the store stumbled", failure=failure)

    def _bring_up_to_date(self) -> None:
        metrics = self._metrics
        metrics.leads.set(int(self._store.leadership.leads()))
        for name, site in self._sites.items():
            metrics.connections.labels(name).set(site.connections)
        for workspace_id, line in self._lines.items():
            label, members = metrics.label(workspace_id), line.pool.members.values()
            metrics.slots.labels(label).set(line.pool.slots)
            metrics.slots_used.labels(label).set(sum(member.in_flight for member in members))
