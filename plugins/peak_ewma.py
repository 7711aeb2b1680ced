"""Selection policy ``peak_ewma``: the shortest expected wait, by call times that rise at once and fall slowly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random
from typing import Any

from ngpu import options as read
from ngpu.interfaces import Option, PluginContext
from ngpu.model import Candidate
from ngpu.plugin import Factory
from ngpu.selection import Ranked

LEAST = 1e-6
"""Seconds: no call time counts as less."""


class PeakEwma(Ranked):
    """Takes the least (calls in flight + 1) / slots × call time.

    The call time of a replica is its latest where that is higher than before, else it moves towards the latest; and
    between calls it falls, so that a slow replica is tried again. All fall at one pace, so their order stays as it is
    until one of them changes, and the logarithm of what a time will have fallen to can stand as its rank.

    :param decay: seconds in which a call time falls to 1/e.
    """

    def __init__(self, decay: float, clock: Any, rng: Random) -> None:
        super().__init__(rng)
        self._decay = decay
        self._clock = clock
        self._start = clock.seconds()
        self._costs: dict[str, tuple[float, float]] = {}

    def finished(self, candidate: Candidate, seconds: float) -> None:
        """See `IObservingPolicy.finished`."""
        now = self._clock.seconds() - self._start
        cost, at = self._costs.get(candidate.replica.id, (0.0, now))
        kept = math.exp(min(0.0, at - now) / self._decay)
        cost *= kept
        risen = seconds > cost
        self._costs[candidate.replica.id] = seconds if risen else cost + (1 - kept) * seconds, now

    def removed(self, candidate: Candidate) -> None:
        """See `IObservingPolicy.removed`."""
        self._costs.pop(candidate.replica.id, None)

    def rank(self, candidate: Candidate) -> tuple[bool, float]:
        """See `Ranked.rank`."""
        share = math.log((candidate.in_flight + 1) / candidate.replica.slots)
        if candidate.replica.id not in self._costs and candidate.latency is not None:
            self._costs[candidate.replica.id] = candidate.latency, self._clock.seconds() - self._start
        cost, at = self._costs.get(candidate.replica.id, (0.0, 0.0))
        return cost > 0, share + (math.log(max(cost, LEAST)) + at / self._decay if cost > 0 else 0.0)


def _make(options: Mapping[str, Any], context: PluginContext) -> PeakEwma:
    return PeakEwma(read.duration(options, "decay", "1m"), context.clock, context.rng)


peak_ewma = Factory(
    "selection",
    "peak_ewma",
    "The least calls in flight per slot times call time; slow calls count at once, and are forgotten slowly.",
    _make,
    (Option("decay", "how long a slow call is remembered: in that time it falls to 37 %", "1m", "duration"),),
)
