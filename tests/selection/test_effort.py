"""A choice among ten thousand looks at as few replicas as one among a hundred does, whatever the policy."""

from __future__ import annotations

import sys
from random import Random

import pytest
from crowd import NAMES, NODE, Crowd, Shown, Watched, asked_by, policy
from twisted.internet.task import Clock

from ngpu.member import CallResult
from ngpu.model import Replica
from ngpu.policy import IObservingPolicy

MOST = 16 * 8 + 1
"""Replicas that are looked at for one choice, the changes before it included: those that sticky's probes may find."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [100, 10_000])
def test_few_are_looked_at_for_a_choice(name: str, count: int) -> None:
    looked_at: set[str] = set()
    rng, clock = Random(3), Clock()
    fleet = [
        Watched(Replica(f"r{n}", "w", NODE, {}, 8), looked_at, rng.randrange(4), rng.uniform(0.5, 5))
        for n in range(count)
    ]
    chooser = policy(name, clock=clock)
    observes = IObservingPolicy.providedBy(chooser)
    for each in fleet if observes else ():
        chooser.changed(each)
    shown, most = Shown(fleet), 0
    for turn in range(100):
        looked_at.clear()
        chosen = chooser.select(shown, asked_by(f"s{turn}"))
        assert any(chosen is each for each in fleet)
        clock.advance(1.0)
        chosen.moves_on(rng)
        if observes:
            chooser.finished(chosen, 2.0)
            chooser.changed(chosen)
        most = max(most, len(looked_at))
    assert most <= (MOST if name == "sticky" else 20)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_policy_keeps_does_not_grow_with_the_calls(name: str) -> None:
    """Ranks come and go with each call; what they leave behind is tidied away."""

    def size(chooser: object) -> int:
        seen: set[int] = set()
        todo, total = [chooser], 0
        while todo:
            one = todo.pop()
            if id(one) in seen or isinstance(one, type) or type(one).__name__ in ("Member", "Clock", "Random"):
                continue
            seen.add(id(one))
            total += sys.getsizeof(one)
            if isinstance(one, dict):
                todo += [*one.keys(), *one.values()]
            elif isinstance(one, list | tuple | set):
                todo += one
            elif hasattr(one, "__dict__"):
                todo.append(vars(one))
        return total

    clock, rng = Clock(), Random(5)
    chooser = policy(name, clock=clock)
    crowd = Crowd(chooser, 20, slots=4)
    sizes = []
    for _ in range(3):
        for _ in range(2000):
            crowd.now += 0.1
            clock.advance(0.1)
            crowd.call(rng.uniform(0.5, 5.0), session=f"s{rng.randrange(50)}")
        sizes.append(size(chooser))
    assert sizes[2] <= 1.5 * sizes[0] + 1000


@pytest.mark.parametrize("name", NAMES)
def test_a_replica_that_is_removed_is_forgotten(name: str) -> None:
    chooser = policy(name)
    crowd = Crowd(chooser, 3)
    for turn in range(30):
        crowd.call(1.0 + turn % 3, session=f"s{turn}")
    crowd.pool.checked("r1", False, "gone", crowd.now)
    crowd.pool.chooser.removed(crowd.pool.members.pop("r1"), crowd.now)
    for turn in range(30):
        assert crowd.call(1.0, CallResult.ANSWERED, f"s{turn}") != "r1"
    kept = [each for value in vars(chooser).values() if isinstance(value, dict) for each in value]
    assert "r1" not in kept
