"""The port of what customers do with tasks that are in the store already: find, retry, purge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zope.interface import Interface

from ngpu.limits import Quota
from ngpu.model import Task, TaskStatus


class IQueue(Interface):
    """A part of `ngpu.interfaces.ITaskStore`."""

    async def by_key(workspace: str, idempotency_key: str) -> Task | None:
        """The workspace's task with that ``idempotency_key``, which is not ""."""

    async def retry(
        task_id: str,
        now: float,
        expires_at: float,
        place: float,
        queue_limit: int | None = None,
        quota: Quota | None = None,
    ) -> TaskStatus | None:
        """Put a FAILED, CANCELLED or EXPIRED task back into the queue, behind those of its priority.

        Outcome, result, checkpoint and placement are forgotten, ``retries`` is one higher, ``attempt`` stays, to grow
        with the next claim; it is no longer ``direct``, and a webhook of its last end is taken out of the outbox.

        :param place: as of a new task; see `ngpu.interfaces.ITaskStore.add`, as for the limits.
        :returns: the status it had before: one that is QUEUED, RUNNING or FINISHED stays as it is. ``None``: there is
            no such task.
        :raises QueueFull, OverLimit: at a limit; nothing was changed.
        """

    async def cancel_queued(workspace: str, now: float, most: int) -> Sequence[str]:
        """Cancel the workspace's QUEUED tasks, those that would run next first; the ids of a bounded number.

        :param most: how many at most.
        """

    async def queues() -> Mapping[str, int]:
        """How many tasks are QUEUED, of each workspace that has any."""

    async def queue_position(task: Task) -> int:
        """How many QUEUED tasks of its workspace come before it, plus one; 1 where it does not wait."""
