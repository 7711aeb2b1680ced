"""Selection policy ``round_robin``: every replica in its turn."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from ngpu.interfaces import ISelectionPolicy
from ngpu.model import Candidate, SelectionRequest
from ngpu.plugin import Factory


@implementer(ISelectionPolicy)
class RoundRobin:
    """Chooses the available replica whose last turn is longest ago, so that one that was away loses no other's turn."""

    def __init__(self) -> None:
        self._turn = 0
        self._last: dict[str, int] = {}

    def select(self, replicas: Sequence[Candidate], request: SelectionRequest) -> Candidate | None:
        """See `ISelectionPolicy.select`."""
        chosen = min(replicas, key=lambda candidate: (self._last.get(candidate.replica.id, 0), candidate.replica.id))
        self._turn += 1
        self._last[chosen.replica.id] = self._turn
        return chosen


round_robin = Factory(
    "selection",
    "round_robin",
    "Every available replica in its turn.",
    lambda options, context: RoundRobin(),
)
