"""How long placing copies takes: a thousand copies on ten thousand nodes, by the policies of the house.

``python bench/placement.py``; pure functions, nothing else runs. The best of several rounds counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from ngpu.discovery import discover
from ngpu.fleet.placement import NodeState, Occupant, place
from ngpu.interfaces import PluginContext
from ngpu.model import Gpus, Node
from ngpu.placing import Demand

NODES, COPIES, ROUNDS = 10_000, 1_000, 5
GIB = 1 << 30
TYPES = ("RTX 3090", "RTX 4090", "A100")


def fleet(count: int) -> Mapping[str, NodeState]:
    """Nodes of three kinds, about half of their GPUs in use, in three areas."""
    rng, nodes = Random(1), {}
    for number in range(count):
        kind, gpus = TYPES[number % 3], (1, 2, 4, 8)[number % 4]
        node = Node(
            f"0x{number:040x}", "127.0.0.1", Gpus(kind, gpus, 24 * GIB), {"area": ("eu", "us", "as")[number % 3]}
        )
        ids = tuple(map(str, range(gpus)))
        held = tuple(Occupant(f"w{rng.randrange(5000)}", (gpu,), 8 * GIB) for gpu in ids if rng.random() < 0.5)
        images = frozenset({"image"}) if rng.random() < 0.1 else frozenset[str]()
        nodes[f"{number:040x}"] = NodeState(node, ids, 256 * GIB, held, images)
    return nodes


def best(what: Callable[[], Any]) -> float:
    """Milliseconds of the fastest round."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        what()
        times.append((time.perf_counter() - begun) * 1000)
    return min(times)


def main() -> None:
    """Measure."""
    nodes, plugins = fleet(NODES), discover([])
    demand = Demand("w", 1, memory=8 * GIB, image="image")
    narrow = Demand("w", 2, "rtx 3090", 24 * GIB, 8 * GIB, {"area": "eu"}, (), "image")
    nowhere = Demand("w", 1, "H100")
    for name in plugins.names("placement"):
        policy = plugins.make("placement", name, {}, PluginContext(None, Random(1), "."))
        assert len(place(demand, COPIES, nodes, policy).spots) == COPIES
        assert len(place(nowhere, 1, nodes, policy).refused) == NODES
        for said, asked, count in (
            (f"{COPIES:,} copies of 1 GPU", demand, COPIES),
            (f"{COPIES:,} copies of 2 GPUs, a type, a label", narrow, COPIES),
            ("1 copy", demand, 1),
            ("1 copy that fits nowhere, with reasons", nowhere, 1),
        ):
            took = best(lambda: place(asked, count, nodes, policy))  # noqa: B023  # called before the next turn
            print(f"{name:<8} {said:<42} on {NODES:,} nodes {took:>8.1f} ms")


if __name__ == "__main__":
    main()
