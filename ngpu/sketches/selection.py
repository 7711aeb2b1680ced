"""Selection policy ``example``: the least busy of a few replicas, drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from zope.interface import implementer

from ngpu import options as read
from ngpu.interfaces import ISelectionPolicy, Option, PluginContext
from ngpu.model import Candidate, SelectionRequest
from ngpu.plugin import Factory


@implementer(ISelectionPolicy)
class Example:
    """Draws so many replicas, and takes the one with the smallest share of its slots in use."""

    def __init__(self, sample: int, rng: Random) -> None:
        self._sample = sample
        self._rng = rng

    def select(self, replicas: Sequence[Candidate], request: SelectionRequest) -> Candidate | None:
        """See `ISelectionPolicy.select`."""
        drawn = self._rng.sample(replicas, min(self._sample, len(replicas)))
        return min(drawn, key=lambda candidate: candidate.in_flight / candidate.replica.slots)


def _make(options: Mapping[str, Any], context: PluginContext) -> Example:
    return Example(read.whole(options, "sample", 2, least=1, most=100), context.rng)


example = Factory(
    "selection",
    "example",
    "The least busy of a few replicas that are drawn at random.",
    _make,
    (Option("sample", "how many are drawn", 2, "replicas"),),
)
