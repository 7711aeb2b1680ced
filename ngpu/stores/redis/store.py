"""The shared store as the rest of ngpu sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure
from zope.interface import implementer

from ngpu.changing import changed
from ngpu.errors import ConfigError, Conflict, ResultLost
from ngpu.examining import IExaminable
from ngpu.interfaces import Last
from ngpu.limits import Quota
from ngpu.listing import TaskPage, TaskQuery
from ngpu.model import CHUNK, Body, Outcome, Placement, Task, TaskStatus
from ngpu.stores.bodies import StoredBody, pieces_of
from ngpu.stores.record import outcome_json, placement_json, search_key
from ngpu.stores.redis import adding, gone, listing, reads, writes
from ngpu.stores.redis.address import Address
from ngpu.stores.redis.admission import Limits
from ngpu.stores.redis.asking import Asking, Call
from ngpu.stores.redis.customers import Customers
from ngpu.stores.redis.desk import Desk, Redo
from ngpu.stores.redis.documents import RedisDocuments
from ngpu.stores.redis.endpoint import endpoint_of
from ngpu.stores.redis.examining import examine
from ngpu.stores.redis.greeting import Unfit, greet
from ngpu.stores.redis.link import Link, reason_of
from ngpu.stores.redis.options import USUAL, RedisOptions
from ngpu.stores.redis.records import addition, node_of, task_of
from ngpu.stores.redis.script import Script
from ngpu.stores.redis.sharing import Sharing
from ngpu.stores.redis.uploads import Uploads
from ngpu.storing import IStore

LARGE = 4096
"""Bytes from which on a body goes the way of pieces."""

MOST_AT_ONCE = 100
"""Tasks that are taken over at once."""


@implementer(IStore, IExaminable)
class RedisTaskStore(Customers):
    """Task records in a Redis that several gateways share, each with an instance of its own.

    :ivar documents: what else has to outlive the process, beside them.
    """

    def __init__(self, address: Address, reactor: Any, options: RedisOptions = USUAL) -> None:
        self._what = f"Redis at {address}, with the prefix {options.prefix!r},"
        self._reactor = reactor
        self._timeout = options.timeout
        endpoint = endpoint_of(address, reactor, options.trust, options.timeout, options.sentinel_password)
        greeting = partial(greet, address=address, prefix=options.prefix)
        links = [Link(endpoint, greeting, reactor, options.timeout) for _ in "12"]
        self._links = links[0], links[1]
        self._asking = Asking(options.prefix, str(address), reactor, options.timeout / 2)
        super().__init__(Desk(self._asking, self._links, reactor, options.timeout), options.prefix)
        self.documents = RedisDocuments(self._desk, options.prefix)
        self.led_documents = RedisDocuments(self._desk, options.prefix, led=True)
        self.examine = partial(examine, endpoint, address, options.prefix, reactor, options.timeout)
        self._sharing = sharing = Sharing(
            self._ask, self._desk, endpoint, greeting, links[0], options.prefix, reactor, options.timeout, options.lease
        )
        self.news, self.slots, self.leadership = sharing.news, sharing.slots, sharing.leadership
        self.watch_loss, self.exclusively, self.running = sharing.watch_loss, sharing.exclusively, sharing.running
        self._uploads = Uploads(self._desk, sharing.news, options.prefix, lambda: sharing.membership.identity)
        self._opened = False
        self._finished: set[tuple[str, int]] = set()
        self._expired: list[tuple[str, str]] = []
        self._taken_over: list[Task] = []

    async def open(self) -> None:
        """See ``IStore.open``."""
        for link in self._links:
            link.start()
        self.news.start()
        try:
            for link in (*self._links, self.news.link):
                await self._first(link)
            await self._sharing.membership.join()
        except BaseException:
            await self._disconnect()
            raise
        self._asking.member = self._sharing.membership
        self._sharing.start()
        self._opened = True

    async def _first(self, link: Link) -> None:
        until = self._reactor.seconds() + self._timeout
        while link.wire is None:
            if isinstance(link.failure, Unfit) and link.failure.lasting:
                raise ConfigError(f"{self._what} {link.failure}")
            try:
                await link.change().addTimeout(max(until - self._reactor.seconds(), 0.0), self._reactor)
            except defer.TimeoutError:
                raise self._asking.refusal(reason_of(link.failure)) from None

    async def _ask(self, script: Script, *arguments: Any) -> Any:
        """For what is said of membership itself."""
        call = Call(script, arguments, self._reactor.seconds() + self._timeout)
        return json.loads(await self._asking.answer(self._links[0], call) or b"null")

    async def add(
        self,
        task: Task,
        request: Body,
        queue_limit: int | None = None,
        quota: Quota | None = None,
        result: bytes = b"",
    ) -> Task:
        """See ``ITaskStore.add``."""
        limits = Limits(queue_limit, quota)
        if request.length <= CHUNK:
            data = b"".join([chunk async for chunk in request.chunks()])
            return await self._add(task, data, limits, "", 0, result)
        token = self._uploads.begin()
        try:
            return await self._upload(task, request, limits, token, result)
        finally:
            self._uploads.end(token)

    async def _upload(self, task: Task, request: Body, limits: Limits, token: str, result: bytes) -> Task:
        begin = (task.id, task.workspace, task.idempotency_key, *limits.values, token)
        undo = partial(adding.dropping, task.id, token)
        try:
            answer = limits.accepted(await self._desk.write(adding.BEGIN_UPLOAD, *begin, undo=undo), task)
        except CancelledError:  # it is begun nevertheless
            self._uploads.drop(task.id, token)
            raise
        if isinstance(answer, Task):
            return answer
        try:
            index = 0
            async for piece in pieces_of(request):
                await self._desk.write(adding.UPLOAD, task.id, token, index, piece, size=len(piece), bulk=True)
                index += 1
            return await self._add(task, b"", limits, token, index, result)
        except BaseException:  # cancelled too
            self._uploads.drop(task.id, token)
            raise

    async def add_ended(self, tasks: Sequence[Task]) -> None:
        """See ``ITaskStore.add_ended``."""
        adding: list[Deferred[Any]] = [Deferred.fromCoroutine(self._add_ended(task)) for task in tasks]
        for _, result in await DeferredList(adding, consumeErrors=True):
            if isinstance(result, Failure):
                result.raiseException()

    async def _add_ended(self, task: Task) -> None:
        try:
            await self._add(task, b"", Limits(None, None), "", 0, b"")
        except Conflict:
            if task.outcome is not None:
                await self.finish(task.id, task.attempt, task.outcome, task.ended_at or 0.0, None)

    async def _add(self, task: Task, data: bytes, limits: Limits, token: str, pieces: int, result: bytes) -> Task:
        def undo(answer: Any) -> Redo | None:
            if not isinstance(answer, list):  # it was refused, or there already
                return None
            return adding.FORGET, (task.id, answer[0], task.status.value, task.attempt, limits.window)

        values, size = (*addition(task), *limits.values, token, pieces, data, result), len(data) + len(result)
        answer = await self._desk.write(adding.ADD, *values, size=size, bulk=size > LARGE, undo=undo)
        accepted = limits.accepted(answer, task)
        if isinstance(accepted, Task):
            return accepted
        number, place = accepted
        return changed(task, number=number, place=float(place))

    async def claim(self, workspace: str, placement: Placement, now: float) -> Task | None:
        """See ``ITaskStore.claim``."""

        def undo(answer: Any) -> Redo:
            task = task_of(answer)
            return writes.REQUEUE, (task.id, task.attempt, placement_json(Placement()))

        values = (workspace, placement_json(placement), node_of(placement), repr(now))
        answer = await self._desk.write(writes.CLAIM, *values, undo=undo)
        return task_of(answer) if answer else None

    async def reattempt(self, task_id: str, attempt: int, placement: Placement) -> int | None:
        """See ``ITaskStore.reattempt``."""
        values = (task_id, attempt, placement_json(placement), node_of(placement))
        fence: Any = await self._desk.write(
            writes.REATTEMPT, *values, undo=lambda answer: (writes.REVERT, (task_id, answer))
        )
        return fence or None

    async def save_checkpoint(self, task_id: str, attempt: int, checkpoint: str) -> bool:
        """See ``ITaskStore.save_checkpoint``."""
        return bool(await self._desk.write(writes.SAVE_CHECKPOINT, task_id, attempt, checkpoint, size=len(checkpoint)))

    async def requeue(self, task_id: str, attempt: int) -> bool:
        """See ``ITaskStore.requeue``."""
        return bool(await self._desk.write(writes.REQUEUE, task_id, attempt, placement_json(Placement())))

    async def write_result(self, task_id: str, attempt: int, index: int, data: bytes) -> None:
        """See ``ITaskStore.write_result``."""
        await self._desk.write(writes.WRITE_RESULT, task_id, attempt, index, data, size=len(data), bulk=True)

    async def finish(
        self, task_id: str, attempt: int, outcome: Outcome, now: float, last: Last, hurry: bool = True
    ) -> bool:
        """See ``ITaskStore.finish``. One that was made though its caller was told that it failed is made once more."""

        def undo(answer: Any) -> None:
            if answer is True:
                self._finished.add((task_id, attempt))

        index, data = ("", b"") if last is None else last
        values = (task_id, attempt, outcome.status.value, repr(now), outcome_json(outcome), index, data)
        done = await self._desk.write(writes.FINISH, *values, size=len(data), bulk=len(data) > LARGE, undo=undo)
        if done == "lost":
            raise ResultLost
        made = (task_id, attempt) in self._finished
        self._finished.discard((task_id, attempt))
        return bool(done) or made

    async def cancel(self, task_id: str, now: float) -> TaskStatus | None:
        """See ``ITaskStore.cancel``."""
        before = await self._desk.write(writes.CANCEL, search_key(task_id), repr(now))
        return TaskStatus(before) if before else None

    async def expire(self, now: float) -> Sequence[tuple[str, str]]:
        """See ``ITaskStore.expire``."""

        def undo(answer: Any) -> None:
            self._expired += [(workspace, task_id) for workspace, task_id in answer]

        answer = await self._desk.write(writes.EXPIRE, repr(now), writes.MOST_EXPIRED, undo=undo)
        late, self._expired = self._expired, []
        return [*late, *((workspace, task_id) for workspace, task_id in answer)]

    async def orphans(self) -> Sequence[Task]:
        """See ``ITaskStore.orphans``."""

        def undo(answer: Any) -> None:
            self._taken_over += [task_of(record) for record in answer]

        answer = await self._desk.write(gone.TAKE_OVER, self._sharing.membership.missed, MOST_AT_ONCE, undo=undo)
        late, self._taken_over = self._taken_over, []
        return [*late, *(task_of(record) for record in answer)]

    async def purge(self, ended_before: Mapping[str, float], otherwise: float) -> int:
        """See ``ITaskStore.purge``."""
        before = json.dumps({workspace: repr(float(time)) for workspace, time in ended_before.items()})
        count: int = await self._desk.write(writes.PURGE, before, repr(float(otherwise)), writes.MOST_PURGED)
        return count

    async def get(self, task_id: str) -> Task | None:
        """See ``ITaskStore.get``."""
        record = await self._desk.read(reads.RECORD, search_key(task_id))
        return task_of(record) if record else None

    async def list(self, query: TaskQuery) -> TaskPage:
        """See ``ITaskStore.list``."""
        return await listing.page(partial(self._desk.read, reads.PAGE), query)

    async def queued(self, workspace: str) -> int:
        """See ``ITaskStore.queued``."""
        return int(await self._desk.plain("ZCARD", f"{self._prefix}:queue:{workspace}".encode()))

    def request_body(self, task: Task) -> Body:
        """See ``ITaskStore.request_body``."""
        return StoredBody(partial(self._piece, "q"), task.id, task.attempt, task.request_size)

    def result_body(self, task: Task) -> Body:
        """See ``ITaskStore.result_body``."""
        return StoredBody(partial(self._piece, "r"), task.id, task.attempt, task.outcome.size if task.outcome else 0)

    def _piece(self, kind: str, task_id: str, attempt: int, index: int) -> Deferred[bytes | None]:
        return self._desk.piece(reads.PIECE, task_id, kind, attempt, index, size=CHUNK)

    async def close(self) -> None:
        """See ``ITaskStore.close``; once more does nothing."""
        opened, self._opened = self._opened, False
        if opened:
            await self._sharing.let_go()
        await self._desk.close()
        if opened:
            await self._sharing.leave()
        await self._disconnect()

    async def _disconnect(self) -> None:
        await self.news.stop()
        for link in self._links:
            await link.stop()
