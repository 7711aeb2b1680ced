"""Which replica is available: against a naive account of the same rules, and rule by rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ngpu.errors import PolicyFailed
from ngpu.model import Node, Replica, SelectionRequest
from ngpu.pool import FAILURES_BEFORE_REST, FIRST_REST, LONGEST_REST, CallResult, Member, Pool

NODE = Node("0x1", "h")
REQUEST = SelectionRequest("w", 8080, "/")


class First:
    """Takes the first there is, and keeps what it was shown."""

    seen: tuple[str, ...] = ()

    def select(self, replicas: Any, request: Any) -> Any:
        self.seen = tuple(one.replica.id for one in replicas)
        return min(replicas, key=lambda one: one.replica.id)


def make_pool(count: int = 1, slots: int = 1, policy: Any = None, up: bool = True) -> Pool:
    pool = Pool([Replica(f"r{number}", "w", NODE, {}, slots) for number in range(count)], policy or First())
    for member in pool.members:
        pool.checked(member, up, "down", 0.0)
    return pool


def give(pool: Pool, result: CallResult, now: float) -> Member:
    """One call, wherever it lands."""
    member = pool.take(REQUEST, now)
    assert member is not None
    pool.give_back(member, result, 1.0, now)
    return member


def test_only_checked_free_and_rested_replicas_are_chosen() -> None:
    pool = make_pool(2, up=False)
    assert pool.take(REQUEST, 0) is None and not pool.any_up and pool.slots == 0
    pool.checked("r1", True, "", 0)
    assert pool.any_up and pool.slots == 1 and pool.trouble() == "h: down"
    taken = pool.take(REQUEST, 0)
    assert taken is pool.members["r1"] and pool.take(REQUEST, 0) is None
    pool.give_back(taken, CallResult.ANSWERED, 2.0, 5)
    assert (taken.latency, taken.last_used) == (2.0, 5)
    assert pool.take(REQUEST, 5) is taken


def test_a_failed_dial_rests_at_once_and_longer_each_time() -> None:
    pool = make_pool()
    now, rests = 0.0, []
    for _ in range(8):
        give(pool, CallResult.UNREACHED, now)
        assert pool.take(REQUEST, now) is None
        wake = pool.next_wake(now)
        assert wake is not None
        rests.append(wake - now)
        now = wake
    assert rests == [1, 2, 4, 8, 16, 32, LONGEST_REST, LONGEST_REST]
    give(pool, CallResult.ANSWERED, now)
    give(pool, CallResult.UNREACHED, now)
    assert pool.next_wake(now) == now + FIRST_REST, "a success sets it back"


def test_calls_that_fail_side_by_side_rest_a_replica_once() -> None:
    pool = make_pool(slots=4)
    members = [pool.take(REQUEST, 0.0) for _ in range(4)]
    for member in members:
        assert member is not None
        pool.give_back(member, CallResult.UNREACHED, 0.1, 0.0)
    assert pool.next_wake(0.0) == FIRST_REST
    assert pool.take(REQUEST, 0.9) is None and pool.take(REQUEST, 1.0) is not None


@pytest.mark.parametrize("result", [CallResult.BROKE, CallResult.ERRED])
def test_failures_in_a_row_rest_a_replica(result: CallResult) -> None:
    pool = make_pool(2)
    for _ in range(FAILURES_BEFORE_REST):
        give(pool, result, 0.0)
    assert pool.take(REQUEST, 0.0) is pool.members["r1"]


def test_a_success_between_failures_rests_nobody() -> None:
    pool = make_pool(2)
    for _ in range(3):
        for result in (CallResult.BROKE, CallResult.BROKE, CallResult.ANSWERED):
            give(pool, result, 0.0)
    assert pool.next_wake(0.0) is None


def test_server_errors_never_rest_the_only_one_that_serves() -> None:
    pool = make_pool(2)
    pool.checked("r1", False, "down", 0.0)
    for _ in range(10):
        give(pool, CallResult.ERRED, 0.0)
    assert pool.next_wake(0.0) is None
    pool.checked("r1", True, "", 0.0)
    give(pool, CallResult.ERRED, 0.0)
    assert pool.next_wake(0.0) is not None


def test_what_we_gave_up_says_nothing() -> None:
    pool = make_pool()
    for _ in range(10):
        member = give(pool, CallResult.ABANDONED, 0.0)
    assert (member.failures, member.latency, member.last_used, pool.next_wake(0.0)) == (0, None, None, None)


@pytest.mark.parametrize("choice", ["absent", "busy", "raises"])
def test_a_policy_that_goes_wrong_takes_no_slot(choice: str, no_leaks: Any) -> None:
    no_leaks.expect(ZeroDivisionError)

    class Wrong(First):
        right = True

        def select(self, replicas: Any, request: Any) -> Any:
            if self.right:
                return super().select(replicas, request)
            if choice == "raises":
                raise ZeroDivisionError
            return busy if choice == "busy" else Member(Replica("elsewhere", "w", NODE, {}))

    policy = Wrong()
    pool = make_pool(2, policy=policy)
    busy = pool.take(REQUEST, 0.0)
    policy.right = False
    with pytest.raises(PolicyFailed):
        pool.take(REQUEST, 0.0)
    assert [member.in_flight for member in pool.members.values()] == [1, 0]
    policy.right = True
    assert pool.take(REQUEST, 0.0) is pool.members["r1"]


class Account:
    """What the naive account knows of a replica."""

    def __init__(self, slots: int) -> None:
        self.slots, self.in_flight, self.up = slots, 0, False
        self.failures, self.rests, self.until = 0, 0, 0.0


class PoolMachine(RuleBasedStateMachine):
    """Calls, checks and time in any order."""

    @initialize(slots=st.lists(st.integers(1, 3), min_size=1, max_size=5))
    def begin(self, slots: list[int]) -> None:
        self.now = 0.0
        self.policy = First()
        self.pool = Pool([Replica(f"r{n}", "w", NODE, {}, count) for n, count in enumerate(slots)], self.policy)
        self.accounts = {f"r{n}": Account(count) for n, count in enumerate(slots)}
        self.taken: list[Member] = []

    def available(self) -> set[str]:
        return {
            name
            for name, one in self.accounts.items()
            if one.up and one.in_flight < one.slots and one.until <= self.now
        }

    @rule()
    def take(self) -> None:
        free = self.available()
        member = self.pool.take(REQUEST, self.now)
        if not free:
            assert member is None
            return
        assert member is not None and member.replica.id == min(free)
        assert sorted(self.policy.seen) == sorted(free)
        self.accounts[member.replica.id].in_flight += 1
        self.taken.append(member)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), result=st.sampled_from(list(CallResult)))
    def give(self, data: st.DataObject, result: CallResult) -> None:
        member = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        one = self.accounts[member.replica.id]
        one.in_flight -= 1
        if result is CallResult.ANSWERED:
            one.failures = one.rests = 0
        elif result is not CallResult.ABANDONED:
            one.failures += result is not CallResult.UNREACHED
            others = any(other is not one and other.up and other.until <= self.now for other in self.accounts.values())
            tired = one.failures >= FAILURES_BEFORE_REST and (result is CallResult.BROKE or others)
            if (result is CallResult.UNREACHED or tired) and one.until <= self.now:
                one.until = self.now + min(FIRST_REST * 2**one.rests, LONGEST_REST)
                one.rests += 1
                one.failures = 0
        self.pool.give_back(member, result, 1.0, self.now)

    @rule(data=st.data(), up=st.booleans())
    def check(self, data: st.DataObject, up: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.accounts)))
        self.accounts[name].up = up
        self.pool.checked(name, up, "reason", self.now)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def wakes_when_the_next_rest_ends(self) -> None:
        if not hasattr(self, "pool"):
            return
        wake = self.pool.next_wake(self.now)
        ends = [one.until for one in self.accounts.values() if one.until > self.now]
        if ends:
            assert wake is not None and wake <= min(ends)
        assert {name: one.in_flight for name, one in self.accounts.items()} == {
            name: member.in_flight for name, member in self.pool.members.items()
        }


PoolMachine.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestPoolAgainstANaiveAccount = PoolMachine.TestCase
