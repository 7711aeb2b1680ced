"""Tasks that gateways were running which are gone, and those that nobody runs though the store says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from twisted.logger import Logger

from ngpu.interfaces import ITaskStore
from ngpu.model import Outcome, Task, TaskStatus
from ngpu.settings import Workspace
from ngpu.tasks.lifecycle import may_run_again, unknown_outcome
from ngpu.tasks.runs import Runs

STRAYS_EVERY = 15.0
"""Seconds between looks for strays; more than a write takes to be answered or given up with the usual `timeout`."""

REMOVED = "a workspace that was removed"
"""What the log calls it."""


class Orphans:
    """Settles them: each goes on, runs again, or ends.

    :param go_on: takes a conversation further.
    :param queued: is told that a task waits again.
    :param end: records an end.
    """

    log = Logger("ngpu.tasks")

    def __init__(
        self,
        store: ITaskStore,
        runs: Runs,
        workspaces: Mapping[str, Workspace],
        go_on: Callable[[Workspace, Task], None],
        queued: Callable[[str], None],
        end: Callable[[Task, Outcome], Awaitable[None]],
    ) -> None:
        self._store = store
        self._runs = runs
        self._workspaces = workspaces
        self._go_on = go_on
        self._queued = queued
        self._end = end
        self._looked = 0.0
        self._unknown: set[tuple[str, int]] = set()

    async def take_over(self) -> None:
        """Settle all that there are."""
        while tasks := await self._store.orphans():
            for task in tasks:
                await self._settle(task)

    async def look_for_strays(self, now: float) -> None:
        """Settle what the store says runs here and this gateway knows nothing of, at two looks one after the other.

        So it is where a store has forgotten that the task ended, or went back into the queue: a Redis that was killed
        before it had written what it had answered, or a replica that took over.
        """
        if 0.0 <= now - self._looked < STRAYS_EVERY:
            return
        before, self._looked = self._unknown, now
        running = await self._store.running()
        known = self._runs.known
        self._unknown = {(task_id, attempt) for task_id, attempt in running if task_id not in known}
        for task_id, attempt in self._unknown & before:
            task = await self._store.get(task_id)
            if task is not None and (task.status, task.attempt) == (TaskStatus.RUNNING, attempt):
                await self._settle(task, forgotten=True)

    async def _settle(self, task: Task, forgotten: bool = False) -> None:
        workspace = self._workspaces.get(task.workspace)
        conversations = self._runs.conversations
        if workspace is not None and conversations is not None and conversations.may_go_on(task):
            self._go_on(workspace, task)
            what = "goes on"
        elif workspace is not None and may_run_again(task, workspace.retry):
            await self._runs.insist(task.id, "requeue", lambda: self._store.requeue(task.id, task.attempt))
            self._queued(workspace.id)
            what = "runs again"
        else:
            await self._runs.insist(task.id, "end", partial(self._end, task, unknown_outcome(task, forgotten)))
            what = "has an unknown outcome"
        when = "the store forgot what became of it" if forgotten else "its gateway stopped"
        label = REMOVED if workspace is None else workspace.label
        about = {"journal": "task_interrupted", "workspace": label, "task_id": task.id}
        self.log.warn("{task_id} was running when {when}; it {what}", when=when, what=what, **about)
