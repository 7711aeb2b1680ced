"""The runs of this process: tasks on their way through a replica, who waits for them, and how to stop one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ngpu.calls import Caller, NextLease, Slot, placement_of
from ngpu.changing import changed
from ngpu.errors import NgpuError, NoReplica, ReplicaRemoved, ResultLost, StoreUnavailable, UpstreamError
from ngpu.interfaces import ITaskStore, Last
from ngpu.leases import Lease
from ngpu.member import CallResult
from ngpu.metrics import Metrics
from ngpu.model import Body, BytesBody, Outcome, Task, TaskStatus
from ngpu.settings import Workspace
from ngpu.sharing import Alone, INews
from ngpu.tasks.averages import Averages
from ngpu.tasks.conversation import EndedElsewhere
from ngpu.tasks.conversations import Conversations
from ngpu.tasks.failures import Failures
from ngpu.tasks.held import Held
from ngpu.tasks.insisting import until_stored
from ngpu.tasks.lifecycle import ended, failed, refused, unknown_outcome
from ngpu.tasks.patience import PatientBody
from ngpu.tasks.records import Ended, NotThere, Records
from ngpu.tasks.result import ResultSink
from ngpu.tasks.watches import Watches
from ngpu.tracing import tell_of_end
from ngpu.waiting import Handle, all_over

T = TypeVar("T")


class PutBack(NgpuError):
    """Raised by a run's `NextLease`: the task goes back into the queue, since nothing was sent or it may run twice."""


class Runs(Held):
    """Takes tasks that hold a slot to their end, and records it.

    :param conversations: of tasks that have an app.
    :ivar stopping: whether `retire` or `stop` was called.
    """

    log = Logger("ngpu.tasks")

    def __init__(
        self,
        store: ITaskStore,
        caller: Caller,
        clock: IReactorTime,
        metrics: Metrics,
        conversations: Conversations | None = None,
        news: INews = Alone.news,
    ) -> None:
        super().__init__()
        self.conversations = conversations
        self.stopping = False
        self._store, self._caller = store, caller
        self._clock, self._metrics = clock, metrics
        self._watches = Watches(clock, news)
        self._averages = Averages(metrics)
        self.failures = Failures(clock, metrics.label)

    def run(
        self,
        task: Task,
        body: Body,
        lease: Slot,
        workspace: Workspace,
        next_lease: NextLease,
        work: Handle,
        records: Records | None = None,
    ) -> Coroutine[Deferred[Any], Any, Ended | None]:
        """Run a RUNNING task on the lease; ``None`` when somebody else ended it or it was put back.

        Cancelling aborts the worker's call and leaves the record to the canceller.

        :param next_lease: as for `Caller.call`; may raise `PutBack`.
        :param work: the caller's, within which this runs: by it `abort` cancels the run, and `stop` waits for it.
        :param records: where its record is; in the store by default.
        :raises StoreUnavailable: others have taken it over.
        """
        self.changed(task.id)
        return self._held(task.id, work, self._run(task, body, lease, workspace, next_lease, records or self._store))

    def resume(
        self, task: Task, body: Body, slot: Deferred[Lease], workspace: Workspace, work: Handle
    ) -> Coroutine[Deferred[Any], Any, Ended | None]:
        """Go on with a task of an earlier process; as `run`, but for the slot, which is waited for until its deadline.

        :param slot: of the replica that has the task's job.
        """
        return self._held(task.id, work, self._resume(task, body, slot, workspace))

    def insist(self, task_id: str, what: str, write: Callable[[], Awaitable[T]]) -> Deferred[T]:
        """Make a write (``what`` for the log), again and again while the store refuses, for as long as `stop` lets."""
        work = Deferred.fromCoroutine(until_stored(task_id, what, write, self._clock, self._metrics))
        return self.track(task_id, what, work)

    def watch(self, task_id: str, seconds: float) -> Deferred[None]:
        """Fires when the task may have begun, ended or been put back, or after so many seconds; cancel it to stop."""
        return self._watches.watch(task_id, seconds)

    def changed(self, task_id: str) -> None:
        """Wake whoever watches the task."""
        self._watches.wake(task_id)

    def ended(self, workspace: str, task_id: str, status: TaskStatus) -> None:
        """Count an end and wake whoever watches the task."""
        self._metrics.count(self._metrics.tasks, self._metrics.label(workspace), status.value)
        self.changed(task_id)

    def count_end(self, task: Task, outcome: Outcome) -> None:
        """The same, and tell operators of a failure: a call has ended so."""
        self.failures.note(task, outcome)
        self.ended(task.workspace, task.id, outcome.status)

    def average(self, workspace: str) -> float | None:
        """Seconds that the workspace's runs took lately; ``None`` before the first."""
        return self._averages.of(workspace)

    def progress(self, task: Task) -> dict[str, str]:
        """``progress`` of a running task, where its adapter tells one."""
        told = self.conversations.told.of(task.id) if self.conversations is not None else None
        return {"progress": told} if task.status is TaskStatus.RUNNING and told is not None else {}

    def retire(self) -> None:
        """Another process takes over: nobody waits here for tasks any more, and what runs is left to its end."""
        self.stopping = True
        self._watches.wake_all()  # with the id in hand, its client can ask the next process

    async def stop(self, grace: float) -> None:
        """Let runs come to their end for so many seconds, then cut them: the next start finds and settles them."""
        self.retire()
        for task_id in self.conversations.stop() if self.conversations else ():
            self._running[task_id].cancel()
        await all_over(self._running.values, grace, self._clock)  # a run's end is written after it
        for running in tuple(self._running.values()):
            running.cancel()

    async def _held(self, task_id: str, work: Handle, run: Coroutine[Deferred[Any], Any, Ended | None]) -> Ended | None:
        self.hold(task_id, work)
        try:
            return await run
        except CancelledError:
            why = self._cancelled.get(work)
            if why is None:
                raise
            if isinstance(why, EndedElsewhere):  # its caller is not cancelled: the task was
                return None
            raise why from None
        finally:
            self.let_go(task_id, work)

    async def _run(
        self, task: Task, body: Body, lease: Slot, workspace: Workspace, next_lease: NextLease, records: Records
    ) -> Ended | None:
        sink = ResultSink(records, task, workspace.result_limit)
        if not isinstance(body, BytesBody):
            body = PatientBody(body, self._clock)

        async def fenced_lease(error: UpstreamError) -> Slot | None:
            again = await next_lease(error)
            if again is not None:
                sink.task = await self.next_attempt(sink.task, again, records)
            return again

        last: Last = None
        try:
            if self.conversations is not None and task.app:
                why = await self.conversations.run(body, lease, workspace, fenced_lease, sink)
                outcome, last = refused(sink.outcome(), why) if why else sink.outcome(), sink.last
            else:
                await self._caller.call(lease, task.request, body, sink, task.timeout, workspace.retry, fenced_lease)
                outcome, last = sink.outcome(), sink.last
        except PutBack:
            await self.insist(task.id, "requeue", lambda: self._store.requeue(task.id, sink.task.attempt))
            self.changed(task.id)
            return None
        except EndedElsewhere:
            return None
        except CancelledError:
            raise
        except Exception as error:
            if not isinstance(error, NgpuError):
                self.log.failure("the run of {task_id} failed", task_id=task.id)
            outcome = failed(error)
        return await self._over(sink.task, outcome, last, records)

    async def _over(self, task: Task, outcome: Outcome, last: Last, records: Records) -> Ended | None:
        """Record how a run ended."""
        after = ended(task, outcome, self._clock.seconds())
        result = None if last is None else self._store.result_body(after) if last[0] else BytesBody(last[1])
        try:
            return Ended(after, result) if await self._record(records, after, outcome, last) else None
        except ResultLost as error:
            return await self._over(task, failed(error), None, records)

    async def _resume(self, task: Task, body: Body, slot: Deferred[Lease], workspace: Workspace) -> Ended | None:
        assert self.conversations is not None
        try:
            lease = await slot.addTimeout(self.conversations.time_left(task), self._clock)
        except (defer.TimeoutError, ReplicaRemoved):
            return await self._over(task, unknown_outcome(task), None, self._store)
        except NoReplica:
            return None  # the gateway stops, and the next start finds the task as this one did

        async def stay(error: UpstreamError) -> None:
            return None

        return await self._run(task, body, lease, workspace, stay, self._store)

    async def next_attempt(self, task: Task, lease: Slot, records: Records) -> Task:
        """The task in another attempt, on a lease that is given back where there is none.

        :raises EndedElsewhere: somebody else has ended it.
        """
        placement = placement_of(lease.replica)
        attempt = None
        try:
            attempt = await records.reattempt(task.id, task.attempt, placement)
        finally:
            if attempt is None:
                lease.release(CallResult.ABANDONED)
        if attempt is None:
            raise EndedElsewhere
        return changed(task, attempt=attempt, placement=placement)

    async def _record(self, records: Records, after: Task, outcome: Outcome, last: Last) -> bool:
        try:
            return await self._finish(records, after, outcome, last)
        except StoreUnavailable as error:
            late = self.insist(after.id, "end", lambda: self._finish(records, after, outcome, last))
            if not after.direct or (last is not None and last[0] > 0) or isinstance(error, NotThere):
                return await late
            # The worker's answer is worth more than its record: the client that waits gets it now.
            late.addErrback(lambda failure: failure.trap(CancelledError))
            return True

    async def _finish(self, records: Records, after: Task, outcome: Outcome, last: Last) -> bool:
        hurry = after.direct or self._watches.watched(after.id)
        kept = await records.finish(after.id, after.attempt, outcome, after.ended_at or 0.0, last, hurry)
        tell_of_end(self._metrics.tracing, after, self._clock)
        if kept:
            self._averages.note(after)
            self.count_end(after, outcome)
        return kept
