"""Those calls of this process: their first slots, and which of their records are not written yet."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.calls import placement_of
from ngpu.changing import changed
from ngpu.direct.ends import Ends
from ngpu.direct.record import LateRecord
from ngpu.direct.spool import Spool
from ngpu.errors import NgpuError, QueueFull, Unavailable
from ngpu.interfaces import ITaskStore
from ngpu.leases import Lease
from ngpu.limits import Quota
from ngpu.line import Line
from ngpu.member import CallResult
from ngpu.metrics import Metrics
from ngpu.model import Body, Outcome, SelectionRequest, Task
from ngpu.settings import Workspace
from ngpu.tasks.lifecycle import ended, failed, placed
from ngpu.tasks.runs import Runs

START_AFTER = 0.5
"""Seconds after which a call that has not ended is written as a running one."""


class DirectCalls:
    """Those of this process. Everything it works with is handed to it.

    :param spool: keeps ends until the store does.
    """

    log = Logger("ngpu.direct")

    def __init__(self, store: ITaskStore, runs: Runs, clock: IReactorTime, metrics: Metrics, spool: Spool) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock
        self._metrics = metrics
        self._spool = spool
        self._late: dict[str, LateRecord] = {}
        self._writing: dict[str, LateRecord] = {}
        self._ends: Ends[LateRecord] = Ends(store, runs, clock, self._tried, self._kept)
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
        :raises StoreUnavailable: the store is away, and as many ends wait for it as may.
        """
        lease = await self._first_slot(line, workspace, selection, task, body, patience)
        started = placed(task, placement_of(lease.replica), self._clock.seconds())
        record = LateRecord(self, self._store, started, body, quota)
        # a job of an app keeps in its record how far it is, from its first answer on
        if quota is None and not task.app and not self._ends.full and (self._store_works or not waited):
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

    def foretell(self, record: LateRecord, outcome: Outcome) -> None:
        """Keep the end of a call before its client can know of it: then `end` follows, `withdraw` or `leave`."""
        self._keep(record, ended(record.task, outcome, self._clock.seconds()))

    def end(self, record: LateRecord, task: Task, outcome: Outcome) -> None:
        """Record the end of a call, and count it. Its client has the reply, and waits no more.

        :param task: as it is in its last attempt.
        """
        over = record.foretold
        if over is None or over.outcome is not outcome:
            over = self._keep(record, ended(task, outcome, self._clock.seconds()))
        if record.untouched:
            self.writing(record)
            record.ends(self._ends.add(record, over))
            return
        now = over.ended_at or 0.0

        async def finish() -> None:
            if await record.finish(task.id, task.attempt, outcome, now, None):
                self._runs.count_end(task, outcome)

        self._last_write(record, "end", finish)

    def _keep(self, record: LateRecord, over: Task) -> Task:
        if record.sheet is not None:
            self._kept(record)
        record.foretold, record.sheet = over, self._spool.keep(over)
        return over

    def _kept(self, *records: LateRecord) -> None:
        """The store has them, or something truer."""
        self._spool.let_go([record.sheet for record in records])
        for record in records:
            record.sheet = None

    def _tried(self, ends: Sequence[tuple[LateRecord, Task]], error: Exception | None) -> None:
        """What became of records that were written together."""
        self._store_works = error is None
        for record, task in ends:
            record.tried(error)
            self._writing.pop(task.id, None)
            if error is None and task.outcome is not None:
                self._runs.count_end(task, task.outcome)

    async def settle_all(self) -> None:
        """See that all calls have their records, for somebody who asks which there are."""
        self._ends.hurry()
        for record in (*self._late.values(), *self._writing.values()):
            await record.begin()

    async def settle(self, task_id: str) -> None:
        """The same of one call, for somebody who asks for it."""
        if task_id in self._late:
            await self._late[task_id].begin()
        elif task_id in self._writing:
            self._ends.hurry()
            await self._writing[task_id].settled()

    def withdraw(self, record: LateRecord) -> None:
        """Cancel a task whose client has gone."""
        task = record.task

        async def cancel() -> None:
            status = await record.cancel(self._clock.seconds())
            if status is not None:
                self._runs.ended(task.workspace, task.id, status)

        self._last_write(record, "cancelling", cancel)

    def leave(self, record: LateRecord) -> None:
        """Leave a record as it is: somebody else has ended the call, or taken it over."""
        self._kept(record)

    def _last_write(self, record: LateRecord, what: str, write: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Insist on it; whatever becomes of it, nothing is kept any more, unless the gateway stops before."""

        def over(result: Any) -> Any:
            if not isinstance(result, Failure) or not result.check(CancelledError):
                self._kept(record)
            return result

        self.quietly(self._runs.insist(record.task.id, what, write).addBoth(over))

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
            self.quietly(self._refused(LateRecord(self, self._store, over, body, None)))
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
