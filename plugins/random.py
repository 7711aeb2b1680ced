"""Selection policy ``random``: any replica."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random as Rng

from zope.interface import implementer

from ngpu.interfaces import ISelectionPolicy
from ngpu.model import Candidate, SelectionRequest
from ngpu.plugin import Factory


@implementer(ISelectionPolicy)
class Random:
    """Knows nothing, and is what the others are measured by."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    def select(self, replicas: Sequence[Candidate], request: SelectionRequest) -> Candidate | None:
        """See `ISelectionPolicy.select`."""
        return replicas[self._rng.randrange(len(replicas))]


random = Factory(
    "selection",
    "random",
    "Any available replica.",
    lambda options, context: Random(context.rng),
)
