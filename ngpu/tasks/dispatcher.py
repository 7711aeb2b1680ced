"""From the queue to a replica: one pump a workspace takes a slot, claims the oldest task for it, and runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.calls import placement_of
from ngpu.errors import NoReplica, PolicyFailed, StoreUnavailable
from ngpu.interfaces import ITaskStore
from ngpu.leases import Lease
from ngpu.line import Line
from ngpu.member import CallResult
from ngpu.model import Body, Outcome, Placement, SelectionRequest, Task, TaskStatus
from ngpu.settings import Workspace
from ngpu.tasks.foresight import Foresight, Guess
from ngpu.tasks.lifecycle import workspace_gone
from ngpu.tasks.orphans import REMOVED, Orphans
from ngpu.tasks.retrying import next_leases
from ngpu.tasks.runs import Runs
from ngpu.tasks.ticking import ticker
from ngpu.waiting import Handle, echo

SETTLE_EVERY, PURGE_EVERY = 1.0, 60.0
"""Seconds between looks for tasks whose ttl, or whose retention, is over."""

CHOOSE_AGAIN = 1.0
"""Seconds until the next try after a selection policy could not choose a replica for the queue."""

CLEARED_AT_ONCE = 64
"""Tasks of a removed workspace that are ended side by side: one commit of the store."""

RETENTION = 7 * 86400.0
"""Seconds for which ended tasks are kept while there is no workspace at all; the default of ``retention``."""


class Dispatcher:
    """Runs queued tasks of all workspaces, those that come later too, and settles what gateways that are gone left.

    How many tasks wait at most is counted here, so that an empty queue costs the store nothing. That may be too high
    for a while (tasks are cancelled and expire), never too low; the store's answer to a claim is what holds.

    :param shared: others take tasks in, too, and may be gone before they have run them.
    """

    log = Logger("ngpu.tasks")

    def __init__(
        self,
        store: ITaskStore,
        runs: Runs,
        lines: Mapping[str, Line],
        workspaces: Mapping[str, Workspace],
        clock: IReactorTime,
        shared: bool = False,
    ) -> None:
        self._shared = shared
        self._store = store
        self._runs = runs
        self._lines = lines
        self._workspaces = workspaces
        self._clock = clock
        self._queued: Counter[str] = Counter()
        self._foresight: dict[str, Foresight] = {}
        self._former: dict[str, float] = {}
        self._pumps: dict[str, Deferred[None]] = {}
        self._stopping = False
        self._serving: set[Deferred[Any]] = set()
        self._doubtful: set[str] = set()
        self._orphans = Orphans(store, runs, workspaces, self._go_on, self.queued, self._end)
        self._tickers = [ticker(work, clock, self.log) for work in (self._settle, self._purge)]

    async def start(self) -> None:
        """Settle the tasks that a dead process was running, then begin to run what waits."""
        await self._orphans.take_over()
        await self._look_for_queued()
        for looping, seconds in zip(self._tickers, (SETTLE_EVERY, PURGE_EVERY), strict=True):
            looping.start(seconds)

    async def _look_for_queued(self) -> None:
        """Raise the counts to what the store says."""
        for workspace, waiting in (await self._store.queues()).items():
            if workspace in self._workspaces:
                self.queued(workspace, max(0, waiting - self._queued[workspace]))

    def queued(self, workspace: str, count: int = 1, guess: Guess | None = None) -> None:
        """So many more tasks of the workspace wait; if that was removed, they will be ended.

        :param guess: the task, where it is one that has an affinity.
        """
        if workspace not in self._workspaces:
            self._doubtful.add(workspace)
            return
        if guess is not None:
            self._foreseen(workspace).queued(*guess)
        self._queued[workspace] += count
        if self._queued[workspace] > 0 and workspace not in self._pumps and not self._stopping:
            self._pumps[workspace] = Deferred()  # while the pump takes its first steps, during which more may come
            self._pumps[workspace] = pump = Deferred.fromCoroutine(self._pump(workspace))
            pump.addBoth(self._pumped, workspace)

    def follow(self, before: Workspace | None, after: Workspace | None) -> None:
        """A workspace has come, changed or gone; see `ngpu.roster.Watcher`."""
        if before is not None and after is None:
            del self._queued[before.id]
            self._foresight.pop(before.id, None)
            self._former[before.id] = before.retention
        elif after is not None:
            self._former.pop(after.id, None)
        for workspace in (before, after):
            if workspace is not None:
                self._doubtful.add(workspace.id)

    async def clear(self, workspace: str) -> None:
        """End the queued tasks of a workspace that was removed; what runs is left to its end.

        :raises StoreUnavailable: it goes on by itself once the store is back.
        """
        self._doubtful.add(workspace)
        try:
            await gatherResults(
                [Deferred.fromCoroutine(self._clear(workspace)) for _ in range(CLEARED_AT_ONCE)], consumeErrors=True
            )
        except FirstError as error:
            error.subFailure.raiseException()

    async def _clear(self, workspace: str) -> None:
        while workspace not in self._workspaces and not self._stopping:
            task = await self._store.claim(workspace, Placement(), self._clock.seconds())
            if task is None:
                self._doubtful.discard(workspace)
                return
            await self._runs.insist(task.id, "end", partial(self._end, task, workspace_gone()))

    async def _end(self, task: Task, outcome: Outcome) -> None:
        if await self._store.finish(task.id, task.attempt, outcome, self._clock.seconds(), None):
            self._runs.ended(task.workspace, task.id, outcome.status)

    def _foreseen(self, workspace: str) -> Foresight:
        """What is known of the workspace's tasks that wait."""
        return self._foresight.setdefault(workspace, Foresight(self._workspaces[workspace].queue.limit))

    def retire(self) -> None:
        """Claim nothing more; what runs goes on."""
        self._stopping = True
        for looping in self._tickers:
            if looping.running:
                looping.stop()
        for pump in tuple(self._pumps.values()):
            pump.cancel()
        self._runs.retire()

    @property
    def busy(self) -> bool:
        """Whether anything runs, or is about to."""
        return bool(self._serving or self._runs.running)

    async def stop(self, grace: float) -> None:
        """Claim nothing more; let what runs come to its end for so many seconds."""
        self.retire()
        await self._runs.stop(grace)
        await DeferredList([echo(served) for served in self._serving])

    def _under_way(self, workspace: str, serve: Callable[..., Coroutine[Deferred[Any], Any, Any]], *args: Any) -> None:
        work = Handle()
        work.work = served = Deferred.fromCoroutine(serve(*args, work))
        self._serving.add(served)
        served.addBoth(self._served, served, workspace)

    def _pumped(self, result: object, workspace: str) -> None:
        del self._pumps[workspace]
        if isinstance(result, Failure) and result.check(CancelledError, NoReplica) is None:
            self.log.failure("the queue of {workspace} stumbled", failure=result, workspace=self._label(workspace))
            self._doubtful.add(workspace)

    async def _pump(self, workspace_id: str) -> None:
        """Take slots as long as tasks wait; what then happens on each of them is not waited for."""
        while self._queued[workspace_id] > 0:
            workspace, line = self._workspaces[workspace_id], self._lines[workspace_id]
            foresight = self._foreseen(workspace_id)
            guess = foresight.guess()
            request = SelectionRequest(
                workspace.id, next(iter(workspace.ports)), workspace.path, affinity=guess.affinity
            )
            try:
                lease = await line.slot(request, None)
            except (PolicyFailed, StoreUnavailable):  # the tasks stay where they are
                await deferLater(self._clock, CHOOSE_AGAIN)
                continue
            if self._queued[workspace.id] <= 0:  # an earlier claim found nothing more
                lease.release(CallResult.ABANDONED)
                return
            self._queued[workspace.id] -= 1
            foresight.taken(guess)
            self._under_way(workspace.id, self._serve, self._workspaces[workspace.id], line, lease, foresight, guess)

    def slot_now(self, workspace: str, request: SelectionRequest) -> Lease | None:
        """A slot for a task that comes in now, which then need not wait: it is added as a running one, and `begin` it.

        None where others wait before it, or for a slot.
        """
        if self._stopping or self._queued[workspace] > 0 or workspace in self._pumps:
            return None
        try:
            return self._lines[workspace].try_slot(request)
        except PolicyFailed:  # as the pump will see, too
            return None

    def begin(self, workspace: Workspace, task: Task, body: Body, lease: Lease, affinity: str) -> None:
        """Run a task that was added as running, on the slot that it got."""
        self._under_way(workspace.id, self._run, workspace, self._lines.get(workspace.id), lease, task, body, affinity)

    async def _serve(
        self, workspace: Workspace, line: Line, lease: Lease, foresight: Foresight, guess: Guess, work: Handle
    ) -> None:
        """Claim the oldest task for the slot and run it."""
        try:
            task = await self._store.claim(workspace.id, placement_of(lease.replica), self._clock.seconds())
        except BaseException:
            lease.release(CallResult.ABANDONED)
            raise
        affinity = "" if task is None else foresight.claimed(guess, task.id)
        if task is None:
            self._queued[workspace.id] = 0
            self._doubtful.add(workspace.id)
            lease.release(CallResult.ABANDONED)
            return
        await self._run(workspace, line, lease, task, self._store.request_body(task), affinity, work)

    async def _run(
        self, workspace: Workspace, line: Line | None, lease: Lease, task: Task, body: Body, affinity: str, work: Handle
    ) -> None:
        if self._stopping or line is None:
            lease.release(CallResult.ABANDONED)
            self._doubtful.add(workspace.id)
            await self._store.requeue(task.id, task.attempt)
            return
        next_lease = next_leases(line, task, affinity, workspace.timeout, self._clock)
        if await self._runs.run(task, body, lease, workspace, next_lease, work) is None:
            await self._recount(workspace.id)

    def _go_on(self, workspace: Workspace, task: Task) -> None:
        """Take a conversation further on the replica that has its job."""
        slot = self._lines[workspace.id].slot_on(task.placement.replica)
        self._under_way(workspace.id, self._runs.resume, task, self._store.request_body(task), slot, workspace)

    async def _recount(self, workspace: str) -> None:
        """Raise the count to what the store says, and see that somebody works it off."""
        if workspace not in self._workspaces:
            await self.clear(workspace)
            return
        self.queued(workspace, max(0, await self._store.queued(workspace) - self._queued[workspace]))

    def _served(self, result: Any, served: Deferred[Any], workspace: str) -> None:
        self._serving.discard(served)
        if not isinstance(result, Failure) or result.check(CancelledError):
            return
        if result.check(StoreUnavailable):
            self.log.error("{error}", error=result.getErrorMessage())
        else:
            self.log.failure("a task of {workspace} stumbled", failure=result, workspace=self._label(workspace))
        self._doubtful.add(workspace)

    def _label(self, workspace: str) -> str:
        """What the log calls it; it may be gone."""
        found = self._workspaces.get(workspace)
        return REMOVED if found is None else found.label

    async def _settle(self) -> None:
        """End what waited too long, and count anew where a failure left doubt."""
        for workspace, task_id in await self._store.expire(self._clock.seconds()):
            self._runs.ended(workspace, task_id, TaskStatus.EXPIRED)
        if self._shared:
            await self._orphans.take_over()
            await self._look_for_queued()
        await self._orphans.look_for_strays(self._clock.seconds())
        doubtful, self._doubtful = self._doubtful, set()
        try:
            while doubtful and not self._stopping:
                workspace = next(iter(doubtful))
                await self._recount(workspace)
                doubtful.discard(workspace)
        finally:
            self._doubtful |= doubtful

    async def _purge(self) -> None:
        now = self._clock.seconds()
        kept = {**self._former, **{each.id: each.retention for each in self._workspaces.values()}}
        retention = {workspace: now - seconds for workspace, seconds in kept.items()}
        longest = now - max(kept.values(), default=RETENTION)
        while not self._stopping and await self._store.purge(retention, longest):
            pass
