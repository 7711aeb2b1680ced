"""The conversations of this process: begun with a slot, driven by their app's adapter, ended in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ngpu.adapter import Headers, IAppAdapter, IUrlCheck, WorkerReply
from ngpu.calls import Caller, NextLease, Slot
from ngpu.errors import CallTimeout, JobFailed, NotFound, PayloadTooLarge, Unavailable, UpstreamError
from ngpu.interfaces import ITaskStore
from ngpu.leases import Lease
from ngpu.line import Line
from ngpu.member import CallResult
from ngpu.model import CHUNK, Body, BytesBody, ReplyHead, SelectionRequest, Task, UpstreamRequest
from ngpu.settings import Workspace
from ngpu.sharing import Alone, INews
from ngpu.tasks.conversation import LARGEST_REPLY, Conversation, Whole
from ngpu.tasks.result import ResultSink
from ngpu.tasks.told import Told
from ngpu.waiting import confined

LARGEST_REQUEST = 16 * 1024 * 1024
"""Bytes of a request that an adapter looks at: it is parsed between two turns of the reactor, and held in memory."""

CHECK_WITHIN = 30.0
"""Seconds that an adapter gets to look at a request, whose customer waits for that."""

CANCEL_WITHIN = 5.0
"""Seconds that an adapter gets to tell its worker that a job is not wanted any more."""

Publish = Callable[[bytes, str], Awaitable[str]]


class Conversations:
    """Runs adapters for tasks that have an app.

    :ivar told: what they say of their jobs.
    """

    log = Logger("ngpu.apps")

    def __init__(
        self,
        adapters: Mapping[str, IAppAdapter],
        *,
        store: ITaskStore,
        caller: Caller,
        lines: Mapping[str, Line],
        workspaces: Mapping[str, Workspace],
        clock: IReactorTime,
        urls: IUrlCheck,
        publish: Publish,
        news: INews = Alone.news,
    ) -> None:
        self.store = store
        self.caller = caller
        self.clock = clock
        self.publish = publish
        self.told = Told(news)
        self._adapters = adapters
        self._lines = lines
        self._workspaces = workspaces
        self._urls = urls
        self._open: dict[str, Conversation] = {}
        self._withdrawing: set[Deferred[None]] = set()
        self._stopping = False

    async def check(self, app: str, body: Body) -> None:
        """Let the app's adapter look at a request.

        :raises BadRequest: no worker could do anything with it.
        :raises PayloadTooLarge: it is over `LARGEST_REQUEST`.
        :raises Unavailable: it could not be looked at in time.
        """
        if body.length > LARGEST_REQUEST:
            raise PayloadTooLarge(f"this app takes at most {LARGEST_REQUEST} bytes; send the URL of what is larger")
        request, adapter = await _whole(body), self._adapters[app]
        try:
            await confined(lambda: adapter.check(request, self._urls)).addTimeout(CHECK_WITHIN, self.clock)
        except defer.TimeoutError:
            why = f"the app {app} did not look at this request within {CHECK_WITHIN:g} s; try again"
            raise Unavailable(why) from None

    def may_go_on(self, task: Task) -> bool:
        """Whether a task of an earlier process can be taken further, on the replica that has its job."""
        line = self._lines.get(task.workspace)
        known = line is not None and line.knows(task.placement.replica)
        return known and bool(task.checkpoint) and task.app in self._adapters

    def time_left(self, task: Task) -> float:
        """Seconds until a task's deadline."""
        began = self.clock.seconds() if task.started_at is None else task.started_at
        return max(0.0, began + self._adapters[task.app].deadline - self.clock.seconds())

    async def run(self, body: Body, lease: Slot, workspace: Workspace, next_lease: NextLease, sink: ResultSink) -> str:
        """Take the sink's task to its end, and its result into the sink; the lease is given back whatever happens.

        :returns: why it failed, or "".
        :raises NgpuError: it failed without a word from a worker.
        """
        task = sink.task
        try:
            adapter = self._adapters.get(task.app)
            if adapter is None:
                raise NotFound(f"the app {task.app} is not configured any more")
            request = await _whole(body)
        except BaseException:
            lease.release(CallResult.ABANDONED)
            raise
        work = Conversation(self, lambda: sink.task, request, lease, workspace, next_lease)
        self._open[task.id] = work
        try:
            reply, reason = await self._talk(adapter, work), ""
        except JobFailed as error:
            if error.reply is None:
                raise
            reply, reason = error.reply, str(error)
        finally:
            self._open.pop(task.id, None)
            self.told.end(task.id)
        await _pour(reply, sink)
        return reason

    async def _talk(self, adapter: IAppAdapter, work: Conversation) -> WorkerReply:
        unwanted = False
        try:
            talking = confined(lambda: adapter.run(work), work.cut)
            reply: WorkerReply = await talking.addTimeout(self.time_left(work.task), self.clock)
        except defer.TimeoutError:
            unwanted = True
            raise CallTimeout(f"the job was not done within the app's deadline of {adapter.deadline:g} s") from None
        except CancelledError:
            unwanted = not self._stopping
            raise
        except Exception:
            if work.left is not None:
                raise work.left from None
            raise
        finally:
            if unwanted and work.spoken and work.left is None:
                self._withdraw(adapter, work.afterwards())
            else:
                work.release()
        if work.left is not None:
            raise work.left
        return reply

    def _withdraw(self, adapter: IAppAdapter, work: Conversation) -> None:
        """Let the worker know, as long as the slot is still ours; nobody waits for this."""
        telling = confined(lambda: adapter.cancel(work))
        telling.addTimeout(CANCEL_WITHIN, self.clock)
        self._withdrawing.add(telling)

        def told(result: object) -> None:
            self._withdrawing.discard(telling)
            work.release()
            if result is not None:
                self.log.warn("{task_id} is not cancelled at its worker: {why}", task_id=work.task.id, why=result)

        telling.addBoth(told)

    def tell(self, task_id: str, text: str) -> None:
        """How far a job is; nothing once it is over: who goes on then would have its word kept for ever."""
        if task_id in self._open:
            self.told.tell(task_id, text)

    async def call_elsewhere(
        self,
        workspace_id: str,
        method: str,
        target: str,
        port: int | None,
        headers: Headers,
        body: bytes,
        timeout: float | None,
    ) -> WorkerReply:
        """A call to another workspace, through its line."""
        workspace, line = self._workspaces.get(workspace_id), self._lines.get(workspace_id)
        if workspace is None or line is None:
            raise NotFound("the workspace that this app calls was removed")
        request = UpstreamRequest(method, target, next(iter(workspace.ports)) if port is None else port, headers)
        selection = SelectionRequest(workspace.id, request.port, request.target, request.headers)
        until = self.clock.seconds() + workspace.timeout

        async def next_lease(error: UpstreamError) -> Lease | None:
            try:
                left = until - self.clock.seconds()
                return await line.slot(selection, left) if left > 0 else None
            except Unavailable:
                return None

        lease = await line.slot(selection, workspace.timeout)
        taken = Whole(min(workspace.result_limit, LARGEST_REPLY))
        within = workspace.timeout if timeout is None else timeout
        head = await self.caller.call(lease, request, BytesBody(body), taken, within, workspace.retry, next_lease)
        return WorkerReply(head.status, head.headers, bytes(taken.data))

    def stop(self) -> Iterable[str]:
        """From now on what is cut is no longer cancelled at its worker.

        :returns: the tasks that another process can go on with, so that nobody needs to wait for their end.
        """
        self._stopping = True
        for telling in tuple(self._withdrawing):
            telling.cancel()
        return [task_id for task_id, work in self._open.items() if work.resumable and not work.task.direct]


async def _pour(reply: WorkerReply, sink: ResultSink) -> None:
    sink.start(ReplyHead(reply.status, reply.headers))
    for start in range(0, len(reply.body), CHUNK):
        taken = sink.write(reply.body[start : start + CHUNK])
        if taken is not None:
            await taken


async def _whole(body: Body) -> bytes:
    return b"".join([chunk async for chunk in body.chunks()])
