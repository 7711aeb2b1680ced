"""The use case of a raw call: gate → line → record → forward → record. Both bodies pass by, and are not kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ngpu.allowance import quota_of
from ngpu.calls import Caller
from ngpu.direct import DirectCalls, LateRecord
from ngpu.errors import Conflict, NgpuError, Unauthorized, Unavailable, UpstreamError
from ngpu.forward import Forwarder
from ngpu.gates import Gate
from ngpu.leases import Lease
from ngpu.line import Line
from ngpu.metrics import Metrics
from ngpu.model import (
    BytesBody,
    DataForm,
    SelectionRequest,
    Task,
    UpstreamRequest,
)
from ngpu.passing import PassedRequest, Stream
from ngpu.raw.idle import IdleForwarder
from ngpu.raw.recorded import PassedReply, RecordedSink, outcome_of
from ngpu.tasks.conversation import EndedElsewhere
from ngpu.tasks.lifecycle import failed
from ngpu.tasks.runs import Runs
from ngpu.tenancy import Access
from ngpu.thawed import thawed
from ngpu.tracing import ITracing
from ngpu.waiting import Handle
from ngpu.wire.times import new_task_id


class PassedBody(Stream, Protocol):
    """What a client sends, while it comes."""

    @property
    def replayable(self) -> bool:
        """Whether it can be read from the start once more."""


@thawed
@dataclass(frozen=True, slots=True)
class RawCall:
    """A request that is to pass through, and who sent it.

    ``request_url`` is what the client asked for, without its credential; ``header`` gives the first field of a name.
    """

    access: Access
    request: PassedRequest
    btc_address: str
    client_ip: str
    request_url: str
    header: Callable[[str], str | None]

    def task(self, task_id: str, now: float) -> Task:
        """Its record: where it went, and none of what it carried. Header fields may be credentials of the worker's."""
        workspace, request = self.access.workspace, self.request
        return Task(
            id=task_id,
            workspace=workspace.id,
            method="websocket" if request.upgrade else "proxy",
            request=UpstreamRequest(request.method, request.target, request.port),
            form=DataForm.RAW,
            submitted_at=now,
            expires_at=now + workspace.queue.ttl,
            timeout=workspace.timeout,
            request_url=self.request_url,
            direct=True,
            btc_address=self.btc_address,
            client_ip=self.client_ip,
            user_key=self.access.user_key,
        )


class RawCalls:
    """Passes calls through. Everything it works with is handed to it."""

    log = Logger("ngpu.raw")

    def __init__(
        self,
        direct: DirectCalls,
        runs: Runs,
        forwarder: Forwarder,
        lines: Mapping[str, Line],
        gates: Mapping[str, Gate],
        zone: ZoneInfo,
        clock: IReactorTime,
        metrics: Metrics,
    ) -> None:
        self._direct = direct
        self._runs = runs
        self._callers = lru_cache(maxsize=64)(
            lambda idle: Caller(IdleForwarder(forwarder, clock, idle), clock, metrics)
        )
        self._lines = lines
        self._gates = gates
        self._zone = zone
        self._clock = clock
        self._metrics = metrics

    @property
    def tracing(self) -> ITracing | None:
        """Makes spans, where somebody wants any."""
        return self._metrics.tracing

    async def call(self, call: RawCall, body: PassedBody, reply: PassedReply, work: Handle) -> None:
        """Pass a call through; returns once the reply is complete. Cancelling aborts it at the worker.

        :param work: by which it can be cancelled.
        :raises QueueFull, OverLimit: as many calls wait already as may, or came today.
        :raises Unavailable: no replica became free within the workspace's ``timeout``, or none is up.
        :raises UpstreamError: the last try's failure; where ``reply.begun``, the client has a part of the reply.
        :raises Forbidden, BadRequest, CheckerUnavailable: the gate does not let it through.
        :raises Conflict: it was cancelled by somebody else meanwhile.
        :raises NgpuError: what reading the body raised.
        """
        workspace = call.access.workspace
        if workspace.gate is not None and call.btc_address:
            await self._gates[workspace.gate].admit(call.btc_address)
        line = self._lines.get(workspace.id)
        if line is None:
            raise Unauthorized("this credential opens no workspace any more: it was removed")
        now = self._clock.seconds()
        task = call.task(new_task_id(now, self._zone), now)
        affinity = line.pool.chooser.affinity(call.header, b"", now)
        request = call.request
        selection = SelectionRequest(workspace.id, request.port, request.target, request.headers, affinity)
        quota = quota_of(workspace, now, self._zone)
        lease, record = await self._direct.begin(
            line, workspace, selection, task, BytesBody(), quota, task.timeout, waited=False
        )
        reply.started(record.task)
        if (tracing := self.tracing) is not None:
            tracing.over("wait for a slot", call.request, now, record.task.started_at or now, ngpu__task_id=task.id)
        self._runs.hold(task.id, work)
        why: NgpuError | None = None
        try:
            await self._pass(call, record, lease, line, selection, body, reply)
        except CancelledError:
            why = self._runs.let_go(task.id, work)
            if why is None or not record.there:  # others have taken it over, where the store has anything of it
                self._direct.withdraw(record)
            else:
                self._direct.leave(record)
            if why is None:
                raise
        finally:
            self._runs.let_go(task.id, work)
        if why is not None:
            raise _cancelled() if isinstance(why, EndedElsewhere) else why

    async def _pass(
        self,
        call: RawCall,
        record: LateRecord,
        lease: Lease,
        line: Line,
        selection: SelectionRequest,
        body: PassedBody,
        reply: PassedReply,
    ) -> None:
        workspace, task = call.access.workspace, record.task
        caller = self._callers(workspace.raw.idle_timeout)
        until: float | None = None

        async def next_lease(error: UpstreamError) -> Lease | None:
            nonlocal until, task
            if reply.begun or not body.replayable:
                return None
            now = self._clock.seconds()
            until = now + workspace.timeout if until is None else until
            try:
                again = await line.slot(selection, until - now) if until > now else None
            except Unavailable:
                return None
            if again is not None:
                task = await self._runs.next_attempt(task, again, record)
                reply.started(task)
            return again

        sink = RecordedSink(reply, record, self._direct)
        try:
            head = await caller.call(lease, call.request, body, sink, workspace.timeout, workspace.retry, next_lease)
        except CancelledError:
            raise
        except EndedElsewhere:
            raise _cancelled() from None
        except Exception as error:
            if not isinstance(error, NgpuError):
                self.log.failure("the raw call {task_id} failed", task_id=task.id)
            self._direct.end(record, task, failed(error))
            raise
        finally:
            sink.over = True
        self._direct.end(record, task, sink.outcome or outcome_of(head))


def _cancelled() -> Conflict:
    return Conflict("the call was cancelled while it ran")
