"""The embedded store as the rest of ngpu sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from ngpu.errors import StoreUnavailable
from ngpu.examining import Finding, IExaminable
from ngpu.interfaces import Last
from ngpu.limits import Quota
from ngpu.listing import TaskPage, TaskQuery
from ngpu.model import CHUNK, Body, BytesBody, Outcome, Placement, Task, TaskStatus
from ngpu.sharing import Alone
from ngpu.stores import cursor
from ngpu.stores.bodies import StoredBody, pieces_of
from ngpu.stores.folder import examine_folder
from ngpu.stores.sqlite import reads, writes
from ngpu.stores.sqlite.customers import Customers
from ngpu.stores.sqlite.schema import REQUEST, examine_file
from ngpu.stores.sqlite.together import End, New, add_ended
from ngpu.storing import IStore

log = Logger()


@implementer(IStore, IExaminable)
class SqliteTaskStore(Customers, Alone):
    """Task records in one SQLite file, for one gateway at a time.

    A caller that cancels its Deferred stops waiting; the write it began is made nevertheless.

    :param path: of the file; a missing folder is made with mode 0700, the file with 0600.
    :ivar documents: what else has to outlive the process, in the same file.
    """

    _taken_over = False  # what an earlier process ran; nobody else runs anything

    async def examine(self) -> Sequence[Finding]:
        """See ``IExaminable.examine``."""
        return [*examine_folder(self._path.parent), *examine_file(self._path)]

    def add(
        self,
        task: Task,
        request: Body,
        queue_limit: int | None = None,
        quota: Quota | None = None,
        result: bytes = b"",
    ) -> Awaitable[Task]:
        """See ``ITaskStore.add``.

        :raises Conflict: there is a task with this id.
        """
        if isinstance(request, BytesBody) and request.length <= CHUNK and quota is None and not task.idempotency_key:
            size = len(request.data) + len(result)
            return self._new.add(New(task, request.data, queue_limit, result), size)
        return self._add(task, request, queue_limit, quota, result)

    async def _add(
        self, task: Task, request: Body, queue_limit: int | None, quota: Quota | None, result: bytes
    ) -> Task:
        stored: Task
        if request.length <= CHUNK:
            data = b"".join([chunk async for chunk in request.chunks()])
            size = len(data) + len(result)
            stored = await self._write(writes.add, task, data, queue_limit, quota, result, size=size)
            return stored
        known: Task | None = await self._write(writes.begin_upload, task, queue_limit, quota)
        if known is not None:
            return known
        try:
            index = 0
            async for data in pieces_of(request):
                await self._write(writes.upload, task.id, index, data, size=len(data))
                index += 1
            stored = await self._write(writes.end_upload, task, queue_limit, quota, result, size=len(result))
        except BaseException:  # cancelled too
            self._drop_upload(task.id)
            raise
        return stored

    async def add_ended(self, tasks: Sequence[Task]) -> None:
        """See ``ITaskStore.add_ended``."""
        await self._write(add_ended, tasks)

    def _drop_upload(self, task_id: str) -> None:
        def failed(failure: Any) -> None:
            log.warn(
                "{task_id}: what was uploaded stays until the next start: {reason}",
                task_id=task_id,
                reason=failure.getErrorMessage(),
            )

        try:
            self._write(writes.drop_upload, task_id).addErrback(failed)
        except StoreUnavailable as error:
            log.warn("{task_id}: what was uploaded stays until the next start: {reason}", task_id=task_id, reason=error)

    async def claim(self, workspace: str, placement: Placement, now: float) -> Task | None:
        """See ``ITaskStore.claim``."""
        claimed: Task | None = await self._write(writes.claim, workspace, placement, now)
        return claimed

    async def reattempt(self, task_id: str, attempt: int, placement: Placement) -> int | None:
        """See ``ITaskStore.reattempt``."""
        fence: int | None = await self._write(writes.reattempt, task_id, attempt, placement)
        return fence

    async def save_checkpoint(self, task_id: str, attempt: int, checkpoint: str) -> bool:
        """See ``ITaskStore.save_checkpoint``."""
        kept: bool = await self._write(writes.save_checkpoint, task_id, attempt, checkpoint, size=len(checkpoint))
        return kept

    async def requeue(self, task_id: str, attempt: int) -> bool:
        """See ``ITaskStore.requeue``."""
        done: bool = await self._write(writes.requeue, task_id, attempt)
        return done

    async def write_result(self, task_id: str, attempt: int, index: int, data: bytes) -> None:
        """See ``ITaskStore.write_result``."""
        await self._write(writes.write_result, task_id, attempt, index, data, size=len(data))

    def finish(
        self, task_id: str, attempt: int, outcome: Outcome, now: float, last: Last, hurry: bool = True
    ) -> Awaitable[bool]:
        """See ``ITaskStore.finish``."""
        return self._ends.add(End(task_id, attempt, outcome, now, last), len(last[1]) if last else 0, hurry)

    async def cancel(self, task_id: str, now: float) -> TaskStatus | None:
        """See ``ITaskStore.cancel``."""
        before: TaskStatus | None = await self._write(writes.cancel, task_id, now)
        return before

    async def expire(self, now: float) -> Sequence[tuple[str, str]]:
        """See ``ITaskStore.expire``."""
        expired: Sequence[tuple[str, str]] = await self._write(writes.expire, now)
        return expired

    async def orphans(self) -> Sequence[Task]:
        """See ``ITaskStore.orphans``."""
        if self._taken_over:
            return ()
        running: Sequence[Task] = await self._write(writes.take_over)
        self._taken_over = True
        return running

    async def running(self) -> Sequence[tuple[str, int]]:
        """See ``ITaskStore.running``."""
        running: Sequence[tuple[str, int]] = await self._read(reads.running)
        return running

    async def purge(self, ended_before: Mapping[str, float], otherwise: float) -> int:
        """See ``ITaskStore.purge``."""
        count: int = await self._write(writes.purge, dict(ended_before), otherwise)
        return count

    async def get(self, task_id: str) -> Task | None:
        """See ``ITaskStore.get``."""
        task: Task | None = await self._read(reads.get, task_id)
        return task

    async def list(self, query: TaskQuery) -> TaskPage:
        """See ``ITaskStore.list``."""
        after = None if query.cursor is None else cursor.decode(query.cursor)
        page: TaskPage = await self._read(reads.page, query, after)
        return page

    async def queued(self, workspace: str) -> int:
        """See ``ITaskStore.queued``."""
        count: int = await self._read(reads.queued, workspace)
        return count

    def request_body(self, task: Task) -> Body:
        """See ``ITaskStore.request_body``."""
        return StoredBody(self._piece, task.id, REQUEST, task.request_size)

    def result_body(self, task: Task) -> Body:
        """See ``ITaskStore.result_body``."""
        return StoredBody(self._piece, task.id, task.attempt, task.outcome.size if task.outcome else 0)

    def _piece(self, task_id: str, attempt: int, index: int) -> Deferred[bytes | None]:
        return self._read(reads.piece, task_id, attempt, index, size=CHUNK)
