"""Selection policy ``weighted``: turns in proportion to what a node weighs and a replica can do at once."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ngpu.model import Candidate, SelectionRequest
from ngpu.plugin import Factory
from ngpu.selection import Ranked


class Weighted(Ranked):
    """Smooth: turns of a heavy replica are spread among those of light ones.

    Each replica is due again one ``1 / weight`` after its turn, on a clock that counts turns and not seconds, and the
    one that is due first has the next (earliest deadline first). One that was away is due at once, for one turn.
    """

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self._now = 0.0
        self._turn = 0
        self._due: dict[str, tuple[float, int]] = {}

    def rank(self, candidate: Candidate) -> tuple[float, int, str]:
        """See `Ranked.rank`."""
        name = candidate.replica.id
        due, last = self._due.get(name) or (self._now + _step(candidate) / 2, 0)
        self._due[name] = max(due, self._now), last
        return (*self._due[name], name)

    def select(self, replicas: Sequence[Candidate], request: SelectionRequest) -> Candidate | None:
        """See `ISelectionPolicy.select`."""
        chosen = super().select(replicas, request)
        if chosen is not None:
            due, _ = self._due[chosen.replica.id]
            self._now = max(self._now, due)
            self._turn += 1
            self._due[chosen.replica.id] = due + _step(chosen), self._turn
        return chosen

    def removed(self, candidate: Candidate) -> None:
        """See `IObservingPolicy.removed`."""
        self._due.pop(candidate.replica.id, None)


def _step(candidate: Candidate) -> float:
    return 1.0 / (candidate.replica.node.weight * candidate.replica.slots)


weighted = Factory(
    "selection",
    "weighted",
    "Turns by the weight of the node times the slots of the replica, evenly spread.",
    lambda options, context: Weighted(context.rng),
)
