"""How each workspace has done of late, in steps of ten seconds: read off the metrics, so that no call pays for it.

The counters are those of this process, and begin anew with it; see `together` for those of several.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import StoreUnavailable
from ngpu.interfaces import ITaskStore
from ngpu.line import Line
from ngpu.member import CallResult
from ngpu.metrics import BUCKETS, Metrics

STEP = 10
"""Seconds of a point."""

LONGEST = 6 * 3600
"""Seconds that are kept."""

FAILED = tuple(each.value for each in (CallResult.ERRED, CallResult.BROKE, CallResult.UNREACHED))
"""Results of calls that count as errors."""

_HEAD = 5
_NONE = [0] * (len(BUCKETS) + 1)
_WIDTH = _HEAD + len(_NONE)
_MOST = LONGEST // STEP * _WIDTH

Row = Sequence[int]
"""A point as it is kept: its number of steps since the epoch, errors, queued, waiting, in flight, then calls by how
long they took, in the buckets of the metrics."""


Rows = Callable[[str, float], Awaitable[list[list[int]]]]
"""Gives the rows of a workspace, by its id, of the last so many seconds."""


class Series:
    """Looks at the metrics every `STEP` seconds.

    A workspace of which nothing is to be told takes nothing. One that was busy for all of `LONGEST` takes 190 kB: 2160
    points of 22 numbers of 4 bytes. A look takes 0.06 ms of the processor for each that has had calls.

    :param lines: by workspace id, live.
    """

    log = Logger("ngpu.series")

    def __init__(self, metrics: Metrics, lines: Mapping[str, Line], store: ITaskStore, clock: IReactorTime) -> None:
        self._metrics = metrics
        self._lines = lines
        self._store = store
        self._clock = clock
        self._kept: dict[str, array[int]] = {}
        self._before: dict[str, tuple[int, list[int]]] = {}
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = clock
        self._looking: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._ticker.start(STEP, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._ticker.running:
            self._ticker.stop()
        if self._looking is not None:
            self._looking.cancel()

    def rows(self, workspace_id: str, seconds: float) -> list[list[int]]:
        """The points of a workspace that are younger than that; those at which nothing happened are left out."""
        kept = self._kept.get(workspace_id, array("I"))
        since = int((self._clock.seconds() - seconds) // STEP)
        found = (kept[at : at + _WIDTH].tolist() for at in range(0, len(kept), _WIDTH))
        return [row for row in found if row[0] > since]

    async def own(self, workspace_id: str, seconds: float) -> list[list[int]]:
        """The same as `Rows`."""
        return self.rows(workspace_id, seconds)

    def _tick(self) -> Deferred[None]:
        self._looking = Deferred.fromCoroutine(self.look())
        return self._looking.addErrback(self._stumbled)

    async def look(self) -> None:
        """Take a point of each workspace, one after the other, so that calls pass between them."""
        step = int(self._clock.seconds() // STEP)
        for gone in self._kept.keys() - self._lines.keys():
            del self._kept[gone]
        for gone in self._before.keys() - self._lines.keys():
            del self._before[gone]
        for workspace_id, line in tuple(self._lines.items()):
            queued = await self._queued(workspace_id)
            errors, taken = self._since(workspace_id)
            in_flight = sum(member.own for member in line.pool.members.values())
            if any(taken) or queued or line.waiting or in_flight:
                kept = self._kept.setdefault(workspace_id, array("I"))
                kept.extend((step, errors, queued, line.waiting, in_flight, *taken))
                del kept[: max(0, len(kept) - _MOST)]

    async def _queued(self, workspace_id: str) -> int:
        try:
            return await self._store.queued(workspace_id)
        except StoreUnavailable:
            return 0

    def _since(self, workspace_id: str) -> tuple[int, list[int]]:
        """Errors, and calls by bucket, since the look before."""
        metrics, label = self._metrics, self._metrics.label(workspace_id)
        now = list(metrics.call_seconds.counts(label))
        if not now:
            return 0, _NONE
        errors = sum(
            int(sample.value)
            for result in FAILED
            for sample in metrics.counted(metrics.calls, label, result)
            if sample.name.endswith("_total")
        )
        then_errors, then = self._before.get(workspace_id, (0, _NONE))
        self._before[workspace_id] = (errors, now)
        taken = [after - before for before, after in zip(then, now, strict=True)]
        return (errors, now) if min(taken) < 0 else (max(0, errors - then_errors), taken)  # it has begun anew

    def _stumbled(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("a look at the metrics stumbled", failure=failure)


def together(several: Iterable[Iterable[Row]]) -> list[list[int]]:
    """The rows of several processes of one gateway, added up; what waits in the store is the same for all."""
    by_step: dict[int, list[int]] = {}
    for rows in several:
        for row in rows:
            there = by_step.get(row[0])
            if there is None:
                by_step[row[0]] = list(row)
            else:
                queued = max(there[2], row[2])
                there[1:] = [a + b for a, b in zip(there[1:], row[1:], strict=True)]
                there[2] = queued
    return [by_step[step] for step in sorted(by_step)]


def points(rows: Iterable[Row], now: float, seconds: float) -> list[dict[str, Any]]:
    """A point for each step within so many seconds, the oldest first; of steps in which nothing happened, zeros."""
    found = {row[0]: row for row in rows}
    last = int(now // STEP)
    nothing = [0] * _WIDTH
    return [_point(step, found.get(step, nothing)) for step in range(last - int(seconds // STEP) + 1, last + 1)]


def _point(step: int, row: Row) -> dict[str, Any]:
    _, errors, queued, waiting, in_flight, *taken = row
    return {
        "time": step * STEP,
        "requests": sum(taken),
        "errors": errors,
        **{f"p{share}": quantile(share / 100, taken) for share in (50, 90, 99)},
        "queued": queued,
        "waiting": waiting,
        "in_flight": in_flight,
    }


def quantile(share: float, taken: Sequence[int]) -> float | None:
    """Seconds that such a share of the calls took at most, as far as the buckets tell; ``None`` of none.

    Within a bucket calls count as spread evenly; of those above the highest, its bound is all that can be told.
    """
    wanted, below, low = share * sum(taken), 0, 0.0
    if not wanted:
        return None
    for high, count in zip(BUCKETS, taken, strict=False):
        if count and below + count >= wanted:
            return round(low + (high - low) * (wanted - below) / count, 6)
        below, low = below + count, float(high)
    return low
