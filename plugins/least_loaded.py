"""Selection policy ``least_loaded``: fewest calls in flight per slot, warm before cold, ties at random."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from zope.interface import implementer

from ngpu.interfaces import ISelectionPolicy
from ngpu.model import Candidate, SelectionRequest
from ngpu.plugin import Factory


@implementer(ISelectionPolicy)
class LeastLoaded:
    """Chooses the replica with the smallest share of its slots in use.

    The tie-break is random because many gateways, or many bursts, would otherwise favour whichever comes first.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def select(self, replicas: Sequence[Candidate], request: SelectionRequest) -> Candidate | None:
        """See `ISelectionPolicy.select`."""
        return min(replicas, key=self._cost)

    def _cost(self, candidate: Candidate) -> tuple[float, bool, float]:
        return candidate.in_flight / candidate.replica.slots, candidate.last_used is None, self._rng.random()


least_loaded = Factory(
    "selection",
    "least_loaded",
    "The replica with the fewest calls in flight per slot; warm before cold, ties at random.",
    lambda options, context: LeastLoaded(context.rng),
)
