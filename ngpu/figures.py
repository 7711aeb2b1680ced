"""Everything that is counted, brought up to date for a scrape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from ngpu.errors import StoreUnavailable
from ngpu.interfaces import ITaskStore
from ngpu.line import Line
from ngpu.metrics import Metrics
from ngpu.model import TaskStatus
from ngpu.waiting import deferred

STORE_WITHIN = 1.0
"""Seconds in which the store has to say how much waits: a scrape is not kept waiting by one that is away."""

SIDE_BY_SIDE = 128
"""Workspaces that it is asked about at once: one by one, some hundred of them took a busy gateway longer than that."""

_ENDED = tuple(status.value for status in TaskStatus if status.ended)
"""Counted from 0 on: a counter that begins with its first end has no increase that an alarm could see."""


class Exposing(Protocol):
    """Whoever answers a scrape."""

    async def exposition(self) -> bytes:
        """Everything, in Prometheus' text format."""


class Figures:
    """Asks those who know, whenever somebody scrapes.

    :param lines: by workspace id, live.
    """

    def __init__(self, metrics: Metrics, lines: Mapping[str, Line], store: ITaskStore, clock: IReactorTime) -> None:
        self._metrics = metrics
        self._lines = lines
        self._store = store
        self._clock = clock

    async def exposition(self) -> bytes:
        """All of it, in Prometheus' text format; how much waits in the store is left out while that does not answer."""
        try:
            await Deferred.fromCoroutine(self._ask_store()).addTimeout(STORE_WITHIN, self._clock)
        except (StoreUnavailable, DeferredTimeout):  # of which all else tells
            self._metrics.queued.clear()
        for workspace_id, line in self._lines.items():
            label = self._metrics.label(workspace_id)
            for status in _ENDED:
                self._metrics.of(self._metrics.tasks, label, status)
            self._metrics.waiting.labels(label).set(line.waiting)
            for replica_id, member in line.pool.members.items():
                self._metrics.in_flight.labels(label, replica_id).set(member.own)
        return self._metrics.exposition()

    async def _ask_store(self) -> None:
        lines = tuple(self._lines.items())
        for first in range(0, len(lines), SIDE_BY_SIDE):
            some = lines[first : first + SIDE_BY_SIDE]
            asked = [deferred(self._store.queued(workspace_id)) for workspace_id, _ in some]
            answers: list[tuple[bool, Any]] = await DeferredList(asked, consumeErrors=True)
            for (workspace_id, line), (fine, queued) in zip(some, answers, strict=True):
                if not fine:
                    queued.raiseException()
                if self._lines.get(workspace_id) is line:  # else removed meanwhile, with its metrics
                    self._metrics.queued.labels(self._metrics.label(workspace_id)).set(queued)
