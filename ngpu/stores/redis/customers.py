"""What customers' additions ask of the shared store: the queue beside claims, the outbox, the limits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ngpu.auditing import AuditPage
from ngpu.limits import Pace, Quota, Rate
from ngpu.model import Placement, Task, TaskStatus
from ngpu.outbox import Backlog, Webhook
from ngpu.stores.record import placement_json, search_key
from ngpu.stores.redis import again, outbox, pacing, reads
from ngpu.stores.redis.admission import Limits
from ngpu.stores.redis.auditing import Audit
from ngpu.stores.redis.desk import Desk, Redo
from ngpu.stores.redis.records import task_of


class Customers:
    """See `ngpu.queue.IQueue`, `ngpu.outbox.IOutbox`, `ngpu.limits.ILimits`, `ngpu.auditing.IAudited`."""

    def __init__(self, desk: Desk, prefix: str) -> None:
        self._desk = desk
        self._prefix = prefix

    async def by_key(self, workspace: str, idempotency_key: str) -> Task | None:
        """See ``IQueue.by_key``."""
        record = await self._desk.read(reads.BY_KEY, workspace, idempotency_key)
        return task_of(record) if record else None

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
        limits, found = Limits(queue_limit, quota), search_key(task_id)

        def undo(answer: Any) -> Redo | None:
            changed = isinstance(answer, list) and len(answer) > 1
            return (again.GIVE_BACK, (found, answer[1])) if changed else None

        when = (repr(float(expires_at)), repr(float(place)))
        answer = await self._desk.write(
            again.RETRY, found, *when, *limits.values, placement_json(Placement()), undo=undo
        )
        limits.check(answer)
        return TaskStatus(answer[0]) if answer else None

    async def cancel_queued(self, workspace: str, now: float, most: int) -> Sequence[str]:
        """See ``IQueue.cancel_queued``."""
        bounded = min(most, again.MOST_CANCELLED)
        return list(await self._desk.write(again.CANCEL_QUEUED, workspace, repr(float(now)), bounded))

    async def queues(self) -> Mapping[str, int]:
        """See ``IQueue.queues``."""
        return dict(await self._desk.read(reads.QUEUES))

    async def queue_position(self, task: Task) -> int:
        """See ``IQueue.queue_position``."""
        return int(await self._desk.read(reads.POSITION, search_key(task.id)))

    async def take_webhooks(
        self, now: float, until: float, room: int, most: int, busy: Mapping[str, int]
    ) -> Sequence[Webhook]:
        """See ``IOutbox.take_webhooks``. Those that were taken though nobody was told are due again at ``until``."""
        values = (repr(float(now)), repr(float(until)), room, most, json.dumps(dict(busy)))
        return [Webhook(*found) for found in await self._desk.write(outbox.TAKE, *values)]

    async def webhook_delivered(self, webhook: Webhook) -> None:
        """See ``IOutbox.webhook_delivered``."""
        await self._desk.write(outbox.DELIVERED, search_key(webhook.task_id), webhook.end)

    async def webhook_failed(self, webhook: Webhook, due_at: float | None) -> bool:
        """See ``IOutbox.webhook_failed``."""
        due = "" if due_at is None else repr(float(due_at))
        values = (search_key(webhook.task_id), webhook.end, webhook.tries, due)
        return bool(await self._desk.write(outbox.FAILED, *values))

    async def webhooks(self) -> Mapping[str, Backlog]:
        """See ``IOutbox.webhooks``."""
        found = await self._desk.read(outbox.BACKLOGS)
        return {workspace: Backlog(pending, dead) for workspace, pending, dead in found}

    async def pace(self, workspace: str, rate: Rate, now: float) -> Pace:
        """See ``ILimits.pace``."""
        values = (repr(float(rate.per_second)), rate.burst, repr(float(now)))
        wait, left, full_in = await self._desk.write(pacing.PACE, workspace, *values)
        return Pace(float(wait), int(left), float(full_in))

    async def used(self, workspace: str, window: str) -> int:
        """See ``ILimits.used``."""
        return int(await self._desk.plain("HGET", f"{self._prefix}:usage:{workspace}".encode(), window) or 0)

    async def audit(self, cursor: str | None, now: float) -> AuditPage:
        """See ``IAudited.audit``."""
        return await Audit(self._desk.read, self._desk.plain, self._prefix, now).page(cursor)
