"""Addresses that may be somebody else's by now.

An engine gives a container another port of its machine each time it starts, and one that it had before may be another
container's then. So a replica that was reached, and is not there any more, is not dialled again before its engine shows
that it still has this port: what answers there might be another customer's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from ngpu.errors import DialFailed
from ngpu.model import Replica
from ngpu.upstream.origin import Origin, authority_of, origin_of


@dataclass(eq=False, slots=True)
class _Holder:
    """Whose an address is. ``reached``: it took a connection; ``since``: when its address came into doubt."""

    replica: str
    reached: bool = False
    since: float | None = None


class Doubts:
    """Which addresses are in doubt; nothing is known of those that nobody guards.

    :ivar told: called with the id of a replica whose address comes into doubt.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.told: Callable[[str], None] = lambda replica_id: None
        self._clock = clock
        self._holders: dict[Origin, _Holder] = {}
        self._guarded: dict[str, tuple[Origin, ...]] = {}

    def guard(self, replica: Replica) -> None:
        """These addresses are this replica's, as its engine has just shown."""
        self.forget(replica.id)
        try:
            origins = tuple(_origin(replica.node.host, port) for port in replica.ports.values())
        except (DialFailed, ValueError):
            return  # nobody can be dialled there
        self._guarded[replica.id] = origins
        self._holders.update({origin: _Holder(replica.id) for origin in origins})

    def forget(self, replica_id: str) -> None:
        """A replica is no more."""
        for origin, _ in self._held(replica_id):
            del self._holders[origin]
        self._guarded.pop(replica_id, None)

    def since(self, replica_id: str) -> float | None:
        """Since when an address of a replica is in doubt; ``None``: none is."""
        times = [holder.since for _, holder in self._held(replica_id) if holder.since is not None]
        return max(times, default=None)

    def trust(self, replica_id: str) -> None:
        """Its engine has shown since that these are still the replica's addresses."""
        for origin, _ in self._held(replica_id):
            self._holders[origin] = _Holder(replica_id)

    def _held(self, replica_id: str) -> list[tuple[Origin, _Holder]]:
        """The addresses of a replica that were not shown to be another one's since."""
        holders = [(origin, self._holders.get(origin)) for origin in self._guarded.get(replica_id, ())]
        return [(origin, holder) for origin, holder in holders if holder is not None and holder.replica == replica_id]

    def __contains__(self, origin: object) -> bool:
        holder = self._holders.get(origin)  # type: ignore[call-overload]
        return holder is not None and holder.since is not None

    def reached(self, origin: Origin) -> None:
        """It took a connection."""
        holder = self._holders.get(origin)
        if holder is not None:
            holder.reached = True

    def missed(self, origin: Origin) -> None:
        """It took no connection. One that never did says nothing: its server may not have begun to listen."""
        holder = self._holders.get(origin)
        if holder is not None and holder.reached and holder.since is None:
            holder.since = self._clock.seconds()
            self.told(holder.replica)


def _origin(host: str, port: int) -> Origin:
    return origin_of(authority_of(host, port).encode())
