"""Which node gets which copy: what cannot take it is left out here, what is left is a placement policy's choice."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ngpu.errors import PolicyFailed
from ngpu.families import Broken, described
from ngpu.model import Node
from ngpu.placing import Demand, IPlacementPolicy, Offer
from ngpu.settings import units


@dataclass(frozen=True, slots=True)
class Occupant:
    """What a copy holds of its node from the moment it is meant for it until its container is gone.

    ``memory`` is bytes, ``ports`` are those of the host that it is pinned to.
    """

    workspace: str
    gpu_ids: tuple[str, ...] = ()
    memory: int = 0
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node as placement sees it.

    ``gpu_ids`` names its GPUs as the container runtime does. ``memory`` is the bytes that copies may ask for in all, 0
    where that is not known: nothing is checked then. ``machines`` is over how many its engine spreads containers.
    ``closed`` says why it takes no copy at all, "" where it does.
    """

    node: Node
    gpu_ids: tuple[str, ...] = ()
    memory: int = 0
    occupants: tuple[Occupant, ...] = ()
    images: frozenset[str] = frozenset()
    machines: int = 1
    closed: str = ""


class Spot(NamedTuple):
    """Where a copy goes: the node's key, and the GPUs that are its own there."""

    node: str
    gpu_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """What came of placing copies: a spot for each that found one, in order, and the nodes with them on it.

    ``refused`` is empty unless a copy found no spot; then it says of every node why not, each a sentence.
    """

    spots: tuple[Spot, ...]
    nodes: Mapping[str, NodeState]
    refused: Mapping[str, str]


def place(demand: Demand, count: int, nodes: Mapping[str, NodeState], policy: IPlacementPolicy) -> Placed:
    """Find spots for ``count`` more copies of a workspace; those that are there already stay where they are.

    The same for equal arguments, and one copy more changes nothing about those before it: O((nodes + count) log nodes).

    :param nodes: by the node's key (`ngpu.model.node_key`), which also decides between nodes that the policy likes
        equally.
    :raises PolicyFailed: the policy raised, or named no cost.
    """
    rooms = {key: _Room(state, demand) for key, state in nodes.items()}
    heap = [(room.cost(policy), key) for key, room in rooms.items() if room.fits()]
    heapq.heapify(heap)
    spots: list[Spot] = []
    while heap and len(spots) < count:
        _, key = heap[0]
        room = rooms[key]
        spots.append(Spot(key, room.take()))
        if room.fits():
            heapq.heapreplace(heap, (room.cost(policy), key))
        else:
            heapq.heappop(heap)
    taken = {spot.node for spot in spots}
    refused = {} if len(spots) >= count else {key: "; ".join(room.lacks()) for key, room in rooms.items()}
    return Placed(tuple(spots), {key: rooms[key].state() if key in taken else nodes[key] for key in nodes}, refused)


class _Room:
    """What one node has left for copies of one demand, while they are placed."""

    __slots__ = ("_copies", "_demand", "_free", "_memory", "_others", "_pinned", "_state", "_taken", "_useful")

    def __init__(self, state: NodeState, demand: Demand) -> None:
        self._state = state
        self._demand = demand
        self._taken: list[Occupant] = []
        self._memory = state.memory
        self._copies = self._others = 0
        self._pinned: dict[int, list[str]] = {}
        used: set[str] = set()
        for occupant in state.occupants:
            self._memory -= occupant.memory
            if occupant.workspace == demand.workspace:
                self._copies += 1
            else:
                self._others += 1
            used.update(occupant.gpu_ids)
            self._pin(occupant)
        self._free = [each for each in state.gpu_ids if each not in used] if used else list(state.gpu_ids)
        self._useful = not state.closed and suits(demand, state.node)

    def _pin(self, occupant: Occupant) -> None:
        for port in occupant.ports:
            self._pinned.setdefault(port, []).append(occupant.workspace)

    def fits(self) -> bool:
        """Whether it takes one more copy."""
        demand, state = self._demand, self._state
        return (
            self._useful
            and demand.gpus <= len(self._free)
            and (not state.memory or demand.memory <= max(self._memory, 0))
            and all(len(self._pinned.get(port, ())) < state.machines for port in demand.ports)
        )

    def cost(self, policy: IPlacementPolicy) -> tuple[float, ...]:
        """What the policy says of it as it stands now."""
        state, demand = self._state, self._demand
        offer = Offer(
            state.node,
            self._copies,
            self._others,
            len(self._free),
            max(self._memory, 0),
            bool(demand.image) and demand.image in state.images,
        )
        try:
            cost = policy.cost(offer, demand)
        except Broken as error:
            why = f"the placement policy failed over node {state.node.address} ({described(error)})"
            raise PolicyFailed(why) from error
        if type(cost) is not tuple or not all(isinstance(each, int | float) and each == each for each in cost):
            raise PolicyFailed(
                f"the placement policy gave no tuple of numbers as the cost of node {state.node.address}"
            )
        return cost

    def take(self) -> tuple[str, ...]:
        """One more copy is here now.

        :returns: its GPUs.
        """
        demand = self._demand
        gpu_ids = tuple(self._free[: demand.gpus])
        del self._free[: demand.gpus]
        self._memory -= demand.memory
        self._copies += 1
        occupant = Occupant(demand.workspace, gpu_ids, demand.memory, demand.ports)
        self._pin(occupant)
        self._taken.append(occupant)
        return gpu_ids

    def state(self) -> NodeState:
        """The node with what it has taken."""
        return replace(self._state, occupants=(*self._state.occupants, *self._taken))

    def lacks(self) -> Iterator[str]:
        """Why it takes no copy more, a sentence for each reason."""
        if self._state.closed:
            yield self._state.closed
            return
        yield from self._lacks_labels()
        yield from self._lacks_gpus()
        if self._state.memory and self._demand.memory > max(self._memory, 0):
            left = units.shown(max(self._memory, 0))
            yield f"needs {units.shown(self._demand.memory)} of free memory, has {left}"
        for port in self._demand.ports:
            holders = self._pinned.get(port, [])
            if len(holders) >= self._state.machines:
                ours = self._demand.workspace in holders
                whose = "a copy of this workspace" if ours else "a copy of another workspace"
                yield f"needs port {port} of the host, which {whose} has"

    def _lacks_labels(self) -> Iterator[str]:
        labels = self._state.node.labels
        for name, value in self._demand.labels.items():
            if labels.get(name) != value:
                yield f"needs the label {name}: {value}, has {f'{name}: {labels[name]}' if name in labels else 'none'}"

    def _lacks_gpus(self) -> Iterator[str]:
        demand, gpus = self._demand, self._state.node.gpus
        if not demand.gpus:
            return
        if not self._state.gpu_ids:
            yield f"needs {_gpus(demand)}, has none"
        elif not same_type(demand.gpu_type, gpus.type):
            yield f"needs {_gpus(demand)}, has {gpus.type or 'GPUs whose type is not said (nodes[].gpus.type)'}"
        elif gpus.memory < demand.gpu_memory:
            has = units.shown(gpus.memory) if gpus.memory else "GPUs whose memory is not said (nodes[].gpus.memory)"
            yield f"needs GPUs with {units.shown(demand.gpu_memory)} each, has {has}"
        elif demand.gpus > len(self._free):
            yield f"needs {_gpus(demand, 'free ')}, has {len(self._free)}"


def suits(demand: Demand, node: Node) -> bool:
    """Whether a node is of the kind that a copy needs, whatever is on it."""
    if any(node.labels.get(name) != value for name, value in demand.labels.items()):
        return False
    return not demand.gpus or (same_type(demand.gpu_type, node.gpus.type) and node.gpus.memory >= demand.gpu_memory)


def same_type(wanted: str, there: str) -> bool:
    """Whether GPUs of a node are of the type that is wanted, "" for any: in any case, however spaced."""
    return not wanted or _folded(wanted) == _folded(there)


def _folded(name: str) -> Sequence[str]:
    return name.casefold().split()


def _gpus(demand: Demand, which: str = "") -> str:
    noun = "GPU" if demand.gpus == 1 else "GPUs"
    return f"{demand.gpus} {which}{noun}" + (f" of type {demand.gpu_type}" if demand.gpu_type else "")
