"""One call, from a slot to a whole reply: forward, and try another replica where that can do no harm."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ngpu.errors import BadReply, DialFailed, NgpuError, UpstreamError
from ngpu.interfaces import IBodySink, IForwarder
from ngpu.member import CallResult
from ngpu.metrics import Metrics
from ngpu.model import Placement, Replica, ReplyHead, UpstreamRequest
from ngpu.passing import Stream
from ngpu.tracing import trace_of, traced

MOST_SENDS = 3
"""How often a call whose workspace says ``retry: idempotent`` is sent at most."""

SWITCHED = 101
"""The status of a reply that begins a tunnel."""


class Slot(Protocol):
    """A slot as a call needs it: a `ngpu.line.Lease`, or what stands for one."""

    @property
    def replica(self) -> Replica:
        """Whose slot this is."""

    def release(self, result: CallResult) -> None:
        """Give it back, with what the call says about the replica."""


NextLease = Callable[[UpstreamError], Awaitable[Slot | None]]
"""Asked for a slot to try again on, after the failure given; ``None`` lets the call fail with it."""


def placement_of(replica: Replica) -> Placement:
    """Where a call to this replica runs, for its record."""
    return Placement(replica.id, replica.node.address, replica.node.host)


def may_repeat(error: UpstreamError, retry: str) -> bool:
    """Whether a call that failed so may be sent again under the workspace's ``retry``."""
    if isinstance(error, DialFailed):
        return retry != "never"
    return retry == "idempotent" and not isinstance(error, BadReply)


def _result_of(status: int) -> CallResult:
    if status == SWITCHED:
        return CallResult.SWITCHED
    return CallResult.ERRED if status >= 500 else CallResult.ANSWERED


class _NoSuchPort(DialFailed):
    """While a workspace's ports change, some replicas have those of before.

    They are not rested for that, so it counts as a send: else the same one might be tried without end.
    """


@dataclass(frozen=True)
class Caller:
    """Makes calls through a forwarder, and lets their results count for the replicas."""

    forwarder: IForwarder
    clock: IReactorTime
    metrics: Metrics
    log = Logger("ngpu.calls")

    async def call(
        self,
        lease: Slot,
        request: UpstreamRequest,
        body: Stream,
        sink: IBodySink,
        timeout: float,
        retry: str,
        next_lease: NextLease,
    ) -> ReplyHead:
        """Send the request on the lease's slot, which is given back whatever happens.

        :param timeout: seconds for each send.
        :param retry: the workspace's ``retry``.
        :raises UpstreamError: the last try's failure.
        :raises NgpuError: what the sink or ``next_lease`` raised.
        """
        sends = 0
        while True:
            try:
                return await self._send(lease, request, body, sink, timeout)
            except UpstreamError as error:
                sends += not isinstance(error, DialFailed) or isinstance(error, _NoSuchPort)
                self.log.warn(
                    "call to {replica} failed: {error}", replica=lease.replica.id, error=str(error), sends=sends
                )
                if sends >= MOST_SENDS or not may_repeat(error, retry):
                    raise
                again = await next_lease(error)
                if again is None:
                    raise
                lease = again

    async def _send(
        self, lease: Slot, request: UpstreamRequest, body: Stream, sink: IBodySink, timeout: float
    ) -> ReplyHead:
        replica = lease.replica
        began = self.clock.seconds()
        result = CallResult.ABANDONED
        span = None
        if (tracing := self.metrics.tracing) is not None:
            span = tracing.begin("call a replica", trace_of(request), began, ngpu__replica=replica.id)
            request = traced(request, span.fields)
        try:
            port = replica.ports.get(request.port)
            if port is None:
                raise _NoSuchPort(f"this replica runs a version of its workspace without port {request.port}")
            head = await self.forwarder.send(replica.node.host, port, request, body, sink, timeout)
            result = _result_of(head.status)
            return head
        except DialFailed as error:
            result = CallResult.ABANDONED if isinstance(error, _NoSuchPort) else CallResult.UNREACHED
            raise
        except UpstreamError:
            result = CallResult.BROKE
            raise
        except NgpuError:
            result = CallResult.ANSWERED  # our sink refused what a working replica sent
            raise
        finally:
            lease.release(result)
            metrics, label = self.metrics, self.metrics.label(replica.workspace)
            metrics.count(metrics.calls, label, result.value)
            metrics.call_seconds.observe(self.clock.seconds() - began, label)
            if span is not None:
                fine = result in (CallResult.ANSWERED, CallResult.SWITCHED)
                span.end("" if fine else result.value, ngpu__result=result.value, ngpu__node=replica.node.address)
