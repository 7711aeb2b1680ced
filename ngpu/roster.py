"""The workspaces that there are now: they come, change and go while calls run, and everybody reads them here.

What is read here is never copied: the mappings are live, and what a caller took out of them (a workspace, a line) stays
good for the call that it was taken for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ngpu.errors import ReplicaRemoved
from ngpu.fleet.replicas import requirement, upstream_replicas
from ngpu.interfaces import ISelectionPolicy
from ngpu.line import Line
from ngpu.member import LONGEST_REST, Member
from ngpu.model import Node, Replica
from ngpu.pool import Pool
from ngpu.settings import Workspace
from ngpu.sharing import RESTS, Alone, INews, ISlots
from ngpu.tenancy import Tenancy

Watcher = Callable[[Workspace | None, Workspace | None], None]
"""Told of a workspace before and after a change, ``None`` where there was or is none; it must not raise."""


class Roster:
    """Workspaces, the line of each, and who may use them.

    :param nodes: by `node_key`, where replicas that run already are reached.
    :param slots: those of replicas that gateways share; ``None`` where there is but this one.
    :param news: what these gateways say to each other.
    :ivar workspaces: by id. A live view, as the others are.
    :ivar lines: by workspace id.
    :ivar leaving: the lines of workspaces that were removed, as long as their replicas are being drained.
    :ivar labels: what logs and metrics call each workspace.
    :ivar hosts: by virtual host.
    :ivar tenancy: which credential opens which of them.
    """

    log = Logger("ngpu.roster")

    def __init__(
        self, nodes: Mapping[str, Node], clock: IReactorTime, slots: ISlots | None = None, news: INews = Alone.news
    ) -> None:
        self._nodes = nodes
        self._clock = clock
        self._slots = slots
        self._news = news
        self._workspaces: dict[str, Workspace] = {}
        self._lines: dict[str, Line] = {}
        self._leaving: dict[str, list[Line]] = {}
        self._labels: dict[str, str] = {}
        self._hosts: dict[str, Workspace] = {}
        self._watchers: list[Watcher] = []
        self.workspaces: Mapping[str, Workspace] = MappingProxyType(self._workspaces)
        self.lines: Mapping[str, Line] = MappingProxyType(self._lines)
        self.leaving: Mapping[str, Sequence[Line]] = MappingProxyType(self._leaving)
        self.labels: Mapping[str, str] = MappingProxyType(self._labels)
        self.hosts: Mapping[str, Workspace] = MappingProxyType(self._hosts)
        self.tenancy = Tenancy(())
        if slots is not None:
            slots.watch(self._changed_elsewhere)
        news.hear(RESTS, self._rest_too)

    def watch(self, watcher: Watcher) -> None:
        """Have somebody told of each change, after it."""
        self._watchers.append(watcher)

    def put(self, workspace: Workspace, policy: ISelectionPolicy) -> None:
        """Let a workspace in, or change the one of its id, whose former keys open nothing from the next call on.

        Calls that wait or run go on. Replicas that ``upstream`` names no more get no new calls; those that the fleet
        has added stay as they are.

        :param policy: chooses among its replicas, unless it was there with the same ``selection`` already.
        """
        before = self._workspaces.get(workspace.id)
        line = self._lines.get(workspace.id)
        if line is None:
            line = self._lines[workspace.id] = self._new_line(workspace, policy)
        elif before is not None and before.selection != workspace.selection:
            line.use(policy, requirement(workspace))
        self._workspaces[workspace.id] = workspace
        self._labels[workspace.id] = workspace.label
        self.tenancy.change(before, workspace)
        self._rehost(before, workspace)
        line.grace = workspace.health.interval
        running = self._running_already(workspace)
        named = {replica.id for replica in running}
        for replica in self._running_already(before) if before is not None else ():
            if replica.id not in named:
                line.remove(replica.id)
        for replica in running:
            line.add(replica)
        self._tell(before, workspace)

    def remove(self, workspace_id: str) -> None:
        """Let a workspace go: its credentials open nothing from now on, and whoever waits for a slot is told.

        Calls that run go on to their end. Its copies get no new ones, and stay in `leaving` until the fleet has removed
        them.
        """
        workspace, line = self._workspaces.pop(workspace_id), self._lines.pop(workspace_id)
        del self._labels[workspace_id]
        self.tenancy.change(workspace, None)
        self._rehost(workspace, None)
        line.close(workspace_removed)
        for replica in self._running_already(workspace):
            line.remove(replica.id)
        now = self._clock.seconds()
        for replica_id in line.pool.members:
            line.pool.drain(replica_id, now)
        self._leaving.setdefault(workspace_id, []).append(line)
        self._forget_empty()
        self._tell(workspace, None)

    def _new_line(self, workspace: Workspace, policy: ISelectionPolicy) -> Line:
        pool = Pool((), policy, requirement(workspace), workspace.label)
        return Line(pool, self._clock, workspace.health.interval, self._slots, partial(self._say_rest, workspace.id))

    def _changed_elsewhere(self, replica_id: str) -> None:
        leaving = (line for lines in tuple(self._leaving.values()) for line in lines)
        for line in (*self._lines.values(), *leaving):
            line.changed_elsewhere(replica_id)

    def _say_rest(self, workspace_id: str, member: Member, seconds: float) -> None:
        words = {"workspace": workspace_id, "replica": member.replica.id, "seconds": seconds, "rests": member.rests}
        self._news.say(RESTS, json.dumps(words))
        self.log.warn(
            "replica {replica} failed calls, and rests for {seconds:.1f} s",
            journal="replica_rests",
            workspace=self._labels.get(workspace_id, ""),
            node=member.replica.node.address,
            replica=member.replica.id,
            seconds=seconds,
        )

    def _rest_too(self, words: str | None) -> None:
        told = json.loads(words) if words is not None else {}
        line = self._lines.get(told.get("workspace", ""))
        if line is not None:
            line.rest_too(told["replica"], min(float(told["seconds"]), LONGEST_REST), int(told["rests"]))

    def _running_already(self, workspace: Workspace) -> Sequence[Replica]:
        return upstream_replicas(workspace, self._nodes)

    def _rehost(self, before: Workspace | None, after: Workspace | None) -> None:
        for host in before.hosts if before is not None else ():
            if self._hosts.get(host) is before:
                del self._hosts[host]
        if after is not None:
            self._hosts.update(dict.fromkeys(after.hosts, after))

    def _forget_empty(self) -> None:
        for workspace_id, lines in tuple(self._leaving.items()):
            lines[:] = [line for line in lines if line.pool.members]
            if not lines:
                del self._leaving[workspace_id]

    def _tell(self, before: Workspace | None, after: Workspace | None) -> None:
        for watcher in self._watchers:
            watcher(before, after)


def workspace_removed() -> ReplicaRemoved:
    """What callers of a workspace are told that goes while they wait."""
    return ReplicaRemoved("its workspace was removed")
