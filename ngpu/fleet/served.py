"""The copies that calls are handed out to, as this process has told serving."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from twisted.internet.defer import Deferred

from ngpu.fleet.serving import IServing
from ngpu.fleet.steps import Actions
from ngpu.member import Health
from ngpu.model import Replica


class Served:
    """Replicas by their copy, and which of them get no new calls.

    :param nudge: called when the last call of one that leaves is over.
    """

    def __init__(self, serving: IServing, nudge: Callable[[], None]) -> None:
        self._serving = serving
        self._nudge = nudge
        self._replicas: dict[str, Replica] = {}
        self._draining: dict[str, Deferred[None]] = {}
        self._drained: set[str] = set()

    @property
    def replicas(self) -> Mapping[str, Replica]:
        """All of them, those that are being drained too."""
        return dict(self._replicas)

    @property
    def draining(self) -> frozenset[str]:
        """Those that get no new calls."""
        return frozenset(self._draining)

    @property
    def drained(self) -> frozenset[str]:
        """Copies whose last call is over, and no new one comes."""
        return frozenset(self._drained)

    def health(self) -> Mapping[str, tuple[Health, str]]:
        """What their health checks say, and why."""
        unknown = (Health.UNKNOWN, "")
        return {
            copy_id: self._serving.health(replica.workspace, copy_id) or unknown
            for copy_id, replica in self._replicas.items()
        }

    def doubted(self) -> Mapping[str, float]:
        """Those that get no connections until their engine shows that their ports are still theirs; since when."""
        since = {copy_id: self._serving.doubted(copy_id) for copy_id in self._replicas}
        return {copy_id: when for copy_id, when in since.items() if when is not None}

    def check(self, copies: Iterable[str]) -> None:
        """Have the health of these checked now."""
        for replica in [self._replicas[copy_id] for copy_id in copies if copy_id in self._replicas]:
            self._serving.check(replica.workspace, replica.id)

    def act(self, actions: Actions) -> None:
        """Do what was planned."""
        for replica in actions.unserve:
            self._replicas.pop(replica.id, None)
            self._end_drain(replica.id)
            self._serving.remove(replica.workspace, replica.id)
        for replica in actions.serve:
            self._end_drain(replica.id)
            self._drained.discard(replica.id)
            self._serving.add(replica.workspace, replica)
            self._replicas[replica.id] = replica
        for replica in actions.trust:
            self._serving.trust(replica.workspace, replica.id)
        for replica in actions.drain:
            drain = self._serving.drain(replica.workspace, replica.id)
            self._draining[replica.id] = drain
            drain.addCallbacks(self._is_drained, lambda failure: None, callbackArgs=(replica.id,))

    def forget(self, copies: Iterable[str]) -> None:
        """Know of no other copies than these that they were drained."""
        self._drained &= {*copies, *self._replicas}

    def stop(self) -> None:
        """Wait for no call any longer."""
        for copy_id in tuple(self._draining):
            self._end_drain(copy_id)

    def _end_drain(self, copy_id: str) -> None:
        drain = self._draining.pop(copy_id, None)
        if drain is not None:
            drain.cancel()

    def _is_drained(self, result: None, copy_id: str) -> None:
        self._drained.add(copy_id)
        self._nudge()
