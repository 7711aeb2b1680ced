"""Selection policy ``round_robin``: every replica in its turn."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ngpu.model import Candidate, SelectionRequest
from ngpu.plugin import Factory
from ngpu.selection import Ranked


class RoundRobin(Ranked):
    """Chooses the available replica whose last turn is longest ago, so that one that was away loses no other's turn."""

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self._turn = 0
        self._last: dict[str, int] = {}

    def rank(self, candidate: Candidate) -> tuple[int, str]:
        """See `Ranked.rank`."""
        return self._last.get(candidate.replica.id, 0), candidate.replica.id

    def select(self, replicas: Sequence[Candidate], request: SelectionRequest) -> Candidate | None:
        """See `ISelectionPolicy.select`."""
        chosen = super().select(replicas, request)
        if chosen is not None:
            self._turn += 1
            self._last[chosen.replica.id] = self._turn
        return chosen

    def removed(self, candidate: Candidate) -> None:
        """See `IObservingPolicy.removed`."""
        self._last.pop(candidate.replica.id, None)


round_robin = Factory(
    "selection",
    "round_robin",
    "Every available replica in its turn.",
    lambda options, context: RoundRobin(context.rng),
)
