"""Everything that is counted, brought up to date for a scrape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ngpu.interfaces import ITaskStore
from ngpu.line import Line
from ngpu.metrics import Metrics


class Exposing(Protocol):
    """Whoever answers a scrape."""

    async def exposition(self) -> bytes:
        """Everything, in Prometheus' text format."""


class Figures:
    """Asks those who know, whenever somebody scrapes.

    :param lines: by workspace id, live.
    """

    def __init__(self, metrics: Metrics, lines: Mapping[str, Line], store: ITaskStore) -> None:
        self._metrics = metrics
        self._lines = lines
        self._store = store

    async def exposition(self) -> bytes:
        """All of it, in Prometheus' text format.

        :raises StoreUnavailable: nobody knows how much waits.
        """
        for workspace_id, line in tuple(self._lines.items()):
            queued = await self._store.queued(workspace_id)
            if self._lines.get(workspace_id) is not line:
                continue  # removed meanwhile, with its metrics
            label = self._metrics.label(workspace_id)
            self._metrics.queued.labels(label).set(queued)
            self._metrics.waiting.labels(label).set(line.waiting)
            for replica_id, member in line.pool.members.items():
                self._metrics.in_flight.labels(label, replica_id).set(member.own)
        return self._metrics.exposition()
