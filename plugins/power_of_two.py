"""Selection policy ``power_of_two``: the better of two replicas that are drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from zope.interface import implementer

from ngpu.interfaces import ISelectionPolicy
from ngpu.model import Candidate, SelectionRequest
from ngpu.plugin import Factory


@implementer(ISelectionPolicy)
class PowerOfTwo:
    """For many gateways in front of one fleet.

    None knows what the others have sent, and all would think alike of the best replica: so each looks at two only.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def select(self, replicas: Sequence[Candidate], request: SelectionRequest) -> Candidate | None:
        """See `ISelectionPolicy.select`."""
        if len(replicas) == 1:
            return replicas[0]
        return min((replicas[index] for index in self._rng.sample(range(len(replicas)), 2)), key=_cost)


def _cost(candidate: Candidate) -> tuple[float, bool]:
    """How long a call would last there, as its queue goes; warm before cold."""
    share = (candidate.in_flight + 1) / candidate.replica.slots
    return share * (candidate.latency or 1.0), candidate.last_used is None


power_of_two = Factory(
    "selection",
    "power_of_two",
    "The better of two replicas drawn at random, by call time and calls in flight per slot; for many gateways.",
    lambda options, context: PowerOfTwo(context.rng),
)
