"""Which replica is available: against a naive account of the same rules, and rule by rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from zope.interface import implementer

from ngpu.errors import PolicyFailed
from ngpu.member import FIRST_REST, LONGEST_REST, CallResult, Member
from ngpu.model import Gpus, Node, Replica, Requirement, SelectionRequest
from ngpu.policy import IObservingPolicy
from ngpu.pool import FAILURES_BEFORE_REST, Pool
from ngpu.standing import FIRST_SUSPICION, LONGEST_SUSPICION, REST_ABOVE, SUSPECT_ABOVE, UNKNOWN_PENALTY

NODE = Node("0x1", "h")
REQUEST = SelectionRequest("w", 8080, "/")


class First:
    """Takes the first there is, and keeps what it was shown."""

    seen: tuple[str, ...] = ()

    def select(self, replicas: Any, request: Any) -> Any:
        self.seen = tuple(one.replica.id for one in replicas)
        return min(replicas, key=lambda one: one.replica.id)


@implementer(IObservingPolicy)
class Told(First):
    """Knows what is available from what it is told; when it chooses, that is what it is shown, and suspects."""

    def __init__(self) -> None:
        self.there: dict[str, Any] = {}
        self.agreed: set[str] = set()

    def select(self, replicas: Any, request: Any) -> Any:
        self.agreed = {name for name, one in self.there.items() if one.suspect is replicas[0].suspect}
        return super().select(replicas, request)

    def changed(self, candidate: Any) -> None:
        self.there[candidate.replica.id] = candidate

    def unavailable(self, candidate: Any) -> None:
        del self.there[candidate.replica.id]

    def finished(self, candidate: Any, seconds: float) -> None:
        pass

    def removed(self, candidate: Any) -> None:
        pass


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


def test_bad_requests_do_not_rest_half_of_the_fleet() -> None:
    """Every replica fails them, so that none of them is worse than the others."""
    pool = make_pool(4)
    for turn in range(60):
        fail(pool, f"r{turn % 4}", 0.0, CallResult.ANSWERED if turn // 4 % 3 == 2 else CallResult.ERRED)
    assert min(member.standing.errors for member in pool.members.values()) > SUSPECT_ABOVE
    assert pool.next_wake(0.0) is None


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
    for result in (CallResult.BROKE, CallResult.BROKE, CallResult.ANSWERED, CallResult.BROKE):
        fail(pool, "r0", 0.0, result)
    assert pool.next_wake(0.0) is None


@pytest.mark.parametrize("result", [CallResult.BROKE, CallResult.ERRED])
def test_one_that_fails_mostly_rests_though_it_succeeds_now_and_then_unless_it_is_alone(result: CallResult) -> None:
    for alone in (True, False):
        pool = make_pool(2)
        pool.checked("r1", not alone, "down", 0.0)
        for each in (result, result, CallResult.ANSWERED) * 6:
            fail(pool, "r0", 0.0, each)
        assert pool.members["r0"].standing.errors > REST_ABOVE / 2
        assert (pool.next_wake(0.0) is None) is alone


def test_server_errors_never_rest_the_only_one_that_serves() -> None:
    pool = make_pool(2)
    pool.checked("r1", False, "down", 0.0)
    for _ in range(10):
        give(pool, CallResult.ERRED, 0.0)
    assert pool.next_wake(0.0) is None
    pool.checked("r1", True, "", 0.0)
    member = pool.take_from("r0", 0.0)  # by itself the pool would give the other one
    assert member is not None
    pool.give_back(member, CallResult.ERRED, 1.0, 0.0)
    assert pool.next_wake(0.0) is not None


def test_what_we_gave_up_says_nothing() -> None:
    pool = make_pool()
    for _ in range(10):
        member = give(pool, CallResult.ABANDONED, 0.0)
    assert (member.failures, member.latency, member.last_used, pool.next_wake(0.0)) == (0, None, None, None)


def test_a_tunnel_says_that_its_replica_works_and_not_how_fast() -> None:
    pool = make_pool()
    give(pool, CallResult.ERRED, 0.0)
    member = give(pool, CallResult.SWITCHED, 5.0)
    assert member.latency is not None
    before = member.latency
    member = give(pool, CallResult.SWITCHED, 5.0)
    assert (member.failures, member.latency, member.last_used) == (0, before, 5.0)


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


def test_the_policy_is_shown_suspects_only_while_there_is_nobody_else() -> None:
    policy = First()
    pool = make_pool(3, slots=2, policy=policy)
    for _ in range(2):
        give(pool, CallResult.ERRED, 0.0)
    assert pool.members["r0"].suspect
    first = pool.take(REQUEST, 0.0)
    assert policy.seen == ("r2", "r1") and first is pool.members["r1"]
    pool.checked("r2", False, "down", 0.0)
    assert pool.take(REQUEST, 0.0) is first
    assert pool.take(REQUEST, 0.0) is pool.members["r0"], "it is better than nobody"
    pool.give_back(first, CallResult.ANSWERED, 1.0, 0.0)
    assert pool.take(REQUEST, 0.0) is first and policy.seen == ("r1",)


def fail(pool: Pool, replica: str, now: float, result: CallResult = CallResult.ERRED) -> Member:
    """A call of this very replica."""
    member = pool.take_from(replica, now)
    assert member is not None
    pool.give_back(member, result, 0.01, now)
    return member


def test_suspicion_ends_with_time_and_lasts_longer_each_time() -> None:
    pool = make_pool(2)
    now, lasted = 0.0, []
    for _ in range(7):
        while not (suspect := fail(pool, "r0", now)).suspect:
            pass
        lasted.append(suspect.standing.suspect_until - now)
        now = suspect.standing.suspect_until
        fail(pool, "r1", now, CallResult.ABANDONED)
        assert pool.take(REQUEST, now) is not None
        assert not suspect.suspect
        for member in pool.members.values():
            if member.in_flight:
                pool.give_back(member, CallResult.ABANDONED, 0.0, now)
    assert lasted == [5, 10, 20, 40, 60, 60, 60]
    assert (lasted[0], lasted[-1]) == (FIRST_SUSPICION, LONGEST_SUSPICION)


def test_success_ends_a_suspicion_once_failures_are_few() -> None:
    pool = make_pool(2)
    suspect = fail(pool, "r0", 0.0)
    assert not suspect.suspect, "one failure is no reason"
    fail(pool, "r0", 0.0)
    assert suspect.suspect
    fail(pool, "r0", 0.0, CallResult.ANSWERED)
    assert not suspect.suspect
    for result in (CallResult.ERRED, CallResult.ANSWERED) * 8:
        fail(pool, "r0", 0.0, result)
    assert suspect.suspect, "half of its calls fail, however seldom two in a row"


def test_a_new_replica_starts_at_the_median_of_the_others() -> None:
    pool = make_pool(4, up=False)
    for number, seconds in enumerate((1.0, 2.0, 90.0)):
        pool.checked(f"r{number}", True, "", 0.0)
        assert pool.members[f"r{number}"].latency in (None, 1.0, 2.0)
        member = pool.take_from(f"r{number}", 0.0)
        assert member is not None
        pool.give_back(member, CallResult.ANSWERED, 2 * seconds - (member.latency or seconds), 0.0)
    assert [pool.members[f"r{number}"].latency for number in range(3)] == [1.0, 2.0, 90.0]
    pool.checked("r3", True, "", 0.0)
    assert pool.members["r3"].latency == 2.0


def test_a_fast_failure_counts_as_a_slow_call() -> None:
    pool = make_pool(2)
    good = pool.take(REQUEST, 0.0)
    bad = pool.take(REQUEST, 0.0)
    assert good is not None and bad is not None
    pool.give_back(bad, CallResult.UNREACHED, 0.0, 0.0)
    assert bad.latency == UNKNOWN_PENALTY, "while nothing is known of the others"
    pool.give_back(good, CallResult.ANSWERED, 10.0, 0.0)
    for _ in range(20):
        member = pool.take_from("r1", 100.0)
        assert member is not None
        pool.give_back(member, CallResult.ERRED, 0.01, 100.0)
    assert bad.latency > 10.0


@pytest.mark.parametrize(
    ("require", "taken"),
    [
        (Requirement(), {"r0", "r1", "r2"}),
        (Requirement("A100"), {"r0"}),
        (Requirement(memory=24), {"r0", "r1"}),
        (Requirement(labels={"area": "eu"}), {"r1", "r2"}),
        (Requirement("T4", 24, {"area": "eu"}), {"r1"}),
        (Requirement("T4", 24, {"area": "us"}), set()),
    ],
)
def test_only_replicas_on_nodes_that_are_required_are_chosen(require: Requirement, taken: set[str]) -> None:
    nodes = (
        Node("0x1", "a", Gpus("A100", 1, 80), {"area": "us"}),
        Node("0x2", "b", Gpus("T4", 1, 24), {"area": "eu"}),
        Node("0x3", "c", Gpus("T4", 1, 16), {"area": "eu", "rack": "7"}),
    )
    pool = Pool([Replica(f"r{n}", "w", node, {}) for n, node in enumerate(nodes)], First(), require)
    for name in pool.members:
        pool.checked(name, True, "", 0.0)
    members = iter(lambda: pool.take(REQUEST, 0.0), None)
    assert {member.replica.id for member in members if member} == taken
    assert pool.any_up is bool(taken) and pool.slots == len(taken)
    for name, host in zip(pool.members, "abc", strict=True):
        assert (f"{host}: its node is none that selection.require" in pool.trouble()) is (name not in taken)


def test_a_conversation_goes_on_where_it_is_even_if_nothing_new_goes_there() -> None:
    pool = Pool([Replica("r0", "w", NODE, {})], First(), Requirement("A100"))
    pool.checked("r0", True, "", 0.0)
    assert pool.take(REQUEST, 0.0) is None and pool.take_from("r0", 0.0) is pool.members["r0"]


class Account:
    """What the naive account knows of a replica."""

    def __init__(self, slots: int) -> None:
        self.slots, self.in_flight, self.up = slots, 0, False
        self.failures, self.rests, self.until = 0, 0, 0.0
        self.ends: list[bool] = []
        self.share = 0.0
        self.suspect_until, self.suspicions = 0.0, 0

    def ended(self, failed: bool, now: float) -> None:
        """The share of failures, each call of before weighing four fifths of the one after it."""
        self.ends.append(failed)
        share = sum(0.2 * 0.8**age for age, bad in enumerate(reversed(self.ends)) if bad)
        self.share = share
        if share <= SUSPECT_ABOVE:
            self.suspect_until = 0.0
            self.suspicions *= failed
        elif failed and self.suspect_until <= now:
            self.suspect_until = now + min(FIRST_SUSPICION * 2**self.suspicions, LONGEST_SUSPICION)
            self.suspicions += 1


class PoolMachine(RuleBasedStateMachine):
    """Calls, checks and time in any order."""

    @initialize(slots=st.lists(st.integers(1, 3), min_size=1, max_size=5))
    def begin(self, slots: list[int]) -> None:
        self.now = 0.0
        self.policy = Told()
        self.pool = Pool([Replica(f"r{n}", "w", NODE, {}, count) for n, count in enumerate(slots)], self.policy)
        self.accounts = {f"r{n}": Account(count) for n, count in enumerate(slots)}
        self.taken: list[Member] = []

    def available(self) -> set[str]:
        free = {
            name: one
            for name, one in self.accounts.items()
            if one.up and one.in_flight < one.slots and one.until <= self.now
        }
        trusted = {name for name, one in free.items() if one.suspect_until <= self.now}
        return trusted or set(free)

    @rule()
    def take(self) -> None:
        free = self.available()
        member = self.pool.take(REQUEST, self.now)
        if not free:
            assert member is None
            return
        assert member is not None and member.replica.id == min(free)
        assert sorted(self.policy.seen) == sorted(free)
        assert self.policy.agreed == free, "and it was told of them"
        self.accounts[member.replica.id].in_flight += 1
        self.taken.append(member)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), result=st.sampled_from(list(CallResult)))
    def give(self, data: st.DataObject, result: CallResult) -> None:
        member = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        one = self.accounts[member.replica.id]
        one.in_flight -= 1
        if result not in (CallResult.ABANDONED, CallResult.SWITCHED):
            one.ended(result is not CallResult.ANSWERED, self.now)
        if result in (CallResult.ANSWERED, CallResult.SWITCHED):
            one.failures = one.rests = 0
        elif result is not CallResult.ABANDONED:
            one.failures += result is not CallResult.UNREACHED
            others = any(other is not one and other.up and other.until <= self.now for other in self.accounts.values())
            tired = one.failures >= FAILURES_BEFORE_REST and (result is CallResult.BROKE or others)
            good = any(
                other is not one and other.up and other.until <= self.now and other.share <= SUSPECT_ABOVE
                for other in self.accounts.values()
            )
            tired = tired or (one.share > REST_ABOVE and good)
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
