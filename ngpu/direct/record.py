"""The record of one such call."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ngpu.changing import changed
from ngpu.direct.spool import Sheet
from ngpu.errors import ResultLost, StoreUnavailable
from ngpu.interfaces import ITaskStore, Last
from ngpu.limits import Quota
from ngpu.model import Body, Outcome, Placement, Task, TaskStatus
from ngpu.tasks.lifecycle import ended
from ngpu.tasks.records import NotThere
from ngpu.waiting import deferred, echo


class Keeper(Protocol):
    """Who is told what becomes of the records; `ngpu.direct.DirectCalls`."""

    def writing(self, record: LateRecord) -> None:
        """A record is being written, and is late no more."""

    def wrote(self, task_id: str, works: bool) -> None:
        """It is written, or could not be.

        :param works: whether the store does.
        """


class LateRecord:
    """The record of one such call: what `ngpu.tasks.runs.Records` asks of a store, for this task alone.

    :param task: as it begins; later as it is in its last attempt.
    :param quota: is counted with the first write.
    :ivar there: whether the store has it.
    :ivar foretold: its end, where that is sure before it is written; ``sheet`` keeps it until then.
    """

    foretold: Task | None = None
    sheet: Sheet | None = None

    def __init__(self, calls: Keeper, store: ITaskStore, task: Task, body: Body, quota: Quota | None) -> None:
        self.task = task
        self._calls = calls
        self._store = store
        self._body = body
        self._quota = quota
        self.there = False
        self._adding: Deferred[Any] | None = None
        self._error: BaseException | None = None
        self._ends = False

    async def begin(self) -> None:
        """See that it is there, as that of a running call, unless it is there already, or its end is to be written.

        :raises OverLimit: the quota is used up.
        """
        await self._add(self.task, b"")

    async def reattempt(self, task_id: str, attempt: int, placement: Placement) -> int | None:
        """See `ITaskStore.reattempt`."""
        if not await self.settled():
            self.task = changed(self.task, attempt=attempt + 1, placement=placement)
            return attempt + 1
        fence = await self._store.reattempt(task_id, attempt, placement)
        if fence is None:
            known = await self._known_attempt()
            if known is None:
                fence = attempt + 1
            elif known < attempt:  # one before this: it is forgotten that there was another, which writes no more
                fence = known
                while fence is not None and fence <= attempt:
                    fence = await self._store.reattempt(task_id, fence, placement)
        if fence is not None:
            self.task = changed(self.task, attempt=fence, placement=placement)
        return fence

    async def write_result(self, task_id: str, attempt: int, index: int, data: bytes) -> None:
        """See `ITaskStore.write_result`."""
        if not self.there:
            await self.begin()
        await self._store.write_result(task_id, attempt, index, data)

    async def finish(
        self, task_id: str, attempt: int, outcome: Outcome, now: float, last: Last, hurry: bool = True
    ) -> bool:
        """See `ITaskStore.finish`."""
        if self._adding is not None:
            await self.settled()
        if self.there:
            if await self._store.finish(task_id, attempt, outcome, now, last, hurry):
                return True
            known = await self._known_attempt()
            if known is not None:  # one before this: it is forgotten that there was another
                return known < attempt and await self._store.finish(task_id, known, outcome, now, last, hurry)
            if last is not None and last[0] > 0:
                raise ResultLost
        await echo(self._begin_adding(ended(self.task, outcome, now), b"" if last is None else last[1]))
        if isinstance(self._error, StoreUnavailable):
            raise NotThere(str(self._error)) from self._error
        if self._error is not None:
            raise self._error
        return True

    async def _known_attempt(self) -> int | None:
        """The attempt in which the store has it; ``None``, and `there` no more, where it has forgotten all of it."""
        kept = await self._store.get(self.task.id)
        if kept is not None:
            return kept.attempt
        self.there, self._quota = False, None
        return None

    @property
    def untouched(self) -> bool:
        """Whether nothing of it was written, nor is being written."""
        return not self.there and self._adding is None

    def ends(self, tried: Deferred[None]) -> None:
        """Its end is being written, together with others; it fires once that was tried."""
        self._ends = True
        self._adding = tried

    def tried(self, error: BaseException | None) -> None:
        """What became of that: ``None``: it is there."""
        self._adding, self.there, self._error = None, error is None, error

    async def cancel(self, now: float) -> TaskStatus | None:
        """End it, since its client has gone.

        :returns: how it has ended, its own end where that was being written; ``None``: somebody else has ended it.
        """
        if await self.settled():
            before = await self._store.cancel(self.task.id, now)
            if before is None or before is TaskStatus.CANCELLED:
                return None
            return before if before.ended else TaskStatus.CANCELLED
        await self._add(changed(self.task, status=TaskStatus.CANCELLED, ended_at=now), b"")
        return TaskStatus.CANCELLED

    async def settled(self) -> bool:
        """Whether it is in the store, once that is sure."""
        if self._adding is not None:
            await echo(self._adding)
        return self.there

    async def _add(self, task: Task, result: bytes) -> None:
        if await self.settled() or self._ends:
            return  # an end that was refused comes again, and would leave one that runs as it is
        await echo(self._begin_adding(task, result))  # which goes on, should this be cancelled
        if self._error is not None:
            raise self._error

    def _begin_adding(self, task: Task, result: bytes) -> Deferred[Any]:
        self._calls.writing(self)
        adding = deferred(self._store.add(task, self._body, None, self._quota, result))
        self._adding = adding
        adding.addCallbacks(self._added, self._not_added)
        return adding

    def _added(self, _: Task) -> None:
        self.tried(None)
        self._calls.wrote(self.task.id, True)

    def _not_added(self, failure: Failure) -> None:
        self.tried(failure.value)
        self._calls.wrote(self.task.id, failure.check(StoreUnavailable) is None)
