"""Nodes with room, and what a copy needs, as a placement policy sees them, without a fleet."""

from __future__ import annotations

from collections.abc import Mapping

from ngpu.model import Gpus, Node
from ngpu.placing import Demand, Offer
from ngpu.testing.candidates import WORKSPACE

GIB = 1 << 30


def offer(
    name: str,
    copies: int = 0,
    others: int = 0,
    gpus_free: int = 0,
    memory_free: int = 0,
    has_image: bool = False,
    weight: int = 1,
    gpus: Gpus | None = None,
    labels: Mapping[str, str] | None = None,
) -> Offer:
    """A node of that name that has room for one more copy.

    :param gpus: all that it has; as many as are free by default.
    """
    node = Node(
        f"0x{name}", "127.0.0.1", gpus or Gpus("RTX 3090" if gpus_free else "", gpus_free), labels or {}, weight
    )
    return Offer(node, copies, others, gpus_free, memory_free, has_image)


def demand(gpus: int = 1, memory: int = 0, gpu_type: str = "", image: str = "", ports: tuple[int, ...] = ()) -> Demand:
    """What a copy needs."""
    return Demand(WORKSPACE, gpus, gpu_type, 0, memory, {}, ports, image)
