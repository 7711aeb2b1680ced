"""Active health checks: ask each replica now and then, and tell its line what came back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ngpu.errors import CallTimeout, DialFailed, NgpuError
from ngpu.interfaces import IBodySink, IForwarder
from ngpu.line import Line
from ngpu.metrics import Metrics
from ngpu.model import BytesBody, ReplyHead, UpstreamRequest
from ngpu.pool import Health, Member
from ngpu.settings import Workspace

FAILURES_BEFORE_DOWN = 2
"""Checks in a row that must fail before a replica that was up counts as down; a refused connection counts at once."""


@implementer(IBodySink)
class _Nowhere:
    def start(self, head: ReplyHead) -> None:
        pass

    def write(self, data: bytes) -> Any:
        return None


class HealthChecks:
    """Asks the replicas of all workspaces, each by its own clock.

    The check is a GET of ``health.path`` on the workspace's first port: anything below 400 is healthy. A check that
    merely took too long says nothing about a replica that is busy, since many workers do one thing at a time.
    """

    log = Logger("ngpu.health")

    def __init__(
        self,
        forwarder: IForwarder,
        lines: Mapping[str, Line],
        workspaces: Mapping[str, Workspace],
        clock: IReactorTime,
        metrics: Metrics,
    ) -> None:
        self._forwarder = forwarder
        self._lines = lines
        self._clock = clock
        self._metrics = metrics
        self._failures: dict[str, int] = {}
        self._checking: set[Deferred[None]] = set()
        self._tickers = [
            (self._ticker(workspace, member), workspace.health.interval)
            for workspace in workspaces.values()
            for member in lines[workspace.id].pool.members.values()
        ]

    def start(self) -> None:
        """Check everything now, then at each interval."""
        for ticker, interval in self._tickers:
            ticker.clock = self._clock
            ticker.start(interval)

    def stop(self) -> None:
        """Check no more."""
        for ticker, _ in self._tickers:
            if ticker.running:
                ticker.stop()
        for check in tuple(self._checking):
            check.cancel()

    def _ticker(self, workspace: Workspace, member: Member) -> LoopingCall:
        def tick() -> Deferred[None]:
            check = Deferred.fromCoroutine(self._check(workspace, member))
            self._checking.add(check)

            def over(result: object) -> None:
                self._checking.discard(check)
                if isinstance(result, Failure) and result.check(CancelledError) is None:
                    self.log.failure("a check of {replica} failed", failure=result, replica=member.replica.id)

            return check.addBoth(over)

        return LoopingCall(tick)

    async def _check(self, workspace: Workspace, member: Member) -> None:
        replica = member.replica
        port = next(iter(workspace.ports))
        request = UpstreamRequest("GET", workspace.health.path, port)
        busy = member.in_flight > 0
        reason = ""
        try:
            head = await self._forwarder.send(
                replica.node.host, replica.ports[port], request, BytesBody(), _Nowhere(), workspace.health.timeout
            )
            if head.status >= 400:
                reason = f"its health check answered HTTP {head.status}"
        except CallTimeout as error:
            if busy and member.health is Health.UP:
                return
            reason = str(error)
        except DialFailed as error:
            self._failures[replica.id] = FAILURES_BEFORE_DOWN
            reason = str(error)
        except NgpuError as error:
            reason = str(error)
        self._judge(workspace, member, reason)

    def _judge(self, workspace: Workspace, member: Member, reason: str) -> None:
        replica = member.replica
        failures = self._failures[replica.id] = self._failures.get(replica.id, 0) + 1 if reason else 0
        if reason and member.health is Health.UP and failures < FAILURES_BEFORE_DOWN:
            return
        line = self._lines[workspace.id]
        if line.pool.checked(replica.id, not reason, reason, self._clock.seconds()):
            word = "down" if reason else "up"
            self.log.info("replica {replica} is {word} {reason}", replica=replica.id, word=word, reason=reason)
        self._metrics.up.labels(workspace.label, replica.id).set(0 if reason else 1)
        line.serve()
