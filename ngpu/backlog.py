"""The use cases of tasks that are waited for, and of what comes again: the same once more, another try, all away."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from zoneinfo import ZoneInfo

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from ngpu.allowance import quota_of
from ngpu.errors import Conflict, NotFound, StoreUnavailable
from ngpu.gates import Gate
from ngpu.gateway import Gateway
from ngpu.interfaces import ITaskStore
from ngpu.metrics import Metrics
from ngpu.model import Task, TaskStatus
from ngpu.settings import Workspace
from ngpu.submission import Submission
from ngpu.tasks.dispatcher import Dispatcher
from ngpu.tasks.lifecycle import place_of
from ngpu.tasks.runs import Runs
from ngpu.tenancy import Access
from ngpu.waiting import shielded

LOOK_AGAIN = 5.0
"""Seconds after which a task that is waited for is looked at, whatever was heard of it."""


class Backlog:
    """Stands beside the gateway, with the same parts.

    :param zone: in which the days of quotas begin.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        store: ITaskStore,
        runs: Runs,
        dispatcher: Dispatcher,
        gates: Mapping[str, Gate],
        zone: ZoneInfo,
        clock: IReactorTime,
        metrics: Metrics,
    ) -> None:
        self._gateway = gateway
        self._store = store
        self._runs = runs
        self._dispatcher = dispatcher
        self._gates = gates
        self._zone = zone
        self._clock = clock
        self._metrics = metrics

    def submit(self, submission: Submission) -> Awaitable[Task]:
        """As `Gateway.submit`; a request whose key came before is the task that it was then, however that stands now.

        :raises Conflict: that was another request.
        """
        return self._submit_once(submission) if submission.wishes.key else self._gateway.submit(submission)

    async def _submit_once(self, submission: Submission) -> Task:
        known = await self._store.by_key(submission.access.workspace.id, submission.wishes.key)
        task = known or await self._gateway.submit(submission)  # the store decides between two at once
        if task.request_digest != submission.digest:
            raise Conflict(
                "this Idempotency-Key came before, with another request; use a new key for each request, "
                "and send the same request where you use one again"
            )
        return task

    async def wait(self, task: Task, seconds: float) -> Task:
        """Wait for the end of a task that was taken in, but no longer than that; its record of then."""
        until = self._clock.seconds() + seconds
        now: Task | None = task
        try:
            while now is not None and not now.status.ended and not self._runs.stopping:
                left = until - self._clock.seconds()
                if left <= 0:
                    break
                now = await self._after_a_change(now, left)
        except StoreUnavailable:
            return task  # it was taken in, and its id is what the client needs most
        return now or task

    async def _after_a_change(self, task: Task, seconds: float) -> Task | None:
        """Its record once that is another one than this, or after some seconds."""
        # the watch begins before the look, so that nothing happens unseen between them
        change = self._runs.watch(task.id, min(seconds, LOOK_AGAIN))
        try:
            now = await self._store.get(task.id)
            if now == task:
                await change
                now = await self._store.get(task.id)
        finally:
            change.addErrback(lambda failure: failure.trap(CancelledError))
            change.cancel()
        return now

    async def follow(self, task: Task) -> Task:
        """Wait for the end of a task, at most its ``timeout`` while it waits in the queue.

        :returns: its record; it has not ended when that time is over, or the gateway stops.
        """
        until = self._clock.seconds() + task.timeout
        while not task.status.ended and not self._runs.stopping:
            left = until - self._clock.seconds()
            if task.status is TaskStatus.QUEUED and left <= 0:
                break
            now = await self._after_a_change(task, LOOK_AGAIN if left <= 0 else left)
            if now is None:
                raise NotFound("the task is not kept any more")
            task = now
        return task

    async def retry(self, task_id: str, access: Access, ttl: float | None) -> Task:
        """Put a task that failed, expired or was cancelled back into the queue, under its id.

        :param ttl: seconds that it may wait; by default the workspace's.
        :returns: its record; the same for one that was retried already, and has not ended since.
        :raises NotFound: no such task, or another tenant's.
        :raises Conflict: it is in another state.
        :raises QueueFull, OverLimit: as for a new one.
        :raises Forbidden, BadRequest, CheckerUnavailable: the gate does not let it through any more.
        """
        task = await self._gateway.task(task_id, access)
        workspace = access.workspace
        if workspace.gate is not None and task.btc_address:
            await self._gates[workspace.gate].admit(task.btc_address)
        before = await shielded(Deferred.fromCoroutine(self._retry(task, workspace, ttl)))
        task = await self._gateway.task(task_id, access)
        again = before in (TaskStatus.QUEUED, TaskStatus.RUNNING) and task.retries > 0
        if before in (TaskStatus.FAILED, TaskStatus.EXPIRED, TaskStatus.CANCELLED) or again:
            return task
        raise Conflict(f"only a task that failed, expired or was cancelled can be tried again: this one is {before}")

    async def _retry(self, task: Task, workspace: Workspace, ttl: float | None) -> TaskStatus | None:
        now = self._clock.seconds()
        before = await self._store.retry(
            task.id,
            now,
            now + (workspace.queue.ttl if ttl is None else ttl),
            place_of(now, task.priority, workspace.queue.ttl),
            workspace.queue.limit,
            quota_of(workspace, now, self._zone),
        )
        if before is not None and before.ended and before is not TaskStatus.FINISHED:
            self._metrics.accepted.labels(self._metrics.label(workspace.id)).inc()
            self._dispatcher.queued(workspace.id)
            self._runs.changed(task.id)
        return before

    async def purge(self, workspace: Workspace) -> int:
        """Cancel the workspace's queued tasks, those that wait now; how many there were."""
        left = await self._store.queued(workspace.id)
        total = 0
        while left > 0:
            dropped = await shielded(Deferred.fromCoroutine(self._drop(workspace, left)))
            if not dropped:
                break
            total += dropped
            left -= dropped
        return total

    async def _drop(self, workspace: Workspace, most: int) -> int:
        ids = await self._store.cancel_queued(workspace.id, self._clock.seconds(), most)
        for task_id in ids:
            self._runs.ended(workspace.id, task_id, TaskStatus.CANCELLED)
        return len(ids)
