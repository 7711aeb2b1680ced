"""A task store in memory: for tests, and for a look at what the port means without a database in the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

from zope.interface import implementer

from ngpu.errors import BadRequest, Conflict, NotFound
from ngpu.interfaces import ITaskStore, Last
from ngpu.limits import Quota
from ngpu.listing import TaskPage, TaskQuery
from ngpu.model import CHUNK, Body, BytesBody, Outcome, Placement, Task, TaskStatus, node_key
from ngpu.testing.shelf import Record, Shelf, Shelved

__all__ = ["MemoryTaskStore", "Shelf"]


@implementer(ITaskStore)
class MemoryTaskStore(Shelved):
    """Task records in a dict, in the order of their numbers.

    :param shelf: where to keep them; one of its own by default.
    :param batch: how many tasks ``expire``, ``purge`` and ``cancel_queued`` take at once.
    """

    def _current(self, task_id: str, attempt: int) -> Record | None:
        """The record, if its task runs and ``attempt`` is not fenced off."""
        record = self._records().get(task_id)
        if record and record.task.status is TaskStatus.RUNNING and record.task.attempt == attempt:
            return record
        return None

    async def add(
        self,
        task: Task,
        request: Body,
        queue_limit: int | None = None,
        quota: Quota | None = None,
        result: bytes = b"",
    ) -> Task:
        """See ``ITaskStore.add``.

        :raises Conflict: there is a task with this id.
        """
        known = await self._known(task, queue_limit, quota)
        if known is not None:
            return known
        data = b"".join([chunk async for chunk in request.chunks()])
        known = await self._known(task, queue_limit, quota)  # others may have come while the body was read
        if known is not None:
            return known
        self._count(task.workspace, quota)
        number = self._next_turn()
        stored = replace(task, number=number, place=self._place(task.workspace, task.priority, task.place))
        self._records()[task.id] = Record(stored, data, number, {0: result} if result else {})
        if stored.status.ended:
            self._ended(stored)
        return stored

    async def add_ended(self, tasks: Sequence[Task]) -> None:
        """See ``ITaskStore.add_ended``."""
        for task in tasks:
            if task.id not in self._records():
                await self.add(task, BytesBody())
            elif task.outcome is not None:
                await self.finish(task.id, task.attempt, task.outcome, task.ended_at or 0.0, None)

    async def _known(self, task: Task, queue_limit: int | None, quota: Quota | None) -> Task | None:
        known = await self.by_key(task.workspace, task.idempotency_key)
        if known is None:
            self._check(task.workspace, queue_limit, quota)
            if task.id in self._records():
                raise Conflict(f"there is a task {task.id} already")
        return known

    async def claim(self, workspace: str, placement: Placement, now: float) -> Task | None:
        """See ``ITaskStore.claim``."""
        record = next((each for each in self._waiting(workspace) if each.task.expires_at > now), None)
        if record is None:
            return None
        attempt = record.task.attempt + 1
        record.task = replace(
            record.task, status=TaskStatus.RUNNING, attempt=attempt, placement=placement, started_at=now
        )
        return record.task

    async def reattempt(self, task_id: str, attempt: int, placement: Placement) -> int | None:
        """See ``ITaskStore.reattempt``."""
        record = self._current(task_id, attempt)
        if record is None:
            return None
        record.task = replace(record.task, attempt=attempt + 1, placement=placement, checkpoint="")
        record.pieces.clear()
        return attempt + 1

    async def save_checkpoint(self, task_id: str, attempt: int, checkpoint: str) -> bool:
        """See ``ITaskStore.save_checkpoint``."""
        record = self._current(task_id, attempt)
        if record is not None:
            record.task = replace(record.task, checkpoint=checkpoint)
        return record is not None

    async def requeue(self, task_id: str, attempt: int) -> bool:
        """See ``ITaskStore.requeue``."""
        record = self._current(task_id, attempt)
        if record is None:
            return False
        waiting = replace(record.task, status=TaskStatus.QUEUED, placement=Placement(), started_at=None)
        record.task = replace(waiting, checkpoint="")
        record.pieces.clear()
        return True

    async def write_result(self, task_id: str, attempt: int, index: int, data: bytes) -> None:
        """See ``ITaskStore.write_result``."""
        record = self._current(task_id, attempt)
        if record is not None:
            record.pieces[index] = data

    async def finish(
        self, task_id: str, attempt: int, outcome: Outcome, now: float, last: Last, hurry: bool = True
    ) -> bool:
        """See ``ITaskStore.finish``."""
        record = self._current(task_id, attempt)
        if record is None:
            return False
        record.task = replace(record.task, status=outcome.status, outcome=outcome, ended_at=now)
        self._ended(record.task)
        if last is None:
            record.pieces.clear()
        else:
            record.pieces[last[0]] = last[1]
        return True

    async def cancel(self, task_id: str, now: float) -> TaskStatus | None:
        """See ``ITaskStore.cancel``."""
        record = self._records().get(task_id)
        if record is None:
            return None
        before = record.task.status
        if not before.ended:
            record.task = replace(record.task, status=TaskStatus.CANCELLED, ended_at=now)
            self._ended(record.task)
            record.pieces.clear()
        return before

    async def expire(self, now: float) -> Sequence[tuple[str, str]]:
        """See ``ITaskStore.expire``."""
        tasks = [record.task for record in self._records().values()]
        due = [task for task in tasks if task.status is TaskStatus.QUEUED and task.expires_at <= now][: self._batch]
        for task in due:
            over = replace(task, status=TaskStatus.EXPIRED, ended_at=now)
            self._records()[task.id].task = over
            self._ended(over)
        return [(task.workspace, task.id) for task in due]

    async def orphans(self) -> Sequence[Task]:
        """See ``ITaskStore.orphans``."""
        orphans = [each for each in self._records().values() if each.task.status is TaskStatus.RUNNING]
        if self._taken_over:
            return ()
        self._taken_over = True
        for record in orphans:
            record.task = replace(record.task, attempt=record.task.attempt + 1)
            record.pieces.clear()
        return [record.task for record in orphans]

    async def running(self) -> Sequence[tuple[str, int]]:
        """See ``ITaskStore.running``."""
        tasks = [each.task for each in self._records().values()]
        return [(task.id, task.attempt) for task in tasks if task.status is TaskStatus.RUNNING]

    async def purge(self, ended_before: Mapping[str, float], otherwise: float) -> int:
        """See ``ITaskStore.purge``."""
        due = [
            task_id
            for task_id, record in self._records().items()
            if record.task.ended_at is not None
            and record.task.ended_at < ended_before.get(record.task.workspace, otherwise)
            and not self._is_pending(task_id)
        ][: self._batch]
        for task_id in due:
            del self._records()[task_id]
            self._shelf.webhooks.pop(task_id, None)
        return len(due)

    def _is_pending(self, task_id: str) -> bool:
        webhook = self._shelf.webhooks.get(task_id)
        return webhook is not None and webhook.due_at is not None

    async def get(self, task_id: str) -> Task | None:
        """See ``ITaskStore.get``."""
        record = self._records().get(task_id)
        return record.task if record else None

    async def list(self, query: TaskQuery) -> TaskPage:
        """See ``ITaskStore.list``."""
        after = None if query.cursor is None else _place(query.cursor)
        found = sorted(
            (task.submitted_at, task.number, task.id)
            for task in (record.task for record in self._records().values())
            if _matches(task, query) and (after is None or _follows(query, (task.submitted_at, task.number), after))
        )
        if query.newest:
            found.reverse()
        shown = found[: query.limit]
        more = len(found) > len(shown) > 0
        return TaskPage(tuple(row[2] for row in shown), f"{shown[-1][0]!r}~{shown[-1][1]}" if more else None)

    async def queued(self, workspace: str) -> int:
        """See ``ITaskStore.queued``."""
        return len(self._waiting(workspace))

    def request_body(self, task: Task) -> Body:
        """See ``ITaskStore.request_body``."""
        return _KeptBody(self, task, task.request_size, result=False)

    def result_body(self, task: Task) -> Body:
        """See ``ITaskStore.result_body``."""
        return _KeptBody(self, task, task.outcome.size if task.outcome else 0, result=True)

    def piece(self, task_id: str, index: int, result: bool) -> bytes:
        """One piece of a body.

        :raises NotFound: the task was purged.
        """
        record = self._records().get(task_id)
        if record is None:
            raise NotFound(f"task {task_id} is not kept any more")
        return record.pieces[index] if result else record.request[index * CHUNK : (index + 1) * CHUNK]

    async def close(self) -> None:
        """See ``ITaskStore.close``."""
        self._open = False


def _follows(query: TaskQuery, place: tuple[float, int], after: tuple[float, int]) -> bool:
    return place < after if query.newest else place > after


def _matches(task: Task, query: TaskQuery) -> bool:
    node = node_key(task.placement.node_address)
    return (
        task.workspace == query.workspace
        and (query.node is None or (node != "" and node == node_key(query.node)))
        and (query.btc_address is None or (task.btc_address != "" and task.btc_address == query.btc_address))
        and (query.start is None or task.submitted_at >= query.start)
        and (query.end is None or task.submitted_at <= query.end)
    )


def _place(cursor: str) -> tuple[float, int]:
    try:
        submitted_at, number = cursor.split("~")
        return float(submitted_at), int(number)
    except ValueError as error:
        raise BadRequest("cursor: not one that this gateway gave; begin again without it") from error


@dataclass(frozen=True, slots=True)
class _KeptBody:
    _store: MemoryTaskStore
    _task: Task
    length: int
    result: bool

    async def chunks(self) -> AsyncIterator[bytes]:
        for index in range((self.length + CHUNK - 1) // CHUNK):
            yield self._store.piece(self._task.id, index, self.result)
