"""Which node gets which copy: what cannot take one never does, what can is chosen the same way every time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from ngpu.discovery import discover
from ngpu.errors import PolicyFailed
from ngpu.fleet.placement import NodeState, Occupant, Placed, place
from ngpu.interfaces import PluginContext
from ngpu.model import Gpus, Node
from ngpu.placing import Demand, Offer

GIB = 1 << 30
PLUGINS = discover([])
POLICIES = {
    name: PLUGINS.make("placement", name, {}, PluginContext(Clock(), Random(1), "."))
    for name in PLUGINS.names("placement")
}
SPREAD, PACK = POLICIES["spread"], POLICIES["pack"]


def node(name: str, gpus: int = 0, weight: int = 1, kind: str = "RTX 3090", **more: Any) -> NodeState:
    labels = more.pop("labels", {})
    held = Gpus(kind, gpus, more.pop("gpu_memory", 24 * GIB)) if gpus else Gpus()
    return NodeState(Node(f"0x{name}", "h", held, labels, weight), tuple(map(str, range(gpus))), **more)


def fleet(*states: NodeState) -> Mapping[str, NodeState]:
    return {state.node.address.removeprefix("0x"): state for state in states}


def on(placed: Placed) -> dict[str, int]:
    """How many copies each node got."""
    return dict(Counter(spot.node for spot in placed.spots))


# --- what a node cannot take --------------------------------------------------------------------------------------

TAKEN = Occupant("other", ("0",), 6 * GIB, (8080,))


@pytest.mark.parametrize(
    ("state", "demand", "said"),
    [
        (node("a", 2, occupants=(TAKEN,)), Demand("w", 2, "RTX 3090"), "needs 2 free GPUs of type RTX 3090, has 1"),
        (node("a", 1, occupants=(TAKEN,)), Demand("w", 1), "needs 1 free GPU, has 0"),
        (node("a"), Demand("w", 1, "RTX 3090"), "needs 1 GPU of type RTX 3090, has none"),
        (node("a", 8, kind="A100"), Demand("w", 1, "RTX 3090"), "needs 1 GPU of type RTX 3090, has A100"),
        (
            node("a", 8, kind=""),
            Demand("w", 1, "RTX 3090"),
            "needs 1 GPU of type RTX 3090, has GPUs whose type is not said (nodes[].gpus.type)",
        ),
        (node("a", 1), Demand("w", 1, gpu_memory=80 * GIB), "needs GPUs with 80GiB each, has 24GiB"),
        (
            node("a", 1, gpu_memory=0),
            Demand("w", 1, gpu_memory=1536 << 20),
            "needs GPUs with 1.5GiB each, has GPUs whose memory is not said (nodes[].gpus.memory)",
        ),
        (
            node("a", memory=8 * GIB, occupants=(TAKEN,)),
            Demand("w", memory=3 * GIB),
            "needs 3GiB of free memory, has 2GiB",
        ),
        (
            node("a", memory=4 * GIB, occupants=(TAKEN,)),
            Demand("w", memory=1),
            "needs 1B of free memory, has 0B",
        ),
        (
            node("a", labels={"area": "us"}),
            Demand("w", labels={"area": "eu"}),
            "needs the label area: eu, has area: us",
        ),
        (node("a"), Demand("w", labels={"area": "eu"}), "needs the label area: eu, has none"),
        (node("a", closed="it is drained"), Demand("w", 1, labels={"area": "eu"}), "it is drained"),
        (
            node("a", occupants=(TAKEN,)),
            Demand("w", ports=(8080,)),
            "needs port 8080 of the host, which a copy of another workspace has",
        ),
        (
            node("a", occupants=(replace(TAKEN, workspace="w"),)),
            Demand("w", ports=(9, 8080)),
            "needs port 8080 of the host, which a copy of this workspace has",
        ),
        (
            node("a", 1, memory=GIB, occupants=(TAKEN,)),
            Demand("w", 1, "", 0, 2 * GIB, {"area": "eu"}, (8080,)),
            "needs the label area: eu, has none; needs 1 free GPU, has 0; needs 2GiB of free memory, has 0B; "
            "needs port 8080 of the host, which a copy of another workspace has",
        ),
    ],
)
def test_a_node_that_cannot_take_a_copy_says_why(state: NodeState, demand: Demand, said: str) -> None:
    other = node("b", 8, kind="H100", closed="it has been away for 3m")
    placed = place(demand, 1, fleet(state, other), SPREAD)
    assert placed.spots == () and placed.refused == {"a": said, "b": "it has been away for 3m"}
    assert placed.nodes == fleet(state, other)


@pytest.mark.parametrize(
    ("state", "demand"),
    [
        (node("a", 2, occupants=(TAKEN,)), Demand("w", 1, "rtx  3090", 24 * GIB)),
        (node("a", 1, kind="A100"), Demand("w", 1)),
        (node("a"), Demand("w", 0, "RTX 3090", 80 * GIB)),
        (node("a", memory=8 * GIB, occupants=(TAKEN,)), Demand("w", memory=2 * GIB)),
        (node("a", memory=0, occupants=(TAKEN,)), Demand("w", memory=200 * GIB)),
        (node("a", memory=GIB, occupants=(TAKEN,)), Demand("w")),
        (node("a", labels={"area": "eu", "rack": "7"}), Demand("w", labels={"area": "eu"})),
        (node("a", occupants=(TAKEN,)), Demand("w", ports=(8081,))),
        (node("a", occupants=(TAKEN,), machines=2), Demand("w", ports=(8080,))),
    ],
)
def test_a_node_that_just_fits_is_taken(state: NodeState, demand: Demand) -> None:
    placed = place(demand, 1, fleet(state), SPREAD)
    assert [spot.node for spot in placed.spots] == ["a"] and not placed.refused
    assert placed.nodes["a"].occupants[-1].workspace == "w"


def test_copies_on_one_node_get_gpus_of_their_own() -> None:
    ids = replace(node("a", 4), gpu_ids=("GPU-a", "GPU-b", "GPU-c", "GPU-d"), occupants=(Occupant("x", ("GPU-b",)),))
    placed = place(Demand("w", 1), 3, fleet(ids), SPREAD)
    assert [spot.gpu_ids for spot in placed.spots] == [("GPU-a",), ("GPU-c",), ("GPU-d",)]
    again = place(Demand("v", 1), 1, placed.nodes, SPREAD)
    assert not again.spots and again.refused == {"a": "needs 1 free GPU, has 0"}


def test_a_pinned_port_allows_one_copy_a_node_and_one_a_machine_of_a_swarm() -> None:
    nodes = fleet(node("a"), node("b", machines=3))
    placed = place(Demand("w", ports=(8080,)), 5, nodes, SPREAD)
    assert on(placed) == {"a": 1, "b": 3}
    assert set(placed.refused.values()) == {"needs port 8080 of the host, which a copy of this workspace has"}


def test_only_so_many_as_there_is_room_for_are_placed_and_every_node_says_why_not_more() -> None:
    placed = place(Demand("w", 2, "RTX 3090"), 9, fleet(node("a", 5), node("b", 3), node("c", 1)), SPREAD)
    assert on(placed) == {"a": 2, "b": 1}
    assert placed.refused == dict.fromkeys("abc", "needs 2 free GPUs of type RTX 3090, has 1")


# --- which node it is ---------------------------------------------------------------------------------------------


def test_spread_fills_nodes_that_have_no_copy_first_whatever_their_weight() -> None:
    """Losing a machine should cost one copy, even where one machine could take them all."""
    nodes = fleet(node("a", 8, weight=9), node("b", 8), node("c", 8))
    assert on(place(Demand("w", 1), 3, nodes, SPREAD)) == {"a": 1, "b": 1, "c": 1}


def test_spread_goes_by_weight_once_every_node_has_one() -> None:
    placed = place(Demand("w"), 8, fleet(node("a", weight=3), node("b")), SPREAD)
    assert on(placed) == {"a": 6, "b": 2}


def test_spread_keeps_an_eye_on_the_copies_of_others() -> None:
    """Else every workspace of one copy would start on the same machine."""
    nodes = fleet(*(node(name) for name in "abcd"))
    for number in range(8):
        nodes = place(Demand(f"w{number}"), 1, nodes, SPREAD).nodes
    assert [len(state.occupants) for state in nodes.values()] == [2, 2, 2, 2]


def test_an_image_that_is_there_is_preferred_and_never_piles_copies_up() -> None:
    nodes = fleet(node("a"), node("b"), node("c", images=frozenset({"i", "j"})))
    assert on(place(Demand("w", image="i"), 1, nodes, SPREAD)) == {"c": 1}
    assert on(place(Demand("w", image="k"), 1, nodes, SPREAD)) == {"a": 1}
    assert on(place(Demand("w", image="i"), 3, nodes, SPREAD)) == {"a": 1, "b": 1, "c": 1}
    for number in range(9):
        nodes = place(Demand(f"w{number}", image="i"), 1, nodes, SPREAD).nodes
    assert max(len(state.occupants) for state in nodes.values()) <= 4


def test_what_needs_no_gpu_leaves_them_to_what_does() -> None:
    nodes = fleet(node("a", 8), node("b"))
    for policy in POLICIES.values():
        assert on(place(Demand("w", 0), 1, nodes, policy)) == {"b": 1}


def test_pack_uses_as_few_nodes_as_will_do_and_keeps_whole_ones_free() -> None:
    nodes = fleet(node("a", 8), node("b", 4), node("c", 8))
    placed = place(Demand("w", 1), 6, nodes, PACK)
    assert on(placed) == {"b": 4, "a": 2}
    assert on(place(Demand("v", 8), 1, placed.nodes, PACK)) == {"c": 1}
    memory = fleet(node("a", memory=64 * GIB), node("b", memory=64 * GIB))
    assert on(place(Demand("w", memory=16 * GIB), 4, memory, PACK)) == {"a": 4}


# --- always -------------------------------------------------------------------------------------------------------

OCCUPANTS = st.builds(
    Occupant,
    st.sampled_from(["w", "x", "y"]),
    st.lists(st.sampled_from("0123"), unique=True, max_size=2).map(tuple),
    st.integers(0, 8),
    st.sampled_from([(), (80,), (80, 81)]),
)
STATES = st.builds(
    lambda name, gpus, weight, memory, occupants, images, label, machines, closed: node(
        name,
        gpus,
        weight,
        memory=memory,
        occupants=tuple(occupants),
        images=frozenset(images),
        labels={"area": label},
        machines=machines,
        closed=closed,
    ),
    st.uuids().map(str),
    st.integers(0, 5),
    st.integers(1, 3),
    st.integers(0, 40),
    st.lists(OCCUPANTS, max_size=3),
    st.sets(st.sampled_from("ij")),
    st.sampled_from(["eu", "us"]),
    st.integers(1, 2),
    st.sampled_from(["", "", "", "it is drained"]),
)
FLEETS = st.lists(STATES, max_size=7).map(lambda states: fleet(*states))
DEMANDS = st.builds(
    lambda gpus, memory, labels, ports, image: Demand("w", gpus, "", 0, memory, labels, ports, image),
    st.integers(0, 3),
    st.integers(0, 8),
    st.sampled_from([{}, {"area": "eu"}]),
    st.sampled_from([(), (), (80,), (81,)]),
    st.sampled_from(["", "i"]),
)
NAMES = st.sampled_from(sorted(POLICIES))


@given(NAMES, FLEETS, DEMANDS, st.integers(0, 12))
@settings(deadline=None)
def test_no_node_gets_more_than_it_has_and_no_copy_is_one_too_many(
    name: str, nodes: Mapping[str, NodeState], demand: Demand, count: int
) -> None:
    placed = place(demand, count, nodes, POLICIES[name])
    assert len(placed.spots) <= count and bool(placed.refused) == (len(placed.spots) < count and bool(nodes))
    for key, state in placed.nodes.items():
        before, added = nodes[key], state.occupants[len(nodes[key].occupants) :]
        assert state.occupants[: len(before.occupants)] == before.occupants
        assert [each.gpu_ids for each in added] == [spot.gpu_ids for spot in placed.spots if spot.node == key]
        if not added:
            assert state == before
            continue
        assert not state.closed and demand.labels.items() <= state.node.labels.items()
        held = {gpu for each in before.occupants for gpu in each.gpu_ids}
        given = [gpu for each in added for gpu in each.gpu_ids]
        assert len(set(given)) == len(given) == demand.gpus * len(added) and not held & set(given)
        assert set(given) <= set(state.gpu_ids)
        if state.memory and demand.memory:
            assert sum(each.memory for each in state.occupants) <= state.memory
        for port in demand.ports:
            assert sum(port in each.ports for each in state.occupants) <= state.machines


@given(NAMES, FLEETS, DEMANDS, st.integers(0, 12))
@settings(deadline=None)
def test_whatever_is_refused_really_has_no_room(
    name: str, nodes: Mapping[str, NodeState], demand: Demand, count: int
) -> None:
    """Every copy that could stand somewhere does: each node that refuses, asked alone, refuses too."""
    placed = place(demand, count, nodes, POLICIES[name])
    for key, why in placed.refused.items():
        assert why and place(demand, 1, {key: placed.nodes[key]}, POLICIES[name]).refused == {key: why}


@given(NAMES, FLEETS, DEMANDS, st.integers(0, 6), st.integers(0, 6), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_one_more_moves_no_other_and_the_order_of_the_nodes_means_nothing(
    name: str, nodes: Mapping[str, NodeState], demand: Demand, count: int, more: int, rng: Random
) -> None:
    policy = POLICIES[name]
    whole = place(demand, count + more, nodes, policy)
    shuffled = dict(rng.sample(sorted(nodes.items()), len(nodes)))
    assert place(demand, count + more, shuffled, policy).spots == whole.spots
    first = place(demand, count, nodes, policy)
    then = place(demand, more, first.nodes, policy)
    assert (*first.spots, *then.spots) == whole.spots and then.nodes == whole.nodes


@given(st.integers(1, 8), st.integers(0, 30), st.sets(st.integers(0, 7)))
@settings(deadline=None)
def test_spread_differs_by_one_copy_at_most_where_there_is_room(
    machines: int, count: int, with_image: set[int]
) -> None:
    nodes = fleet(
        *(node(f"{each}", 30, images=frozenset("i" if each in with_image else "")) for each in range(machines))
    )
    per_node = Counter(spot.node for spot in place(Demand("w", 1, image="i"), count, nodes, SPREAD).spots)
    shares = [per_node[key] for key in nodes]
    assert sum(shares) == count and max(shares) - min(shares) <= 1


# --- policies that misbehave, and time ----------------------------------------------------------------------------


class Bad:
    """A policy that answers as it is told."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def cost(self, offer: Offer, demand: Demand) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class Wordless(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise ZeroDivisionError


BAD = (None, 1.0, [1], ("a",), (float("nan"),), (None,), ValueError("no"), KeyError(), Wordless(), SystemExit(3))


@pytest.mark.parametrize("answer", BAD)
def test_a_policy_that_breaks_its_contract_places_nothing_and_is_told(answer: Any) -> None:
    with pytest.raises(PolicyFailed, match=r"the placement policy .* node 0xa"):
        place(Demand("w"), 1, fleet(node("a")), Bad(answer))


def test_a_thousand_copies_on_ten_thousand_nodes_are_a_matter_of_milliseconds() -> None:
    """`bench/placement.py` has the figure, about 0.1 s; the bound here only tells squares from lines."""
    nodes = fleet(*(node(f"{number:x}", 4) for number in range(10_000)))
    begun = time.process_time()
    assert len(place(Demand("w", 1), 1000, nodes, SPREAD).spots) == 1000
    assert time.process_time() - begun < 5
