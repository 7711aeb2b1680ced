"""What a task store in memory keeps, and what customers do with it beside submitting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ngpu.errors import OverLimit, QueueFull, StoreUnavailable
from ngpu.limits import Pace, Quota, Rate, paced
from ngpu.model import Placement, Task, TaskStatus
from ngpu.outbox import Backlog, Webhook


@dataclass(slots=True)
class Record:
    """A task and its bodies; ``turn`` says who is first of those in one place of the queue."""

    task: Task
    request: bytes
    turn: int
    pieces: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Waiting:
    """A webhook that is not delivered; ``due_at`` is ``None`` once it was given up."""

    webhook: Webhook
    due_at: float | None


@dataclass(slots=True)
class Shelf:
    """What outlives a store: another one over the same shelf finds everything again.

    :ivar highest: the highest place that was given, by workspace and priority: who comes above it need not look around.
    """

    records: dict[str, Record] = field(default_factory=dict)
    last_number: int = 0
    webhooks: dict[str, Waiting] = field(default_factory=dict)
    used: dict[tuple[str, str], int] = field(default_factory=dict)
    highest: dict[tuple[str, int], float] = field(default_factory=dict)


class Shelved:
    """The parts of a store that are `ngpu.queue.IQueue`, `ngpu.outbox.IOutbox` and `ngpu.limits.ILimits`."""

    def __init__(self, shelf: Shelf | None = None, batch: int = 100) -> None:
        self._shelf = shelf or Shelf()
        self._batch = batch
        self._open = True
        self._taken_over = False
        self._full_at: dict[str, float] = {}

    def _records(self) -> dict[str, Record]:
        if not self._open:
            raise StoreUnavailable("the task store is closed")
        return self._shelf.records

    def _waiting(self, workspace: str) -> list[Record]:
        """The workspace's queue, the next one first."""
        found = (record for record in self._records().values() if record.task.workspace == workspace)
        queued = (record for record in found if record.task.status is TaskStatus.QUEUED)
        return sorted(queued, key=lambda record: (record.task.place, record.turn))

    def _next_turn(self) -> int:
        self._shelf.last_number += 1
        return self._shelf.last_number

    def _place(self, workspace: str, priority: int, place: float) -> float:
        highest = self._shelf.highest.get((workspace, priority), place)
        if place < highest:
            live = (record.task for record in self._records().values() if not record.task.status.ended)
            own = (task.place for task in live if (task.workspace, task.priority) == (workspace, priority))
            place = max([place, *own])
        self._shelf.highest[workspace, priority] = max(place, highest)
        return place

    def _ended(self, task: Task) -> None:
        """Tell the outbox, where the task wants that."""
        if task.webhook:
            webhook = Webhook(task.workspace, task.id, task.retries, 0)
            self._shelf.webhooks[task.id] = Waiting(webhook, task.ended_at or 0.0)

    def _check(self, workspace: str, queue_limit: int | None, quota: Quota | None) -> None:
        if queue_limit is not None and len(self._waiting(workspace)) >= queue_limit:
            raise QueueFull(f"{queue_limit} tasks of this workspace are waiting already; try again later", 5)
        if quota is not None and self._shelf.used.get((workspace, quota.window), 0) >= quota.limit:
            raise OverLimit(f"this workspace's quota of {quota.limit} tasks is used up", quota.retry_after)

    def _count(self, workspace: str, quota: Quota | None) -> None:
        if quota is None:
            return
        used = self._shelf.used
        used[workspace, quota.window] = used.get((workspace, quota.window), 0) + 1
        for over in [key for key in used if key[0] == workspace and key[1] < quota.window]:
            del used[over]

    async def by_key(self, workspace: str, idempotency_key: str) -> Task | None:
        """See ``IQueue.by_key``."""
        for record in self._records().values():
            task = record.task
            if idempotency_key and (task.workspace, task.idempotency_key) == (workspace, idempotency_key):
                return task
        return None

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
        record = self._records().get(task_id)
        if record is None:
            return None
        task = record.task
        if task.status not in (TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.EXPIRED):
            return task.status
        self._check(task.workspace, queue_limit, quota)
        self._count(task.workspace, quota)
        place = self._place(task.workspace, task.priority, place)
        cleared = replace(task, started_at=None, ended_at=None, outcome=None, checkpoint="", placement=Placement())
        record.task = replace(
            cleared,
            status=TaskStatus.QUEUED,
            expires_at=expires_at,
            place=place,
            retries=task.retries + 1,
            direct=False,
        )
        record.turn = self._next_turn()
        record.pieces.clear()
        self._shelf.webhooks.pop(task_id, None)
        return task.status

    async def cancel_queued(self, workspace: str, now: float, most: int) -> Sequence[str]:
        """See ``IQueue.cancel_queued``."""
        first = self._waiting(workspace)[: min(most, self._batch)]
        for record in first:
            record.task = replace(record.task, status=TaskStatus.CANCELLED, ended_at=now)
            self._ended(record.task)
        return [record.task.id for record in first]

    async def queues(self) -> Mapping[str, int]:
        """See ``IQueue.queues``."""
        tasks = [record.task for record in self._records().values()]
        return Counter(task.workspace for task in tasks if task.status is TaskStatus.QUEUED)

    async def queue_position(self, task: Task) -> int:
        """See ``IQueue.queue_position``."""
        ids = [record.task.id for record in self._waiting(task.workspace)]
        return ids.index(task.id) + 1 if task.id in ids else 1

    async def take_webhooks(
        self, now: float, until: float, room: int, most: int, busy: Mapping[str, int]
    ) -> Sequence[Webhook]:
        """See ``IOutbox.take_webhooks``."""
        self._records()
        due = [each for each in self._shelf.webhooks.values() if each.due_at is not None and each.due_at <= now]
        taken: list[Webhook] = []
        under_way = Counter(dict(busy))
        in_turn: list[tuple[int, Waiting]] = []
        for waiting in sorted(due, key=lambda each: (each.due_at, each.webhook)):
            workspace = waiting.webhook.workspace
            in_turn.append((under_way[workspace], waiting))
            under_way[workspace] += 1
        for before, waiting in sorted(in_turn, key=lambda each: each[0]):
            if len(taken) < room and before < most:
                waiting.webhook = waiting.webhook._replace(tries=waiting.webhook.tries + 1)
                waiting.due_at = until
                taken.append(waiting.webhook)
        return taken

    async def webhook_delivered(self, webhook: Webhook) -> None:
        """See ``IOutbox.webhook_delivered``."""
        self._records()
        waiting = self._shelf.webhooks.get(webhook.task_id)
        if waiting is not None and waiting.webhook.end == webhook.end:
            del self._shelf.webhooks[webhook.task_id]

    async def webhook_failed(self, webhook: Webhook, due_at: float | None) -> bool:
        """See ``IOutbox.webhook_failed``."""
        self._records()
        waiting = self._shelf.webhooks.get(webhook.task_id)
        if waiting is None or waiting.webhook != webhook or waiting.due_at is None:
            return False
        waiting.due_at = due_at
        return True

    async def webhooks(self) -> Mapping[str, Backlog]:
        """See ``IOutbox.webhooks``."""
        self._records()
        found: dict[str, Backlog] = {}
        for waiting in self._shelf.webhooks.values():
            pending, dead = found.get(waiting.webhook.workspace, Backlog(0, 0))
            one = Backlog(pending, dead + 1) if waiting.due_at is None else Backlog(pending + 1, dead)
            found[waiting.webhook.workspace] = one
        return found

    async def pace(self, workspace: str, rate: Rate, now: float) -> Pace:
        """See ``ILimits.pace``."""
        self._records()
        self._full_at[workspace], pace = paced(self._full_at.get(workspace, now), rate, now)
        return pace

    async def used(self, workspace: str, window: str) -> int:
        """See ``ILimits.used``."""
        self._records()
        return self._shelf.used.get((workspace, window), 0)
