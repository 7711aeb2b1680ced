"""Placement policy ``example``: keeps some GPUs of every node free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from ngpu import options as read
from ngpu.interfaces import Option, PluginContext
from ngpu.placing import Demand, IPlacementPolicy, Offer
from ngpu.plugin import Factory


@implementer(IPlacementPolicy)
class Example:
    """A node that keeps its reserve comes before one that does not; then the one with the fewest copies."""

    def __init__(self, reserve: int) -> None:
        self._reserve = reserve

    def cost(self, offer: Offer, demand: Demand) -> tuple[float, ...]:
        """See `IPlacementPolicy.cost`."""
        return offer.gpus_free - demand.gpus < self._reserve, offer.copies, offer.others


def _make(options: Mapping[str, Any], context: PluginContext) -> Example:
    return Example(read.whole(options, "reserve", 1, least=0, most=1000))


example = Factory(
    "placement",
    "example",
    "Keeps some GPUs of every node free, for as long as it can.",
    _make,
    (Option("reserve", "how many each node keeps", 1, "GPUs"),),
)
