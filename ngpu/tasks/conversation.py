"""One job of an app: what its adapter does goes from here to workers, and into the record."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from ngpu.adapter import Headers, IConversation, WorkerReply
from ngpu.calls import NextLease, Slot
from ngpu.errors import BadRequest, JobFailed, NgpuError, ResultTooLarge, StoreUnavailable, UpstreamError
from ngpu.interfaces import IBodySink
from ngpu.member import CallResult
from ngpu.model import BytesBody, Replica, ReplyHead, Task, TaskStatus, UpstreamRequest
from ngpu.settings import Workspace

if TYPE_CHECKING:
    from ngpu.tasks.conversations import Conversations

PATIENCE = 60.0
"""Seconds for which a worker may be unreachable while it is polled."""

SAVE_AGAIN = 1.0
"""Seconds between tries to keep a checkpoint while the store refuses."""

LEFT_AGAIN = 1.0
"""Seconds that a call without a slot takes to fail: an adapter that tries for ever would else hold everybody up."""

LARGEST_REPLY = 64 * 1024 * 1024
"""Bytes of one reply in a conversation at most: it is held in memory."""

T = TypeVar("T")
log = Logger("ngpu.apps")


class EndedElsewhere(NgpuError):
    """Somebody has ended the task meanwhile; there is nothing left to do."""


class _HeldSlot:
    """The conversation's slot as a call sees it: what a call gives back stays with the conversation."""

    def __init__(self, lease: Slot) -> None:
        self.lease = lease
        self.result = CallResult.ABANDONED

    @property
    def replica(self) -> Replica:
        return self.lease.replica

    def release(self, result: CallResult) -> None:
        self.result = result


@implementer(IBodySink)
class Whole:
    """A reply's body in memory.

    :param limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.data = bytearray()

    def start(self, head: ReplyHead) -> None:
        """See `IBodySink.start`."""
        self.data.clear()

    def write(self, data: bytes) -> Any:
        """See `IBodySink.write`."""
        self.data += data
        if len(self.data) > self._limit:
            raise ResultTooLarge(f"the worker's reply is larger than {self._limit} bytes")
        return None


@implementer(IConversation)
class Conversation:
    """See `IConversation`.

    :param current: the record with the attempt and placement of now.
    """

    def __init__(
        self,
        house: Conversations,
        current: Callable[[], Task],
        request: bytes,
        lease: Slot,
        workspace: Workspace,
        next_lease: NextLease,
    ) -> None:
        self.request = request
        self.checkpoint: Mapping[str, Any] | None = json.loads(current().checkpoint) if current().checkpoint else None
        self._house = house
        self._current = current
        self._slot = _HeldSlot(lease)
        self._workspace = workspace
        self._next_lease = next_lease
        self._stays = self.checkpoint is not None
        self.spoken = self._stays
        self._over = False
        self.left: NgpuError | None = None
        """Why it has no slot any more, where that is so; whatever its adapter makes of it, this is how it ends."""

    @property
    def task(self) -> Task:
        """See `IConversation.task`."""
        return self._current()

    @property
    def resumable(self) -> bool:
        """Whether another process can go on with it."""
        return self.checkpoint is not None

    def cut(self) -> None:
        """Its adapter is to end; whatever it awaits of this from now on never comes."""
        self._over = True

    def afterwards(self) -> Conversation:
        """Itself, for the adapter's last word to the worker; what goes on of the rest does not have it."""
        last = copy(self)
        last._over = False
        return last

    def release(self) -> None:
        """Give its slot back."""
        self._slot.lease.release(self._slot.result)

    async def call(
        self,
        method: str,
        target: str,
        port: int | None = None,
        headers: Headers = (),
        body: bytes = b"",
        workspace: str | None = None,
        timeout: float | None = None,
    ) -> WorkerReply:
        """See `IConversation.call`."""
        await self._wanted()
        if workspace is not None and workspace != self._workspace.id:
            return await self._house.call_elsewhere(workspace, method, target, port, headers, body, timeout)
        if self.left is not None:
            await self.sleep(LEFT_AGAIN)
            raise self.left
        request = UpstreamRequest(method, target, self._port(port), headers)
        taken = Whole(min(self._workspace.result_limit, LARGEST_REPLY))
        retry = "never" if self._stays else self._workspace.retry
        self.spoken = True
        head = await self._house.caller.call(
            self._slot,
            request,
            BytesBody(body),
            taken,
            self._current().timeout if timeout is None else timeout,
            retry,
            self._elsewhere,
        )
        self._stays = True
        return WorkerReply(head.status, head.headers, bytes(taken.data))

    async def _wanted(self) -> None:
        if self._over:
            await Deferred[None]()

    def _port(self, port: int | None) -> int:
        if port is None:
            return self._current().request.port
        if port not in self._workspace.ports:
            raise BadRequest(f"the workspace declares no port {port}")
        return port

    async def _elsewhere(self, error: UpstreamError) -> _HeldSlot | None:
        """Another slot, after a call that did no harm where it was."""
        self.release()
        try:
            lease = await self._next_lease(error)
        except NgpuError as left:
            self.left = left
            raise
        if lease is None:
            self.left = error
            return None
        self._slot = _HeldSlot(lease)
        return self._slot

    async def save(self, checkpoint: Mapping[str, Any]) -> None:
        """See `IConversation.save`."""
        await self._wanted()
        text = json.dumps(checkpoint, separators=(",", ":"))
        task = self._current()
        while True:
            try:
                kept = await self._house.store.save_checkpoint(task.id, task.attempt, text)
                kept = kept or (task.direct and await self._is_forgotten(task))
            except StoreUnavailable as error:
                log.error("the checkpoint of {task_id} is not kept yet: {error}", task_id=task.id, error=str(error))
                await self.sleep(SAVE_AGAIN)
                continue
            if not kept:
                self.left = EndedElsewhere("the task has ended")
                raise self.left
            self.checkpoint = json.loads(text)
            self._stays = True
            return

    async def _is_forgotten(self, task: Task) -> bool:
        """Whether the store has forgotten it, or this attempt: whoever waits for it waits on, and its end is kept."""
        there = await self._house.store.get(task.id)
        return there is None or (there.status is TaskStatus.RUNNING and there.attempt < task.attempt)

    async def sleep(self, seconds: float) -> None:
        """See `IConversation.sleep`."""
        await self._wanted()
        await deferLater(self._house.clock, seconds)

    async def poll_until(self, ask: Callable[[], Awaitable[T | None]], interval: float) -> T:
        """See `IConversation.poll_until`."""
        last_heard = self._house.clock.seconds()
        while True:
            try:
                answer = await ask()
            except JobFailed:
                raise
            except UpstreamError:
                if self.left is not None or self._house.clock.seconds() - last_heard > PATIENCE:
                    raise
            else:
                if answer is not None:
                    return answer
                last_heard = self._house.clock.seconds()
            await self.sleep(interval)

    def progress(self, text: str) -> None:
        """See `IConversation.progress`."""
        self._house.tell(self._current().id, text)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """See `IConversation.part`."""
        self.progress(name)
        try:
            yield
        except NgpuError as error:
            error.args = (f"{name}: {error}", *error.args[1:])
            raise

    async def publish(self, data: bytes, content_type: str) -> str:
        """See `IConversation.publish`."""
        await self._wanted()
        return await self._house.publish(data, content_type)
