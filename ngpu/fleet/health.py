"""Active health checks: ask each replica now and then, and tell its line what came back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from ngpu.errors import CallTimeout, DialFailed, NgpuError
from ngpu.interfaces import IBodySink, IForwarder
from ngpu.line import Line
from ngpu.member import Health, Member
from ngpu.metrics import Metrics
from ngpu.model import BytesBody, ReplyHead, UpstreamRequest
from ngpu.settings import Workspace
from ngpu.sharing import HEALTH, Alone, INews

FAILURES_BEFORE_DOWN = 2
"""Checks in a row that must fail before a replica that was up counts as down; a refused connection counts at once."""

BRISK = 1.0
"""Seconds between checks of a replica that has not been up yet, within its ``grace``: who starts is awaited."""


@implementer(IBodySink)
class _Nowhere:
    def start(self, head: ReplyHead) -> None:
        pass

    def write(self, data: bytes) -> Any:
        return None


@dataclass(eq=False)
class _Watch:
    """One replica that is asked, by the settings of its workspace."""

    workspace: Workspace
    member: Member
    awaited_until: float
    ticker: LoopingCall | None = None
    checking: Deferred[None] | None = None
    failures: int = 0
    hinted: float | None = None

    def follows(self, workspace: Workspace) -> bool:
        """Whether the checks are those that these settings ask for."""
        before = self.workspace
        return (before.health, before.label, *before.ports) == (workspace.health, workspace.label, *workspace.ports)


class HealthChecks:
    """Asks the replicas of all workspaces, each by its own clock.

    The check is a GET of ``health.path`` on the workspace's first port: anything below 400 is healthy. A check that
    merely took too long says nothing about a replica that is busy, since many workers do one thing at a time.

    :param lines: of the workspaces that there are now, as ``workspaces`` are.
    """

    log = Logger("ngpu.health")

    def __init__(
        self,
        forwarder: IForwarder,
        lines: Mapping[str, Line],
        workspaces: Mapping[str, Workspace],
        clock: IReactorTime,
        metrics: Metrics,
        news: INews = Alone.news,
    ) -> None:
        self._forwarder = forwarder
        self._lines = lines
        self._workspaces = workspaces
        self._clock = clock
        self._metrics = metrics
        self._watches: dict[str, dict[Member, _Watch]] = {}
        self._started = False
        self._news = news
        news.hear(HEALTH, self._hear)

    def start(self) -> None:
        """Check everything now, then at each interval."""
        self._started = True
        for workspace_id in self._workspaces:
            self.follow(workspace_id)

    def stop(self) -> None:
        """Check no more."""
        self._started = False
        for watches in self._watches.values():
            for watch in watches.values():
                _end(watch)

    def follow(self, workspace_id: str) -> None:
        """Check the replicas that a workspace has now, and no others; to be called when they or its settings change.

        A replica that is new is asked at once. What metrics say of one that is gone is forgotten.
        """
        if not self._started:
            return
        workspace, line = self._workspaces.get(workspace_id), self._lines.get(workspace_id)
        there = set(line.pool.members.values()) if line is not None else set()
        watches = self._watches.setdefault(workspace_id, {})
        for member, watch in tuple(watches.items()):
            if workspace is None or member not in there or not watch.follows(workspace):
                del watches[member]
                _end(watch)
                self._metrics.forget_replica(watch.workspace.label, member.replica.id)
        if workspace is None:
            del self._watches[workspace_id]
            return
        for member in there - watches.keys():
            watches[member] = watch = _Watch(workspace, member, self._clock.seconds() + workspace.health.grace)
            watch.ticker = LoopingCall(self._tick, watch)
            watch.ticker.clock = self._clock
            watch.ticker.start(workspace.health.interval)

    def _tick(self, watch: _Watch) -> Deferred[None]:
        asked = Deferred.fromCoroutine(self._ask(watch))
        # not from within the coroutine: what a judgement sets off may end this very watch
        watch.checking = asked.addCallback(self._judge, watch)

        def over(result: object) -> None:
            if isinstance(result, Failure) and result.check(CancelledError) is None:
                self.log.failure("a check of {replica} failed", failure=result, replica=watch.member.replica.id)
            if watch.ticker is not None:
                watch.ticker.interval = self._interval(watch)

        return watch.checking.addBoth(over)

    def _interval(self, watch: _Watch) -> float:
        """Seconds between its checks."""
        interval = watch.workspace.health.interval
        if watch.member.health is Health.UP:
            watch.awaited_until = 0.0
        return min(BRISK, interval) if self._clock.seconds() < watch.awaited_until else interval

    async def _ask(self, watch: _Watch) -> str | None:
        """What is wrong with a replica, "" where all is well; ``None``: there is no telling."""
        replica, health = watch.member.replica, watch.workspace.health
        # one that runs an earlier version of its workspace may not have the first port of now
        port = next((port for port in watch.workspace.ports if port in replica.ports), next(iter(replica.ports), 0))
        request = UpstreamRequest("GET", health.path, port)
        busy = watch.member.in_flight > 0
        reason = ""
        try:
            host, published = replica.node.host, replica.ports.get(port, 0)
            head = await self._forwarder.send(host, published, request, BytesBody(), _Nowhere(), health.timeout)
            if head.status >= 400:
                reason = f"its health check answered HTTP {head.status}"
        except CallTimeout as error:
            if busy and watch.member.health is Health.UP:
                return None
            reason = str(error)
        except DialFailed as error:
            watch.failures = FAILURES_BEFORE_DOWN
            reason = str(error)
        except NgpuError as error:
            reason = str(error)
        return reason

    def _judge(self, reason: str | None, watch: _Watch) -> None:
        if reason is None:
            return
        replica = watch.member.replica
        watch.failures = watch.failures + 1 if reason else 0
        if reason and watch.member.health is Health.UP and watch.failures < FAILURES_BEFORE_DOWN:
            return
        line = self._lines[watch.workspace.id]
        if line.pool.checked(replica.id, not reason, reason, self._clock.seconds()):
            word = "down" if reason else "up"
            self.log.emit(
                LogLevel.warn if reason else LogLevel.info,
                "replica {replica} is {word} {reason}",
                journal=f"replica_{word}",
                workspace=watch.workspace.label,
                node=replica.node.address,
                replica=replica.id,
                word=word,
                reason=reason,
            )
            said = {"workspace": watch.workspace.id, "replica": replica.id, "up": not reason}
            self._news.say(HEALTH, json.dumps(said))
        self._metrics.up.labels(watch.workspace.label, replica.id).set(0 if reason else 1)
        line.serve()

    def _hear(self, words: str | None) -> None:
        """Look at once at a replica that another gateway finds other than this one does; it may be wrong for us."""
        told = json.loads(words) if words is not None else {}
        now, health = self._clock.seconds(), Health.UP if told.get("up") else Health.DOWN
        for member, watch in tuple(self._watches.get(told.get("workspace", ""), {}).items()):
            if member.replica.id != told["replica"] or member.health is health:
                continue
            due = watch.hinted is None or now - watch.hinted >= BRISK  # hints must not become a storm
            if due and self._check_now(watch):
                watch.hinted = now

    def hasten(self, workspace_id: str, replica_id: str) -> None:
        """Check a replica now, unless it is being checked."""
        line = self._lines.get(workspace_id)
        member = None if line is None else line.pool.members.get(replica_id)
        watch = None if member is None else self._watches.get(workspace_id, {}).get(member)
        if watch is not None:
            self._check_now(watch)

    def _check_now(self, watch: _Watch) -> bool:
        ticker = watch.ticker
        if ticker is None or ticker.call is None:
            return False
        ticker.stop()
        ticker.start(self._interval(watch))
        return True


def _end(watch: _Watch) -> None:
    if watch.ticker is not None and watch.ticker.running:
        watch.ticker.stop()
    if watch.checking is not None:
        watch.checking.cancel()
