"""What the fleet tells the gateway of its copies: here is one, no more calls for that one, it is gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred, succeed

from ngpu.fleet.health import HealthChecks
from ngpu.line import Line
from ngpu.member import Health, Member
from ngpu.model import Replica
from ngpu.upstream.doubts import Doubts


class IServing(Protocol):
    """The replicas that get calls, as the fleet works on them.

    Whatever is said of a workspace or a replica that is not there, or not any more, changes nothing.
    """

    def add(self, workspace_id: str, replica: Replica) -> None:
        """Let a replica in: health checks ask it from now on, and once one has passed it gets calls.

        One that is there is left as it is, but not drained any more; with other ports it takes the former's place.
        """

    def expect(self, workspace_id: str, replica_id: str) -> None:
        """A copy of an earlier life may be let in again: jobs that it has are not given up until it is removed."""

    def health(self, workspace_id: str, replica_id: str) -> tuple[Health, str] | None:
        """What the health checks say, and why where it is not UP; ``None``: there is no such replica."""

    def check(self, workspace_id: str, replica_id: str) -> None:
        """Have its health checked now."""

    def watch(self, doubted: Callable[[str], None]) -> None:
        """Have somebody told of each replica that is not there any more: its ports may be others' from then on."""

    def doubted(self, replica_id: str) -> float | None:
        """Since when it gets no connections, for its ports may be others' by now; ``None``: it gets some."""

    def trust(self, workspace_id: str, replica_id: str) -> None:
        """Its engine has shown since that it has these ports."""

    def in_flight(self, workspace_id: str, replica_id: str) -> int:
        """How many calls it works on, conversations that hold a slot of it included."""

    def drain(self, workspace_id: str, replica_id: str) -> Deferred[None]:
        """Give it no new calls; fires when none is in flight on it, which may take as long as a conversation does."""

    def remove(self, workspace_id: str, replica_id: str) -> None:
        """Forget it; calls that are in flight on it go on as long as it lets them."""


class Serving:
    """See `IServing`.

    :param lines: of the workspaces that there are now.
    :param leaving: of workspaces that were removed while they had replicas.
    :param doubts: of the connections to replicas.
    """

    def __init__(
        self,
        lines: Mapping[str, Line],
        leaving: Mapping[str, Sequence[Line]],
        health_checks: HealthChecks,
        doubts: Doubts,
    ) -> None:
        self._lines = lines
        self._leaving = leaving
        self._health_checks = health_checks
        self._doubts = doubts

    def add(self, workspace_id: str, replica: Replica) -> None:
        """See `IServing.add`."""
        line = self._lines.get(workspace_id)
        if line is not None:
            if not line.pool.holds(replica):
                self._doubts.guard(replica)
            line.add(replica)
            self._health_checks.follow(workspace_id)

    def expect(self, workspace_id: str, replica_id: str) -> None:
        """See `IServing.expect`."""
        line = self._lines.get(workspace_id)
        if line is not None:
            line.expect(replica_id)

    def health(self, workspace_id: str, replica_id: str) -> tuple[Health, str] | None:
        """See `IServing.health`."""
        member = self._member(workspace_id, replica_id)
        return None if member is None else (member.health, member.reason)

    def check(self, workspace_id: str, replica_id: str) -> None:
        """See `IServing.check`."""
        self._health_checks.hasten(workspace_id, replica_id)

    def watch(self, doubted: Callable[[str], None]) -> None:
        """See `IServing.watch`."""
        self._doubts.told = doubted

    def doubted(self, replica_id: str) -> float | None:
        """See `IServing.doubted`."""
        return self._doubts.since(replica_id)

    def trust(self, workspace_id: str, replica_id: str) -> None:
        """See `IServing.trust`."""
        self._doubts.trust(replica_id)
        self._health_checks.hasten(workspace_id, replica_id)

    def in_flight(self, workspace_id: str, replica_id: str) -> int:
        """See `IServing.in_flight`."""
        member = self._member(workspace_id, replica_id)
        return 0 if member is None else member.in_flight

    def drain(self, workspace_id: str, replica_id: str) -> Deferred[None]:
        """See `IServing.drain`."""
        line = self._line(workspace_id, replica_id)
        return succeed(None) if line is None else line.drain(replica_id)

    def remove(self, workspace_id: str, replica_id: str) -> None:
        """See `IServing.remove`."""
        self._doubts.forget(replica_id)
        line = self._line(workspace_id, replica_id)
        if line is not None:
            line.remove(replica_id)
            self._health_checks.follow(workspace_id)

    def _line(self, workspace_id: str, replica_id: str) -> Line | None:
        """The line that has the replica: the workspace's, or that of one of this id that was removed before."""
        now = self._lines.get(workspace_id)
        lines = (*(() if now is None else (now,)), *self._leaving.get(workspace_id, ()))
        return next((line for line in lines if line.knows(replica_id)), None)

    def _member(self, workspace_id: str, replica_id: str) -> Member | None:
        line = self._line(workspace_id, replica_id)
        return None if line is None else line.pool.members.get(replica_id)
