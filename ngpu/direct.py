"""Calls whose client waits on its connection: their first slot, and their records.

Such a call needs no record before it: a client whose connection breaks knows as much as a record that says "outcome
unknown", and nobody makes the call a second time. So the record is *late*: of a call that is over soon it is written
once, when it ends. One that is not is written as running after START_AFTER seconds; and before that as soon as somebody
can ask for it, or does; a job of an app at once. Who is told its id waits for the record of the end; and once the store
has refused one, such calls are recorded before they are made, until it takes one again: what it refuses is not made.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.calls import placement_of
from ngpu.changing import changed
from ngpu.errors import NgpuError, QueueFull, StoreUnavailable, Unavailable
from ngpu.interfaces import ITaskStore, Last
from ngpu.leases import Lease
from ngpu.limits import Quota
from ngpu.line import Line
from ngpu.member import CallResult
from ngpu.metrics import Metrics
from ngpu.model import Body, Outcome, Placement, SelectionRequest, Task, TaskStatus
from ngpu.settings import Workspace
from ngpu.tasks.lifecycle import ended, failed, placed
from ngpu.tasks.records import NotThere
from ngpu.tasks.runs import Runs
from ngpu.waiting import echo

START_AFTER = 0.5
"""Seconds after which a call that has not ended is written as a running one."""


class LateRecord:
    """The record of one such call: what `ngpu.tasks.runs.Records` asks of a store, for this task alone.

    :param task: as it begins.
    :param quota: is counted with the first write.
    :param waited: whether the client's reply waits for the record of the end.
    :ivar there: whether the store has it.
    """

    def __init__(
        self, calls: DirectCalls, store: ITaskStore, task: Task, body: Body, quota: Quota | None, waited: bool
    ) -> None:
        self.task = task
        self._waited = waited
        self._calls = calls
        self._store = store
        self._body = body
        self._quota = quota
        self.there = False
        self._adding: Deferred[Any] | None = None
        self._error: BaseException | None = None

    async def begin(self) -> None:
        """See that it is there, as that of a running call, unless it is there already.

        :raises OverLimit: the quota is used up.
        """
        await self._add(self.task, b"")

    async def reattempt(self, task_id: str, attempt: int, placement: Placement) -> int | None:
        """See `ITaskStore.reattempt`."""
        if not await self.settled():
            self.task = changed(self.task, attempt=attempt + 1, placement=placement)
            return attempt + 1
        return await self._store.reattempt(task_id, attempt, placement)

    async def write_result(self, task_id: str, attempt: int, index: int, data: bytes) -> None:
        """See `ITaskStore.write_result`."""
        if not self.there:
            await self.begin()
        await self._store.write_result(task_id, attempt, index, data)

    async def finish(
        self, task_id: str, attempt: int, outcome: Outcome, now: float, last: Last, hurry: bool = True
    ) -> bool:
        """See `ITaskStore.finish`."""
        if await self.settled():
            return await self._store.finish(task_id, attempt, outcome, now, last, hurry)
        try:
            await self._add(ended(self.task, outcome, now), b"" if last is None else last[1])
        except StoreUnavailable as error:
            raise NotThere(str(error)) from error
        return True

    def end(self, outcome: Outcome, now: float) -> Deferred[Any] | None:
        """The same where nothing of it was written, and nothing of the reply is kept, with two coroutines less.

        :returns: fires once it is ``there`` or could not be; ``None``: something was written, so `finish` it.
        """
        untouched = not self.there and self._adding is None
        return self._begin_adding(ended(self.task, outcome, now), b"") if untouched else None

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
        if await self.settled():
            return
        await echo(self._begin_adding(task, result))  # which goes on, should this be cancelled
        if self._error is not None:
            raise self._error

    def _begin_adding(self, task: Task, result: bytes) -> Deferred[Any]:
        self._calls.writing(self)
        hurry = self._waited or not task.status.ended
        adding = Deferred.fromCoroutine(self._store.add(task, self._body, None, self._quota, result, hurry))
        self._adding = adding
        adding.addCallbacks(self._added, self._not_added)
        return adding

    def _added(self, _: Task) -> None:
        self._adding, self.there, self._error = None, True, None
        self._calls.wrote(self.task.id, True)

    def _not_added(self, failure: Failure) -> None:
        self._adding, self._error = None, failure.value
        self._calls.wrote(self.task.id, failure.check(StoreUnavailable) is None)


class DirectCalls:
    """Those of this process. Everything it works with is handed to it."""

    log = Logger("ngpu.direct")

    def __init__(self, store: ITaskStore, runs: Runs, clock: IReactorTime, metrics: Metrics) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock
        self._metrics = metrics
        self._late: dict[str, LateRecord] = {}
        self._writing: dict[str, LateRecord] = {}
        self._alarm: IDelayedCall | None = None
        self._store_works = True

    async def begin(
        self,
        line: Line,
        workspace: Workspace,
        selection: SelectionRequest,
        task: Task,
        body: Body,
        quota: Quota | None,
        patience: float,
        waited: bool = True,
    ) -> tuple[Lease, LateRecord]:
        """A slot for a call, and its record, whose ``task`` is placed there.

        :param patience: seconds to wait for the slot at most.
        :param quota: counts it before the call is sent, so that its record is not late.
        :param waited: whether the client's reply waits for the record of the end.
        :raises QueueFull, OverLimit: as many calls wait already as may, or came today.
        :raises Unavailable: there was no slot; this is recorded.
        """
        lease = await self._first_slot(line, workspace, selection, task, body, patience)
        started = placed(task, placement_of(lease.replica), self._clock.seconds())
        record = LateRecord(self, self._store, started, body, quota, waited)
        # a job of an app keeps in its record how far it is, from its first answer on
        if quota is None and not task.app and (self._store_works or not waited):
            self._late[started.id] = record
            self._set_alarm()
            return lease, record
        try:
            await record.begin()
        except BaseException as error:
            lease.release(CallResult.ABANDONED)
            if isinstance(error, CancelledError):
                self.withdraw(record)
            raise
        return lease, record

    async def settle_all(self) -> None:
        """See that all calls have their records, for somebody who asks which there are."""
        for record in (*self._late.values(), *self._writing.values()):
            await record.begin()

    async def settle(self, task_id: str) -> None:
        """The same of one call, for somebody who asks for it."""
        if task_id in self._late:
            await self._late[task_id].begin()
        elif task_id in self._writing:
            await self._writing[task_id].settled()

    def withdraw(self, record: LateRecord) -> None:
        """Cancel a task whose client has gone."""
        task = record.task

        async def cancel() -> None:
            status = await record.cancel(self._clock.seconds())
            if status is not None:
                self._runs.ended(task.workspace, task.id, status)

        self.quietly(self._runs.insist(task.id, "cancelling", cancel))

    def writing(self, record: LateRecord) -> None:
        """A record is being written, and is late no more."""
        task_id = record.task.id
        self._writing[task_id] = record
        if self._late.pop(task_id, None) is not None and not self._late and self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def wrote(self, task_id: str, works: bool) -> None:
        """It is written, or could not be.

        :param works: whether the store does.
        """
        self._writing.pop(task_id, None)
        self._store_works = works

    def quietly(self, work: Coroutine[Deferred[Any], Any, Any] | Deferred[Any]) -> None:
        """Let a record be written that nobody waits for."""
        writing = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
        writing.addErrback(self._not_recorded)

    async def _first_slot(
        self, line: Line, workspace: Workspace, selection: SelectionRequest, task: Task, body: Body, patience: float
    ) -> Lease:
        try:
            lease = await line.slot_now(selection)
            if lease is None and line.waiting >= workspace.queue.limit:
                raise QueueFull(
                    f"{line.waiting} calls wait already, which is this workspace's limit; try again later", 5
                )
            self._metrics.count(self._metrics.accepted, self._metrics.label(workspace.id))
            return lease or await line.slot(selection, patience)
        except Unavailable as error:
            over = changed(ended(task, failed(error), self._clock.seconds()), direct=True)
            self.quietly(self._refused(LateRecord(self, self._store, over, body, None, False)))
            raise

    async def _refused(self, record: LateRecord) -> None:
        """Write, and count, the record of a call that got no slot."""
        await record.begin()
        self._runs.ended(record.task.workspace, record.task.id, record.task.status)

    def _set_alarm(self) -> None:
        if self._alarm is None:
            first = next(iter(self._late.values()))
            due = (first.task.started_at or 0.0) + START_AFTER - self._clock.seconds()
            self._alarm = self._clock.callLater(max(due, 0.001), self._write_late)

    def _write_late(self) -> None:
        """Write what began long enough ago; they stand in the order of their beginnings."""
        self._alarm = None
        now = self._clock.seconds()
        while self._late:
            task_id, record = next(iter(self._late.items()))
            if (record.task.started_at or 0.0) + START_AFTER > now:
                self._set_alarm()
                return
            del self._late[task_id]
            self.quietly(record.begin())

    def _not_recorded(self, failure: Failure) -> None:
        if failure.check(NgpuError):
            self.log.error("not recorded: {error}", error=failure.getErrorMessage())
        elif not failure.check(CancelledError):  # which is how the gateway stops
            self.log.failure("not recorded", failure=failure)
