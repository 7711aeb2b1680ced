"""Selection policy ``fastest``: of the replicas that are not busier than others, the one with the shortest calls."""

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
class Fastest:
    """Draws some replicas, leaves out those that are hot, and takes the fastest of the others.

    Hot is what has more calls in flight per slot than ``cold`` per cent of them. In the spirit of Prequal (Wydrowski
    and others, NSDI 2024), without its probes: the gateway hands out the slots, and knows what is in flight.

    :param sample: how many are drawn.
    :param cold: per cent of these that are not hot, at least.
    """

    def __init__(self, sample: int, cold: int, rng: Random) -> None:
        self._sample = sample
        self._cold = cold
        self._rng = rng

    def select(self, replicas: Sequence[Candidate], request: SelectionRequest) -> Candidate | None:
        """See `ISelectionPolicy.select`."""
        if len(replicas) == 1:
            return replicas[0]
        count = min(self._sample, len(replicas))
        drawn = [replicas[index] for index in self._rng.sample(range(len(replicas)), count)]
        limit = sorted(map(_share, drawn))[(count - 1) * self._cold // 100]
        return min((each for each in drawn if _share(each) <= limit), key=lambda each: each.latency or 0.0)


def _share(candidate: Candidate) -> float:
    return candidate.in_flight / candidate.replica.slots


def _make(options: Mapping[str, Any], context: PluginContext) -> Fastest:
    sample = read.whole(options, "sample", 16, least=2, most=100)
    return Fastest(sample, read.whole(options, "cold", 50, least=0, most=100), context.rng)


fastest = Factory(
    "selection",
    "fastest",
    "Of some replicas drawn at random, and not busier than half of them, the one with the shortest calls.",
    _make,
    (
        Option("sample", "how many are drawn", 16, "replicas"),
        Option("cold", "how many of these count as not busy; 0: the least busy only", 50, "per cent"),
    ),
)
