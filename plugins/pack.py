"""Placement policy ``pack``: as few nodes as will do."""

from __future__ import annotations

from zope.interface import implementer

from ngpu.placing import Demand, IPlacementPolicy, Offer
from ngpu.plugin import Factory


@implementer(IPlacementPolicy)
class Pack:
    """The node that has the fewest GPUs left, so that whole ones stay free for copies that need many.

    Among these one that works already, then the one with the least memory left, the busiest, one that has the image.
    """

    def cost(self, offer: Offer, demand: Demand) -> tuple[float, ...]:
        """See `IPlacementPolicy.cost`."""
        busy = offer.copies + offer.others
        return offer.gpus_free, busy == 0, offer.memory_free, -busy, not offer.has_image


pack = Factory(
    "placement",
    "pack",
    "As few nodes as will do: the one with the fewest GPUs left, then one that works already.",
    lambda options, context: Pack(),
)
