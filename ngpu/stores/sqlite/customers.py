"""What customers' additions ask of the embedded store: the queue beside claims, the outbox, the limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.internet.interfaces import IReactorFromThreads

from ngpu.auditing import AuditPage
from ngpu.limits import Pace, Quota, Rate, paced
from ngpu.model import Task, TaskStatus
from ngpu.outbox import Backlog, Webhook
from ngpu.stores.sqlite import admission, again, auditing, outbox, reads
from ngpu.stores.sqlite.file import SqliteFile


class Customers(SqliteFile):
    """See `ngpu.queue.IQueue`, `ngpu.outbox.IOutbox`, `ngpu.limits.ILimits`, `ngpu.auditing.IAudited`.

    Rates are counted in memory: one gateway has the file, and a burst more after a restart harms nobody.
    """

    def __init__(self, path: Path, reactor: IReactorFromThreads) -> None:
        super().__init__(path, reactor)
        self._full_at: dict[str, float] = {}

    async def by_key(self, workspace: str, idempotency_key: str) -> Task | None:
        """See ``IQueue.by_key``."""
        task: Task | None = await self._read(reads.by_key, workspace, idempotency_key)
        return task

    async def retry(
        self,
        task_id: str,
        now: float,
        expires_at: float,
        place: float,
        queue_limit: int | None = None,
        quota: Quota | None = None,
    ) -> TaskStatus | None:
        """See ``IQueue.retry``."""
        before: TaskStatus | None = await self._write(again.retry, task_id, now, expires_at, place, queue_limit, quota)
        return before

    async def cancel_queued(self, workspace: str, now: float, most: int) -> Sequence[str]:
        """See ``IQueue.cancel_queued``."""
        ids: Sequence[str] = await self._write(again.cancel_queued, workspace, now, most)
        return ids

    async def queues(self) -> Mapping[str, int]:
        """See ``IQueue.queues``."""
        counts: dict[str, int] = await self._read(reads.queues)
        return counts

    async def queue_position(self, task: Task) -> int:
        """See ``IQueue.queue_position``."""
        position: int = await self._read(reads.queue_position, task.id)
        return position

    async def take_webhooks(
        self, now: float, until: float, room: int, most: int, busy: Mapping[str, int]
    ) -> Sequence[Webhook]:
        """See ``IOutbox.take_webhooks``."""
        taken: Sequence[Webhook] = await self._write(outbox.take, now, until, room, most, dict(busy))
        return taken

    async def webhook_delivered(self, webhook: Webhook) -> None:
        """See ``IOutbox.webhook_delivered``."""
        await self._write(outbox.delivered, webhook)

    async def webhook_failed(self, webhook: Webhook, due_at: float | None) -> bool:
        """See ``IOutbox.webhook_failed``."""
        changed: bool = await self._write(outbox.failed, webhook, due_at)
        return changed

    async def webhooks(self) -> Mapping[str, Backlog]:
        """See ``IOutbox.webhooks``."""
        found: Mapping[str, Backlog] = await self._read(outbox.backlogs)
        return found

    async def pace(self, workspace: str, rate: Rate, now: float) -> Pace:
        """See ``ILimits.pace``."""
        self._writer.check_open()
        self._full_at[workspace], pace = paced(self._full_at.get(workspace, now), rate, now)
        return pace

    async def used(self, workspace: str, window: str) -> int:
        """See ``ILimits.used``."""
        count: int = await self._read(admission.used, workspace, window)
        return count

    async def audit(self, cursor: str | None, now: float) -> AuditPage:
        """See ``IAudited.audit``."""
        page: AuditPage = await self._read(auditing.audit, cursor, now)
        return page
