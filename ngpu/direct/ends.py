"""Ends of calls of whose record nobody waits: gathered for a moment, and written together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import StoreUnavailable
from ngpu.interfaces import ITaskStore
from ngpu.model import Task
from ngpu.tasks.runs import Runs

GATHER_FOR = 0.02
"""Seconds that an end waits for others at most, so that one write serves many."""

MOST_AT_ONCE = 256
"""Records that are written together at most."""

MOST_WAITING = 25_000
"""Records that wait for the store at most while calls go on: some 4 KB of memory each."""

C = TypeVar("C")
_Ends = Sequence[tuple[C, Task]]
Tried = Callable[[_Ends[C], Exception | None], None]


class _Batch(Generic[C]):
    """Records that are written together, with the calls that they are of."""

    def __init__(self) -> None:
        self.ends: list[tuple[C, Task]] = []
        self.tried: Deferred[None] = Deferred()


class Ends(Generic[C]):
    """Writes them, one batch at a time; a batch that the store refuses is written again until it is there.

    :param tried: told after the first try of a batch that the store has it (``None``), or why it has not; after such a
        refusal once more, when it has.
    :param gone: told of calls once the store has their records, or never will.
    """

    log = Logger("ngpu.direct")

    def __init__(
        self, store: ITaskStore, runs: Runs, clock: IReactorTime, tried: Tried[C], gone: Callable[..., None]
    ) -> None:
        self._gone = gone
        self._store = store
        self._runs = runs
        self._clock = clock
        self._told = tried
        self._batches: deque[_Batch[C]] = deque()
        self._timer: IDelayedCall | None = None
        self._busy = False
        self._due = False
        self._waiting = 0

    @property
    def full(self) -> bool:
        """Whether as many wait as may."""
        return self._waiting >= MOST_WAITING

    def add(self, call: C, record: Task) -> Deferred[None]:
        """Have a record written.

        :returns: fires once that was tried, of the whole batch; not to be cancelled.
        """
        if not self._batches or len(self._batches[-1].ends) >= MOST_AT_ONCE:
            self._batches.append(_Batch())
            tried = self._runs.track(record.id, "end", self._batches[-1].tried)  # the gateway's stop waits for it
            tried.addErrback(lambda failure: failure.trap(CancelledError) and None)
            if self._timer is None:
                self._timer = self._clock.callLater(GATHER_FOR, self._ring)
        batch = self._batches[-1]
        batch.ends.append((call, record))
        self._waiting += 1
        return batch.tried

    def hurry(self) -> None:
        """Write what has gathered now, or right after what is being written: somebody waits for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._ring()

    def _ring(self) -> None:
        self._timer = None
        if not self._batches:
            return  # those that it was set for went right behind others
        self._due = True
        if not self._busy:
            self._write()

    def _write(self) -> None:
        self._due = len(self._batches) > 1
        batch = self._batches.popleft()
        self._busy = True
        self._insist(batch.ends, partial(self._tried, batch)).addErrback(self._one_by_one, batch)

    def _insist(self, ends: _Ends[C], tried: Callable[[Exception | None], None]) -> Deferred[None]:
        """Write them until the store has them; fails with what waiting does not mend."""
        records = [record for _, record in ends]

        async def write() -> None:
            try:
                await self._store.add_ended(records)
            except StoreUnavailable as error:
                tried(error)
                raise
            self._let_go(ends)
            tried(None)

        others = f", and those of {len(records) - 1} more calls," if len(records) > 1 else ""
        return self._runs.insist(records[0].id, "end" + others, write)

    def _one_by_one(self, failure: Failure, batch: _Batch[C]) -> None:
        """Write each of a batch by itself: what is wrong with one takes no other along."""
        self._tried(batch, Exception(failure.getErrorMessage()))
        if not failure.check(CancelledError):  # which is how the gateway stops
            for end in batch.ends:
                self._insist([end], partial(self._tried_alone, end)).addErrback(self._lost, end)

    def _tried_alone(self, end: tuple[C, Task], error: Exception | None) -> None:
        if error is None:
            self._told([end], None)

    def _lost(self, failure: Failure, end: tuple[C, Task]) -> None:
        if not failure.check(CancelledError):
            self._let_go([end])
            self.log.failure("{task_id}: its end is not recorded", failure, task_id=end[1].id)

    def _let_go(self, ends: _Ends[C]) -> None:
        self._waiting -= len(ends)
        self._gone(*(call for call, _ in ends))

    def _tried(self, batch: _Batch[C], error: Exception | None) -> None:
        if not batch.tried.called:
            self._busy = False
            self._told(batch.ends, error)
            batch.tried.callback(None)
            if self._due and self._batches and not self._busy:
                self._write()
        elif error is None:
            self._told(batch.ends, None)
