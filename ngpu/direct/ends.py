"""Ends of calls of whose record nobody waits: gathered for a moment, and written together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
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

C = TypeVar("C")
Tried = Callable[[Sequence[tuple[C, Task]], Exception | None], None]


class _Batch(Generic[C]):
    """Records that are written together, with the calls that they are of."""

    def __init__(self) -> None:
        self.ends: list[tuple[C, Task]] = []
        self.tried: Deferred[None] = Deferred()


class Ends(Generic[C]):
    """Writes them, one batch at a time; a batch that the store refuses is written again until it is there.

    :param tried: told after the first try of a batch that the store has it (``None``), or why it has not; after such a
        refusal once more, when it has.
    """

    log = Logger("ngpu.direct")

    def __init__(self, store: ITaskStore, runs: Runs, clock: IReactorTime, tried: Tried[C]) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock
        self._told = tried
        self._batches: deque[_Batch[C]] = deque()
        self._timer: IDelayedCall | None = None
        self._busy = False
        self._due = False

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
        records = [record for _, record in batch.ends]
        self._busy = True

        async def write() -> None:
            try:
                await self._store.add_ended(records)
            except StoreUnavailable as error:
                self._tried(batch, error)
                raise
            self._tried(batch, None)

        def lost(failure: Failure) -> None:
            if not failure.check(CancelledError):  # which is how the gateway stops
                self.log.failure("the ends of {count} calls are not recorded", failure, count=len(records))
            self._tried(batch, Exception(failure.getErrorMessage()))

        self._runs.insist(records[0].id, f"end, and those of {len(records) - 1} more calls,", write).addErrback(lost)

    def _tried(self, batch: _Batch[C], error: Exception | None) -> None:
        if not batch.tried.called:
            self._busy = False
            self._told(batch.ends, error)
            batch.tried.callback(None)
            if self._due and self._batches and not self._busy:
                self._write()
        elif error is None:
            self._told(batch.ends, None)
