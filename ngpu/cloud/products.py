"""What can be rented: the kinds of GPU that the nodes with an engine have. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ngpu.settings import NodeSettings

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Product:
    """A kind of GPU; one of it is what ``--gpus all`` gets. ``gpu`` "" and no memory: machines without any.

    ``video_memory`` and ``memory`` are bytes, of a GPU and of the smallest machine (0: not said); ``most`` is how many
    GPUs the largest machine has, ``nodes`` how many machines there are.
    """

    id: str
    gpu: str
    video_memory: int
    memory: int
    most: int
    nodes: int
    areas: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people."""
        if not self.most:
            return "CPU"
        memory = f" {self.video_memory // _GIB}G" if self.video_memory >= _GIB else ""
        return (self.gpu or "GPU") + memory


def products(nodes: Sequence[NodeSettings]) -> tuple[Product, ...]:
    """The products of these nodes. A product keeps its id for as long as some node has its kind of GPU."""
    kinds: dict[tuple[str, int], list[NodeSettings]] = {}
    for node in nodes:
        if node.engine is not None:
            gpus = node.gpus
            kinds.setdefault((gpus.type, gpus.memory) if gpus.count else ("", 0), []).append(node)
    found = [_product(*kind, having) for kind, having in kinds.items()]
    return tuple(sorted(found, key=lambda product: (not product.most, product.name)))


def _product(gpu: str, video_memory: int, nodes: Sequence[NodeSettings]) -> Product:
    most = max(node.gpus.count for node in nodes)
    digest = hashlib.sha256(f"{gpu}\0{video_memory}\0{bool(most)}".encode()).digest()
    return Product(
        id=str(100_000 + int.from_bytes(digest[:8]) % 900_000_000),
        gpu=gpu,
        video_memory=video_memory,
        memory=min(node.memory for node in nodes),
        most=most,
        nodes=len(nodes),
        areas=tuple(sorted({node.labels["area"] for node in nodes if "area" in node.labels})),
    )


def product_row(product: Product) -> dict[str, Any]:
    """A line of product/list. Memory is in GiB; what ngpu does not know is 0, and prices are: it sends no bills."""
    kind, _, model = product.gpu.rpartition(" ")
    return {
        "id": int(product.id),
        "product_name": product.name,
        "gpu_name": product.gpu,
        "gpu_type": kind or product.gpu,
        "gpu_model": model,
        "video_memory": product.video_memory // _GIB,
        "core_num": 0,
        "memory": product.memory // _GIB,
        "storage": 0,
        "net_band": 0,
        "operating_system": "Linux",
        "hour_price": 0,
        "week_price": 0,
        "month_price": 0,
        "area": ",".join(product.areas) or "*",
        "description": f"{_count(product.nodes, 'machine')} with {_count(product.most, 'GPU')} at most",
    }


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
