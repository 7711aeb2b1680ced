"""Waiting for replicas to come and to go: jobs that are to come back to one, and whoever wants one to be drained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.internet.defer import Deferred

from ngpu.errors import NoReplica
from ngpu.leases import Lease
from ngpu.member import Member
from ngpu.pool import Pool


class Expected:
    """Replicas of an earlier life of this process, and who waits for a slot of them."""

    def __init__(self) -> None:
        self._waits: dict[str, list[Deferred[Lease]]] = {}

    def __contains__(self, replica_id: str) -> bool:
        return replica_id in self._waits

    def expect(self, replica_id: str) -> None:
        """It may be let in again."""
        self._waits.setdefault(replica_id, [])

    def wait(self, replica_id: str, granted: Deferred[Lease]) -> None:
        """Somebody wants a slot of it."""
        self._waits[replica_id].append(granted)

    def leave(self, granted: Deferred[Lease]) -> None:
        """Somebody does not want it any more."""
        for waits in self._waits.values():
            if granted in waits:
                waits.remove(granted)

    def come(self, replica_id: str) -> Sequence[Deferred[Lease]]:
        """It is expected no more, be it there or gone; who waited for it."""
        return self._waits.pop(replica_id, ())

    def close(self, why: Callable[[], NoReplica]) -> None:
        """Whoever waits is told why there will be nothing."""
        for waits in self._waits.values():
            while waits:
                waits.pop().errback(why())


class Draining:
    """Who wants a replica to be drained: until no call holds a slot of it, and none is to come back to it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waits: dict[Member, list[Deferred[None]]] = {}

    @property
    def members(self) -> tuple[Member, ...]:
        """Those that somebody waits for."""
        return tuple(self._waits)

    def wait(self, member: Member) -> Deferred[None]:
        """Fires once it is drained; cancelling it stops the wait, and nothing else."""
        drained: Deferred[None] = Deferred()
        self._waits.setdefault(member, []).append(drained)
        return drained

    def cancel(self, member: Member) -> None:
        """It serves again: whoever waits is cancelled."""
        for drained in self._waits.pop(member, ()):
            drained.cancel()

    def look(self, member: Member, returning: Iterable[Member]) -> None:
        """Tell those who wait, if it is drained; of one that was removed, what other gateways hold does not count.

        :param returning: the members to which somebody is to come back.
        """
        if not self._waits:
            return
        there = self._pool.members.get(member.replica.id) is member
        holders = member.in_flight if there else member.own
        if member in self._waits and not holders and member not in returning:
            for drained in self._waits.pop(member):
                if not drained.called:
                    drained.callback(None)
