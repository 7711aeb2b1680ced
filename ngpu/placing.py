"""Placement: what a copy of a workspace needs, what a node has left, and the port of those who choose among nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zope.interface import Interface

from ngpu.model import Node


@dataclass(frozen=True, slots=True)
class Demand:
    """What one copy needs: GPUs (``gpu_type`` "" for any, ``gpu_memory`` of each), memory, labels a node must have.

    ``ports`` are those of the host that it is pinned to, ``image`` is what it is made of, "" where that is not known
    yet. Sizes are bytes.
    """

    workspace: str
    gpus: int = 0
    gpu_type: str = ""
    gpu_memory: int = 0
    memory: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    image: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """A node that has room for one more copy, as a placement policy sees it.

    ``copies`` are those of the workspace in question, ``others`` those of all others; ``gpus_free`` and
    ``memory_free`` are as they stand before the copy, the latter 0 too where the node's memory is not known.
    ``has_image``: it would start at once.
    """

    node: Node
    copies: int = 0
    others: int = 0
    gpus_free: int = 0
    memory_free: int = 0
    has_image: bool = False


class IPlacementPolicy(Interface):
    """Prefers nodes for copies. The core has left out the nodes that cannot take the copy."""

    def cost(offer: Offer, demand: Demand) -> tuple[float, ...]:
        """What taking this offer costs, in numbers that compare one after another; the least wins.

        Equal costs are told apart by the node's address. A cost that raises, or is none, leaves the copy unplaced.
        Pure, the same for equal arguments. It depends on the offer and the demand alone, so that after each copy only
        the node that got it has to be asked about again.
        """
