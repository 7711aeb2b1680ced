"""The use cases: authorize → gate → admit → select → forward → record. Knows no HTTP and no library behind a port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ngpu.allowance import quota_of
from ngpu.calls import placement_of
from ngpu.changing import changed
from ngpu.direct import DirectCalls
from ngpu.errors import Conflict, NotFound, StoreUnavailable, Unauthorized, Unavailable, UpstreamError
from ngpu.fleet.fleet import Fleet
from ngpu.fleet.replicas import nodes_serving
from ngpu.gates import Gate
from ngpu.interfaces import ITaskStore
from ngpu.leases import Lease
from ngpu.limits import Quota
from ngpu.line import Line
from ngpu.listing import TaskPage, TaskQuery
from ngpu.member import CallResult
from ngpu.metrics import Metrics
from ngpu.model import CHUNK, Body, BytesBody, Holdings, SelectionRequest, Task, TaskStatus
from ngpu.settings import Workspace
from ngpu.submission import Submission
from ngpu.tasks.dispatcher import Dispatcher
from ngpu.tasks.foresight import Guess
from ngpu.tasks.insisting import Refusals
from ngpu.tasks.lifecycle import begun, patience, wait_estimate
from ngpu.tasks.records import Ended
from ngpu.tasks.runs import Runs
from ngpu.tenancy import Access
from ngpu.tracing import ITracing
from ngpu.waiting import Handle, deferred, shielded
from ngpu.wire.times import new_task_id


class Gateway:
    """What the gateway does for its callers. Everything it works with is handed to it."""

    log = Logger("ngpu.gateway")

    def __init__(
        self,
        *,
        store: ITaskStore,
        runs: Runs,
        direct: DirectCalls,
        dispatcher: Dispatcher,
        lines: Mapping[str, Line],
        gates: Mapping[str, Gate],
        zone: ZoneInfo,
        clock: IReactorTime,
        metrics: Metrics,
        fleet: Fleet | None = None,
    ) -> None:
        self.zone = zone
        self._store = store
        self._runs = runs
        self._direct = direct
        self._dispatcher = dispatcher
        self._lines = lines
        self._gates = gates
        self._clock = clock
        self._metrics = metrics
        self._fleet = fleet
        self._refused = Refusals(clock, metrics).note

    async def submit(self, submission: Submission) -> Task:
        """Take a task into the queue; it is durable when this returns.

        :returns: the task; one that is there already where the submission has its ``idempotency_key``.
        :raises QueueFull, OverLimit: as many tasks wait as may, or came today.
        :raises Forbidden, BadRequest, CheckerUnavailable: the gate does not let it through.
        """
        workspace = submission.access.workspace
        if submission.app or workspace.gate:
            await self._admit(submission)
        return await shielded(self._enqueue(workspace, submission))

    async def call(self, submission: Submission, work: Handle) -> Ended:
        """Run a task while its client waits; cancelling this aborts the worker's call and cancels the task.

        :param work: by which it can be cancelled.
        :raises QueueFull, OverLimit: as many calls wait already as may, or came today.
        :raises NoReplica: no replica became free, or none is up.
        :raises PolicyFailed: the selection policy could not choose one.
        :raises Forbidden, BadRequest, CheckerUnavailable: the gate does not let it through.
        :raises Conflict: the task was cancelled by somebody else meanwhile.
        """
        workspace = submission.access.workspace
        if submission.app or workspace.gate:
            await self._admit(submission)
        line = self._line(workspace)
        task, body = self._new_task(submission), submission.body
        selection = _selection(task, self._affinity(submission))
        lease, record = await self._direct.begin(
            line, workspace, selection, task, body, self._quota(workspace), patience(task, workspace.queue.ttl)
        )
        until: float | None = None

        async def next_lease(error: UpstreamError) -> Lease | None:
            nonlocal until
            now = self._clock.seconds()
            until = now + workspace.timeout if until is None else until
            try:
                return await line.slot(selection, until - now) if until > now else None
            except Unavailable:
                return None

        try:
            over = await self._runs.run(record.task, body, lease, workspace, next_lease, work, record)
        except CancelledError:
            self._direct.withdraw(record)
            raise
        except StoreUnavailable:  # others have taken it over, where the store has anything of it
            if not record.there:
                self._direct.withdraw(record)
            raise
        if over is None:
            raise Conflict("the task was cancelled while it ran")
        return over

    @property
    def tracing(self) -> ITracing | None:
        """Makes spans, where somebody wants any."""
        return self._metrics.tracing

    async def task(self, task_id: str, access: Access | None) -> Task:
        """A task's record.

        :param access: what the caller showed; ``None`` where the unguessable id is all that is asked for.
        :raises NotFound: no such task, or another tenant's.
        """
        task = await self.known(task_id)
        if task is None or (access is not None and access.workspace.id != task.workspace):
            raise NotFound("no such task; ids are forgotten once the workspace's retention is over")
        return task

    async def known(self, task_id: str) -> Task | None:
        """The same for those who may see every task; ``None`` where there is none."""
        await self._direct.settle(task_id)
        return await self._store.get(task_id)

    async def standing(self, task: Task) -> dict[str, Any]:
        """``queue_position`` and ``wait_estimate`` of a queued task, ``progress`` of one whose adapter tells it."""
        if task.status is not TaskStatus.QUEUED:
            return self._runs.progress(task)
        position = await self._store.queue_position(task)
        line = self._lines.get(task.workspace)
        slots = line.pool.slots if line is not None else 0
        estimate = wait_estimate(position, slots, self._runs.average(task.workspace))
        return {"queue_position": position, "wait_estimate": estimate}

    def request_of(self, task: Task) -> Body:
        """What was sent, or is to be sent, to the worker."""
        return self._store.request_body(task)

    def result_of(self, task: Task) -> Body | None:
        """What the worker answered; ``None`` where it did not."""
        return self._store.result_body(task) if task.outcome is not None and task.outcome.worker_status else None

    async def cancel(self, task_id: str, access: Access | None) -> Task:
        """End a queued or running task; a running one's call to the worker is aborted.

        :raises NotFound: no such task, or another tenant's.
        :raises Conflict: it has ended already.
        """
        task = await self.task(task_id, access)
        before = await shielded(Deferred.fromCoroutine(self._cancel(task)))
        if before is None or before.ended:
            raise Conflict(f"the task has ended already: it is {before or task.status}")
        return await self.task(task_id, access)

    async def list_tasks(self, query: TaskQuery) -> TaskPage:
        """Ids of tasks, oldest first."""
        await self._direct.settle_all()
        return await self._store.list(query)

    def nodes(self, workspace: Workspace) -> list[dict[str, Any]]:
        """The nodes that hold the workspace's replicas, as queryNodes tells of them (wire contract §4)."""
        serving = nodes_serving(self._line(workspace).pool.members.values())
        if self._fleet is not None and (deployed := self._fleet.progress(workspace.id)) is not None:
            return deployed
        return [{"nodeAddr": address, "progress": 100, "status": int(up)} for address, up in serving.items()]

    async def holdings(self, address: str, gate: str | None) -> Holdings:
        """What an address holds, as the gate of that name sees it; the first one's view where none is named.

        :raises Unavailable: no gate is configured.
        """
        chosen = self._gates.get(gate) if gate is not None else next(iter(self._gates.values()), None)
        if chosen is None:
            raise Unavailable("no gate is configured, so nobody can tell; its operator can add one under gates:", 3600)
        return await chosen.holdings(address)

    async def ready(self) -> None:
        """Whether work can be taken in: the store answers.

        :raises StoreUnavailable: it does not.
        """
        await self._store.get("")

    def _enqueue(self, workspace: Workspace, submission: Submission) -> Deferred[Task]:
        self._line(workspace)
        affinity, body = self._affinity(submission), submission.body
        new, quota = self._new_task(submission), self._quota(workspace)
        lease = None
        if body.length <= CHUNK:  # a slot would stand idle while a larger one is written
            lease = self._dispatcher.slot_now(workspace.id, _selection(new, affinity))
        if lease is None:
            return deferred(self._store.add(new, body, workspace.queue.limit, quota)).addCallbacks(
                self._queued, self._refused, (new, affinity)
            )
        # it finds a slot free, and is taken in as a running one, which saves the store its way through the queue
        running = begun(new, placement_of(lease.replica), new.submitted_at)
        given_back = lease.release
        return deferred(self._store.add(running, body, None, quota)).addCallbacks(
            self._started,
            lambda failure: given_back(CallResult.ABANDONED) or self._refused(failure),
            (new, workspace, body, lease, affinity),
        )

    def _queued(self, task: Task, new: Task, affinity: str) -> Task:
        """:returns: the task; of one whose Idempotency-Key came before, what the store has."""
        if self._stored(task, new):
            self._dispatcher.queued(new.workspace, guess=Guess(task.id, affinity) if affinity else None)
        return task

    def _started(self, task: Task, new: Task, workspace: Workspace, body: Body, lease: Lease, affinity: str) -> Task:
        """:returns: the same of a task that begins: it as it came, since what follows is another moment."""
        if not self._stored(task, new):
            lease.release(CallResult.ABANDONED)
            return task
        self._dispatcher.begin(workspace, task, body, lease, affinity)
        return changed(new, number=task.number, place=task.place)

    def _stored(self, task: Task, new: Task) -> bool:
        """Whether it was the new one that is in the store now."""
        now = self._clock.seconds()
        self._metrics.store_add_seconds.observe(max(0.0, now - new.submitted_at))
        if (tracing := self.tracing) is not None:
            tracing.over("store a task", new.request, new.submitted_at, now, ngpu__task_id=new.id)
        if task.id != new.id:
            return False
        self._metrics.count(self._metrics.accepted, self._metrics.label(new.workspace))
        return True

    def _quota(self, workspace: Workspace) -> Quota | None:
        return quota_of(workspace, self._clock.seconds(), self.zone)

    def _affinity(self, submission: Submission) -> str:
        chooser = self._lines[submission.access.workspace.id].pool.chooser
        body = submission.body
        data = body.data if isinstance(body, BytesBody) else b""  # large ones are not looked into
        return chooser.affinity(submission.header, data, self._clock.seconds())

    async def _admit(self, submission: Submission) -> None:
        gate = submission.access.workspace.gate
        if gate is not None and submission.btc_address:
            await self._gates[gate].admit(submission.btc_address)
        if submission.app and self._runs.conversations is not None:
            await self._runs.conversations.check(submission.app, submission.body)

    def _new_task(self, submission: Submission) -> Task:
        now = self._clock.seconds()
        return submission.task(new_task_id(now, self.zone), now)

    def _line(self, workspace: Workspace) -> Line:
        """The line of a workspace that a credential opened a while ago.

        :raises Unauthorized: it was removed since.
        """
        line = self._lines.get(workspace.id)
        if line is None:
            raise Unauthorized("this credential opens no workspace any more: it was removed")
        return line

    async def _cancel(self, task: Task) -> TaskStatus | None:
        before = await self._store.cancel(task.id, self._clock.seconds())
        if before is not None and not before.ended:
            self._runs.abort(task.id)
            self._runs.ended(task.workspace, task.id, TaskStatus.CANCELLED)
        return before


def _selection(task: Task, affinity: str) -> SelectionRequest:
    request = task.request
    return SelectionRequest(task.workspace, request.port, request.target, request.headers, affinity)
