"""Selection policy ``least_loaded``: fewest calls in flight per slot, warm before cold, ties at random."""

from __future__ import annotations

from ngpu.model import Candidate
from ngpu.plugin import Factory
from ngpu.selection import Ranked


class LeastLoaded(Ranked):
    """Chooses the replica with the smallest share of its slots in use.

    The tie-break is random because many gateways, or many bursts, would otherwise favour whichever comes first.
    """

    def rank(self, candidate: Candidate) -> tuple[float, bool]:
        """See `Ranked.rank`."""
        return candidate.in_flight / candidate.replica.slots, candidate.last_used is None


least_loaded = Factory(
    "selection",
    "least_loaded",
    "The replica with the fewest calls in flight per slot; warm before cold, ties at random.",
    lambda options, context: LeastLoaded(context.rng),
)
