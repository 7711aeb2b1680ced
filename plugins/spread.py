"""Placement policy ``spread``: every node gets a copy before one gets a second."""

from __future__ import annotations

from zope.interface import implementer

from ngpu.placing import Demand, IPlacementPolicy, Offer
from ngpu.plugin import Factory

PULL = 1
"""How many copies of others a node may have more than another one, for having the image already."""


@implementer(IPlacementPolicy)
class Spread:
    """The node with the fewest copies of the workspace, then with the least work for its weight.

    Nodes without a copy come first whatever their weight is, so that losing one node costs one copy. An image that is
    there tips the scales only between nodes that are about equally busy: it would draw everything to one otherwise.
    """

    def cost(self, offer: Offer, demand: Demand) -> tuple[float, ...]:
        """See `IPlacementPolicy.cost`."""
        weight = offer.node.weight
        pull = 0 if offer.has_image else PULL
        return (
            offer.copies > 0,
            (offer.copies + 1) / weight if offer.copies else 0,
            (offer.others + 1 + pull) / weight,
            pull,
            # what needs no GPU leaves the nodes that have free ones to what does
            -offer.gpus_free if demand.gpus else offer.gpus_free,
            -offer.memory_free,
        )


spread = Factory(
    "placement",
    "spread",
    "Every node gets a copy before one gets a second; then the node with the least work for its weight.",
    lambda options, context: Spread(),
)
