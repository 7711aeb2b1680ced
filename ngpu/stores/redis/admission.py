"""What may keep a task out of the queue, as scripts take it, and what their refusals mean."""

from __future__ import annotations

from typing import Any, NamedTuple

from ngpu.errors import Conflict, OverLimit, QueueFull, StoreUnavailable
from ngpu.limits import Quota
from ngpu.model import Task
from ngpu.stores.redis.records import task_of

RETRY_AFTER = 5
"""Seconds that a caller is told to wait for a place in a full queue."""


class Limits(NamedTuple):
    """How many tasks may wait, and the quota; ``None`` sets no limit."""

    queue: int | None
    quota: Quota | None

    @property
    def window(self) -> str:
        """The window of the quota, or ""."""
        return self.quota.window if self.quota is not None else ""

    @property
    def values(self) -> tuple[Any, Any, str]:
        """The arguments ``limit``, ``quota`` and ``window`` of a script."""
        return (
            "" if self.queue is None else self.queue,
            "" if self.quota is None else self.quota.limit,
            self.window,
        )

    def check(self, answer: Any) -> None:
        """:raises QueueFull, OverLimit: a script has answered so."""
        if answer == "full":
            raise QueueFull(f"{self.queue} tasks of this workspace are waiting already; try again later", RETRY_AFTER)
        if answer == "over" and self.quota is not None:
            raise OverLimit(f"this workspace's quota of {self.quota.limit} tasks is used up", self.quota.retry_after)

    def accepted(self, answer: Any, task: Task) -> Any:
        """The answer to an ``add``; a task where there is one of its key already.

        :raises QueueFull, OverLimit, Conflict: it is a refusal.
        :raises StoreUnavailable: what was uploaded for it is not there any more.
        """
        self.check(answer)
        if answer == "taken":
            raise Conflict(f"there is a task {task.id} already")
        if answer == "gone":
            raise StoreUnavailable("the store has not kept the whole request while it came in; send it again")
        return task_of(answer["known"]) if isinstance(answer, dict) else answer
