"""What every `ISelectionPolicy` does that discovery finds, and what the two of the house promise beside it."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from ngpu.discovery import discover
from ngpu.interfaces import ISelectionPolicy, PluginContext
from ngpu.member import CallResult, Health, Member
from ngpu.model import Node, Replica, SelectionRequest
from ngpu.pool import Pool

NAMES = discover([]).names("selection")
OPTIONS = {"sticky": {"header": "X-Session"}}
NODE = Node("0x1", "h")
REQUEST = SelectionRequest("w", 8080, "/run", ((b"X-Session", b"1"),))


def policy(name: str, seed: int = 1) -> Any:
    return discover([]).make("selection", name, OPTIONS.get(name, {}), PluginContext(Clock(), Random(seed), "."))


def members(count: int, slots: int = 4) -> list[Member]:
    return [Member(Replica(f"r{number}", "w", NODE, {}, slots), health=Health.UP) for number in range(count)]


FIGURES = st.tuples(st.integers(0, 3), st.none() | st.floats(0, 1e6), st.none() | st.floats(0, 2e9))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_policy(name: str) -> None:
    assert verifyObject(ISelectionPolicy, policy(name))


@given(name=st.sampled_from(NAMES), figures=st.lists(FIGURES, min_size=1, max_size=8), rounds=st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_it_chooses_one_of_those_it_is_shown_and_changes_nothing(name: str, figures: Any, rounds: int) -> None:
    chooser, shown = policy(name), members(len(figures))
    for member, (in_flight, latency, last_used) in zip(shown, figures, strict=True):
        member.in_flight, member.latency, member.last_used = in_flight, latency, last_used
    for turn in range(rounds):
        some = shown[turn % len(shown) :] or shown
        shown_now = tuple(some)
        chosen = chooser.select(shown_now, REQUEST)
        assert chosen is None or any(chosen is one for one in shown_now)
        assert [(one.in_flight, one.latency, one.last_used) for one in shown] == figures


@pytest.mark.parametrize("name", NAMES)
def test_it_always_finds_the_only_one(name: str) -> None:
    chooser, (only,) = policy(name), members(1)
    assert all(chooser.select((only,), REQUEST) is only for _ in range(5))


@pytest.mark.parametrize("name", NAMES)
def test_nobody_among_equals_is_left_out_in_the_long_run(name: str) -> None:
    pool = Pool([one.replica for one in members(5)], policy(name))
    for one in pool.members.values():
        one.last_used = 0.0  # equals: none of them is cold
    for number in range(5):
        pool.checked(f"r{number}", True, "", 0.0)
    served: Counter[str] = Counter()
    for turn in range(1000):
        member = pool.take(REQUEST, float(turn))
        assert member is not None
        served[member.replica.id] += 1
        pool.give_back(member, CallResult.ANSWERED, 1.0, float(turn))
    assert len(served) == 5 and min(served.values()) > 100


@pytest.mark.parametrize("name", NAMES)
def test_a_burst_is_spread_over_equals(name: str) -> None:
    pool = Pool([one.replica for one in members(4, slots=8)], policy(name))
    for number in range(4):
        pool.checked(f"r{number}", True, "", 0.0)
    taken = Counter(member.replica.id for _ in range(16) if (member := pool.take(REQUEST, 0.0)))
    assert sum(taken.values()) == 16 and len(taken) == 4 and max(taken.values()) <= 8


def test_least_loaded_looks_at_the_share_of_slots_then_at_warmth() -> None:
    chooser = policy("least_loaded")
    large, small = (
        Member(Replica("l", "w", NODE, {}, 8), in_flight=3),
        Member(Replica("s", "w", NODE, {}, 2), in_flight=1),
    )
    assert chooser.select((large, small), REQUEST) is large
    cold, warm = members(2)
    warm.last_used = 5.0
    assert all(chooser.select((cold, warm), REQUEST) is warm for _ in range(10))
    warm.in_flight = 1
    assert chooser.select((cold, warm), REQUEST) is cold


def test_least_loaded_breaks_ties_at_random() -> None:
    shown = members(3)
    chosen = Counter(policy("least_loaded", seed).select(shown, REQUEST).replica.id for seed in range(300))
    assert len(chosen) == 3 and min(chosen.values()) > 50


def test_round_robin_goes_round_whatever_the_order_it_is_shown() -> None:
    chooser, shown, order = policy("round_robin"), members(3), []
    for turn in range(9):
        some = shown[turn % 3 :] + shown[: turn % 3]
        order.append(chooser.select(some, REQUEST).replica.id)
    assert order == ["r0", "r1", "r2"] * 3


def test_round_robin_gives_one_that_was_away_one_turn_and_no_more() -> None:
    chooser, shown = policy("round_robin"), members(3)
    for _ in range(6):
        chooser.select(shown[:2], REQUEST)
    assert [chooser.select(shown, REQUEST).replica.id for _ in range(4)] == ["r2", "r0", "r1", "r2"]
