"""What each policy of the house promises beside its contract."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from crowd import NAMES, NODE, Crowd, policy
from twisted.internet.task import Clock

from ngpu.member import CallResult
from ngpu.model import Node
from ngpu.testing import candidate, request

ALL = [name for name in NAMES if name != "sticky"]


def test_the_house_has_these() -> None:
    assert set(NAMES) == {
        *("round_robin", "weighted", "random", "least_loaded", "power_of_two", "peak_ewma", "fastest", "sticky"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_one_that_fails_fast_is_never_preferred(name: str) -> None:
    """It is free again at once, each time; without a guard it would draw nearly everything. Now and then it succeeds,
    so that it does not simply rest.
    """
    clock = Clock()
    crowd = Crowd(policy(name, clock=clock), 5)
    running: list[tuple[float, Any]] = []
    served: Counter[str] = Counter()
    for turn in range(4000):
        crowd.now = turn * 0.5
        clock.advance(0.5)
        for ends, member in [each for each in running if each[0] <= crowd.now]:
            running.remove((ends, member))
            crowd.give(member, 2.0)
        while len(running) < 3:
            member = crowd.pool.take(request(affinity=f"s{turn % 7}"), crowd.now)
            assert member is not None
            served[member.replica.id] += 1
            if member.replica.id == "r0":
                crowd.give(member, 0.01, CallResult.ERRED if served["r0"] % 3 else CallResult.ANSWERED)
            else:
                running.append((crowd.now + 2.0, member))
    assert served["r0"] < 0.05 * sum(served.values()), served


@pytest.mark.parametrize("name", NAMES)
def test_one_that_failed_is_tried_again(name: str) -> None:
    clock = Clock()
    crowd = Crowd(policy(name, clock=clock), 2)
    for _ in range(3):
        member = crowd.pool.take_from("r0", crowd.now)
        assert member is not None
        crowd.give(member, 0.01, CallResult.ERRED)
    chosen = [crowd.call(session=f"u{turn}") for turn in range(2)]
    for turn in range(200):
        crowd.now += 5.0
        clock.advance(5.0)
        first = crowd.take(request(affinity=f"s{turn}"))
        second = crowd.take(request(affinity=f"t{turn}")) if turn % 10 == 9 else None
        for member in (first, second):
            if member is not None:
                chosen.append(member.replica.id)
                crowd.give(member, 1.0)
    assert chosen[:2] == ["r1", "r1"] and chosen.count("r0") >= 10


def test_weighted_takes_turns_by_weight_and_slots_smoothly() -> None:
    nodes = [Node("0x1", "h", weight=5), NODE, NODE]
    turns = Crowd(policy("weighted"), 3, nodes=nodes).calls(70)
    for start in range(0, 70, 7):
        assert Counter(turns[start : start + 7]) == {"r0": 5, "r1": 1, "r2": 1}
    assert "r0 r0 r0 r0" not in " ".join(turns[:7]), "spread among the others, not all at once"
    wide = Crowd(policy("weighted"), 2, slots=1)
    wide.pool.members["r1"].replica = candidate("r1", slots=3).replica
    wide.pool.checked("r1", True, "", 0.0)
    assert Counter(wide.calls(400))["r1"] == pytest.approx(300, abs=2)


def test_weighted_gives_one_that_was_away_one_turn_at_once_and_no_more() -> None:
    crowd = Crowd(policy("weighted"), 3)
    crowd.calls(6)
    crowd.pool.checked("r2", False, "down", 0.0)
    assert "r2" not in crowd.calls(30)
    crowd.pool.checked("r2", True, "", 0.0)
    assert crowd.calls(9).count("r2") in (3, 4)


def test_power_of_two_takes_the_better_of_two_that_are_drawn() -> None:
    busy, idle = candidate("busy", 1, 1.0, 1.0, slots=2), candidate("idle", 0, 1.0, 1.0, slots=2)
    assert {policy("power_of_two", seed).select([busy, idle], request()).replica.id for seed in range(20)} == {"idle"}
    slow = candidate("slow", 0, 9.0, 1.0, slots=2)
    assert {policy("power_of_two", seed).select([busy, slow], request()).replica.id for seed in range(20)} == {"busy"}
    cold, warm = candidate("cold"), candidate("warm", last_used=1.0)
    assert {policy("power_of_two", seed).select([cold, warm], request()).replica.id for seed in range(20)} == {"warm"}
    third = candidate("third", 0, 0.5, 1.0, slots=2)
    chosen = Counter(
        policy("power_of_two", seed).select([busy, idle, third], request()).replica.id for seed in range(300)
    )
    assert 0 < chosen["idle"] < chosen["third"] and chosen["busy"] == 0


def test_peak_ewma_believes_a_slow_call_at_once_and_forgets_it_slowly() -> None:
    clock = Clock()
    crowd = Crowd(policy("peak_ewma", clock=clock, decay="10s"), 2)

    def call(replica: str, seconds: float) -> None:
        member = crowd.pool.take_from(replica, clock.seconds())
        assert member is not None
        crowd.now = clock.seconds()
        crowd.give(member, seconds)

    for _ in range(20):
        call("r0", 1.0)
        call("r1", 1.5)
    assert crowd.calls(1) == ["r0"]
    call("r0", 8.0)
    for _ in range(10):
        assert crowd.call(1.5) == "r1"
        clock.advance(1.0)
    for _ in range(20):
        clock.advance(1.0)
        last = crowd.call(1.5)
    assert last == "r0", "8 s have fallen below 1.5 s after 17 s, and it is tried again"


def test_peak_ewma_weighs_what_is_in_flight() -> None:
    fast, slow = candidate("fast", 3, 1.0, 1.0, slots=8), candidate("slow", 0, 3.0, 1.0, slots=8)
    assert policy("peak_ewma").select([fast, slow], request()) is slow
    fast = candidate("fast", 1, 1.0, 1.0, slots=8)
    assert policy("peak_ewma").select([fast, slow], request()) is fast


def test_fastest_takes_the_fastest_that_is_not_hot() -> None:
    crowd = [candidate(f"r{n}", 1, 5.0 - n, 1.0, slots=4) for n in range(4)]
    assert policy("fastest").select(crowd, request()) is crowd[3]
    hot = candidate("hot", 3, 0.1, 1.0, slots=4)
    assert policy("fastest").select([*crowd, hot], request()) is crowd[3]
    idle = candidate("idle", 0, 9.0, 1.0, slots=4)
    assert policy("fastest", cold=0).select([*crowd, idle], request()) is idle
    assert policy("fastest", cold=100).select([*crowd, hot], request()) is hot


def test_fastest_draws_no_more_than_it_should() -> None:
    crowd = [candidate(f"r{n}", 0, 1.0 + n, 1.0) for n in range(100)]
    chosen = {policy("fastest", seed, sample=2).select(crowd, request()).replica.id for seed in range(200)}
    assert len(chosen) > 50


@pytest.mark.parametrize("name", ["fastest", "peak_ewma", "power_of_two"])
def test_among_machines_of_unequal_speed_the_fast_ones_get_more(name: str) -> None:
    clock = Clock()
    crowd = Crowd(policy(name, clock=clock), 6)
    served: Counter[str] = Counter()
    for _ in range(600):
        member = crowd.take()
        served[member.replica.id] += 1
        seconds = 1.0 if member.replica.id in ("r0", "r1") else 4.0
        crowd.now += seconds
        clock.advance(seconds)
        crowd.give(member, seconds)
    fast = served["r0"] + served["r1"]
    assert fast > (300 if name == "power_of_two" else 480)


@pytest.mark.parametrize("name", ALL)
def test_a_new_replica_gets_its_share_and_no_flood(name: str) -> None:
    clock = Clock()
    crowd = Crowd(policy(name, clock=clock), 5)
    crowd.pool.checked("r4", False, "starting", 0.0)
    for turn in range(200):
        crowd.now += 1.0
        clock.advance(1.0)
        crowd.call(1.0 + turn % 5 / 10)
    crowd.pool.checked("r4", True, "", crowd.now)
    first = []
    for _ in range(20):
        crowd.now += 1.0
        clock.advance(1.0)
        first.append(crowd.call(1.2))
    assert first.count("r4") <= 12
    busy = [crowd.take() for _ in range(5)]
    assert len({member.replica.id for member in busy}) == 5
