"""How a task stands, told as it changes: server-sent events (WHATWG HTML §9.2)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime

from ngpu.errors import NotFound, Unavailable
from ngpu.gateway import Gateway
from ngpu.http.access_log import annotate
from ngpu.http.call import Call
from ngpu.http.reading import TASK_ID
from ngpu.http.reply import Reply
from ngpu.metrics import Metrics
from ngpu.model import Task
from ngpu.tasks.runs import Runs
from ngpu.tenancy import Access
from ngpu.wire.replies import task_reply
from ngpu.wire.stream import render

LOOK_EVERY = 1.0
"""Seconds between looks at a task that nothing was heard of: places in the queue change unheard."""

HEARTBEAT = 15.0
"""Seconds without an event after which a comment shows proxies and clients that the stream lives."""

COME_BACK = 2000
"""Milliseconds after which a client whose stream broke off comes back."""

ENDED = "ended"
"""The id of the last event: a client that comes back with it is told to stay away."""

FIELDS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # for nginx, which would keep events back
}
"""Header fields of a stream of events."""

_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")  # in JSON line breaks stand between tokens only


class Streaming:
    """The route, and how many streams there are.

    :param most: streams at once.
    """

    def __init__(self, gateway: Gateway, runs: Runs, clock: IReactorTime, metrics: Metrics, most: int) -> None:
        self._gateway = gateway
        self._runs = runs
        self._clock = clock
        self._metrics = metrics
        self._most = most
        self._open = 0

    async def query_task_stream(self, call: Call) -> Reply:
        """Each state of a task as an event, from that of now to its end."""
        access = call.shown_access()
        task = await self._gateway.task(call.needed(*TASK_ID), access)
        annotate(call.request, task_id=task.id)
        if call.header("Last-Event-ID") == ENDED and task.status.ended:
            return Reply(b"", 204)  # which ends an EventSource
        if call.request.method == b"HEAD":
            return Reply(b"", headers=FIELDS)
        if self._open >= self._most:
            raise Unavailable("as many tasks are streamed as may be at once; ask queryTask now and then instead", 30)
        return Reply(self._events(task, access), headers=FIELDS)

    async def _events(self, task: Task, access: Access | None) -> AsyncGenerator[bytes, None]:
        self._count(1)
        try:
            yield b"retry: %d\n\n" % COME_BACK
            told: tuple[Task, Mapping[str, Any]] | None = None
            quiet_since = self._clock.seconds()
            while True:
                # the watch begins before the look, so that nothing happens unseen between them
                change = self._runs.watch(task.id, LOOK_EVERY)
                try:
                    task = await self._gateway.task(task.id, access)
                    standing = await self._gateway.standing(task)
                    now = self._clock.seconds()
                    if (task, standing) != told:
                        async for piece in self._event(task, standing):
                            yield piece
                        told, quiet_since = (task, standing), now
                    elif now - quiet_since >= HEARTBEAT:
                        yield b": still there\n\n"
                        quiet_since = now
                    if task.status.ended or self._runs.stopping:
                        return
                    await change
                finally:
                    change.addErrback(lambda failure: failure.trap(CancelledError))
                    change.cancel()
        except NotFound:
            return  # it was forgotten while somebody still listened
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        self._open += more
        self._metrics.streams.set(self._open)

    async def _event(self, task: Task, standing: Mapping[str, Any]) -> AsyncIterator[bytes]:
        yield b"event: status\n" + (b"id: %b\n" % ENDED.encode() if task.status.ended else b"") + b"data: "
        async for piece in render(task_reply(task, self._gateway.result_of(task), standing)):
            yield piece.translate(_ONE_LINE)
        yield b"\n\n"
