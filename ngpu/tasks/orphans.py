"""Tasks that gateways were running which are gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from twisted.logger import Logger

from ngpu.interfaces import ITaskStore
from ngpu.model import Outcome, Task
from ngpu.settings import Workspace
from ngpu.tasks.lifecycle import may_run_again, unknown_outcome
from ngpu.tasks.runs import Runs

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

    async def take_over(self) -> None:
        """Settle all that there are."""
        while tasks := await self._store.orphans():
            for task in tasks:
                await self._settle(task)

    async def _settle(self, task: Task) -> None:
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
            await self._runs.insist(task.id, "end", partial(self._end, task, unknown_outcome(task)))
            what = "has an unknown outcome"
        label = REMOVED if workspace is None else workspace.label
        about = {"journal": "task_interrupted", "workspace": label, "task_id": task.id}
        self.log.warn("{task_id} was running when its gateway stopped; it {what}", what=what, **about)
