"""Replicas that come and go while calls run: none is lost, none is chosen that should not be, nobody waits for ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gateway_rig import begun
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from test_line import Queue
from test_pool import NODE, REQUEST, First
from twisted.internet.defer import CancelledError

from ngpu.errors import NoReplica, ReplicaRemoved
from ngpu.leases import Lease
from ngpu.member import CallResult, Member
from ngpu.model import Replica
from ngpu.pool import ANY, Pool


def replica(name: str = "r0", slots: int = 1, port: int = 1) -> Replica:
    return Replica(name, "w", NODE, {8080: port}, slots)


class Last(First):
    """Chooses otherwise than `First`."""

    def select(self, replicas: Any, request: Any) -> Any:
        return max(replicas, key=lambda one: one.replica.id)


class TestLine:
    def test_one_that_was_added_serves_once_it_is_up(self) -> None:
        queue = Queue(0)
        waiting = queue.slot()
        queue.line.add(replica())
        assert not waiting.over
        queue.check("r0", True)
        assert waiting.value.replica == replica()

    def test_one_that_is_drained_gets_no_new_call_and_is_drained_with_its_last(self) -> None:
        queue = Queue(slots=2)
        holders: list[Lease] = [queue.slot().value, queue.slot().value]
        drained, again = begun(queue.line.drain("r0")), begun(queue.line.drain("r0"))
        holders[0].release(CallResult.ANSWERED)
        waiting = queue.slot()
        assert not waiting.over and not drained.over and queue.line.try_slot(REQUEST) is None
        queue.check("r0", True)
        assert not waiting.over
        holders[1].release(CallResult.ANSWERED)
        assert drained.value is None and again.value is None and not waiting.over
        assert begun(queue.line.drain("r0")).value is None

    def test_what_nobody_uses_or_nobody_knows_is_drained_at_once(self) -> None:
        queue = Queue()
        assert begun(queue.line.drain("r0")).value is None
        assert begun(queue.line.drain("other")).value is None
        queue.line.remove("other")

    def test_a_drain_counts_those_who_come_back(self) -> None:
        """A conversation belongs to its replica: it gets its slot there, also while that is being drained."""
        queue = Queue()
        holder: Lease = queue.slot().value
        back = begun(queue.line.slot_on("r0"))
        drained = begun(queue.line.drain("r0"))
        holder.release(CallResult.ANSWERED)
        assert not drained.over
        back.value.release(CallResult.ANSWERED)
        assert drained.over

    def test_a_drain_ends_when_the_last_who_would_come_back_leaves(self) -> None:
        queue = Queue(up=False)
        back = begun(queue.line.slot_on("r0"))
        drained = begun(queue.line.drain("r0"))
        assert not drained.over
        back.deferred.cancel()
        assert isinstance(back.error, CancelledError) and drained.over

    def test_whoever_would_come_back_to_one_that_was_removed_is_told(self) -> None:
        queue = Queue(2, up=False)
        backs = [begun(queue.line.slot_on("r0")), begun(queue.line.slot_on("r1")), begun(queue.line.slot_on("r0"))]
        queue.line.remove("r0")
        assert isinstance(backs[0].error, ReplicaRemoved) and isinstance(backs[2].error, ReplicaRemoved)
        assert not backs[1].over
        with pytest.raises(KeyError):
            queue.line.slot_on("r0")
        backs[1].deferred.cancel()

    def test_a_late_lease_of_one_that_was_removed_does_no_harm(self) -> None:
        queue = Queue(2)
        late: Lease = queue.slot().value
        drained = begun(queue.line.drain("r0"))
        queue.line.remove("r0")
        assert not drained.over
        queue.line.add(replica())
        queue.check("r0", True)
        fresh: Lease = queue.slot().value
        assert fresh.replica.id == "r0"
        late.release(CallResult.UNREACHED)
        late.release(CallResult.UNREACHED)
        assert drained.over
        assert queue.pool.members["r0"].in_flight == 1 and queue.pool.members["r0"].resting_until == 0
        fresh.release(CallResult.ANSWERED)
        assert queue.slot().value.replica.id == "r0"

    def test_the_rest_of_one_that_was_removed_wakes_nobody(self) -> None:
        queue = Queue()
        queue.slot().value.release(CallResult.UNREACHED)
        waiting = queue.slot()
        queue.line.remove("r0")
        queue.clock.advance(5)
        assert not waiting.over
        queue.line.add(replica())
        queue.check("r0", True)
        assert waiting.over and queue.clock.getDelayedCalls() == []

    def test_adding_it_again_ends_a_drain(self) -> None:
        queue = Queue()
        holder: Lease = queue.slot().value
        drained = begun(queue.line.drain("r0"))
        waiting = queue.slot()
        queue.line.add(holder.replica)
        assert isinstance(drained.error, CancelledError)
        holder.release(CallResult.ANSWERED)
        assert waiting.over

    def test_a_change_of_slots_keeps_what_is_known(self) -> None:
        queue = Queue()
        holder: Lease = queue.slot().value
        waiting = queue.slot()
        queue.line.add(replace(holder.replica, slots=2))
        assert waiting.over and queue.pool.members["r0"].in_flight == 2
        queue.line.add(replace(holder.replica, slots=1))
        waiting.value.release(CallResult.ANSWERED)
        assert queue.line.try_slot(REQUEST) is None

    def test_other_ports_make_another_replica_of_it(self) -> None:
        queue = Queue()
        before = queue.pool.members["r0"]
        queue.line.add(replica(port=2))
        assert queue.pool.members["r0"] is not before and queue.line.try_slot(REQUEST) is None

    def test_another_policy_serves_those_who_wait(self) -> None:
        class Nothing(First):
            def select(self, replicas: Any, request: Any) -> Any:
                return None

        queue = Queue(2, policy=Nothing())
        waiting = queue.slot()
        assert not waiting.over
        queue.line.use(Last(), ANY)
        assert waiting.value.replica.id == "r1"

    def test_who_waits_where_all_is_drained_is_told(self) -> None:
        queue = Queue()
        begun(queue.line.drain("r0"))
        waiting = queue.slot(60)
        queue.clock.advance(10)
        assert isinstance(waiting.error, NoReplica) and "taken out of service" in str(waiting.error)
        assert queue.clock.getDelayedCalls() == []

    def test_a_line_closes_with_a_reason_of_its_own(self) -> None:
        queue = Queue()
        holder: Lease = queue.slot().value
        waiting, back = queue.slot(), begun(queue.line.slot_on("r0"))
        drained = begun(queue.line.drain("r0"))
        queue.line.close(lambda: ReplicaRemoved("removed"))
        for one in (waiting, back, queue.slot(60), begun(queue.line.slot_on("r0"))):
            assert isinstance(one.error, ReplicaRemoved)
        assert not drained.over
        holder.release(CallResult.ANSWERED)
        assert drained.over and queue.clock.getDelayedCalls() == []


class Known:
    """What the naive account knows of one replica in one of its lives."""

    def __init__(self, member: Member, slots: int) -> None:
        self.member, self.slots = member, slots
        self.in_flight, self.up, self.draining, self.until, self.rests = 0, False, False, 0.0, 0


NAMES = st.sampled_from(["a", "b", "c"])


class Membership(RuleBasedStateMachine):
    """Replicas come, are drained, go and come back, while calls begin and end in any order."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.pool = Pool([], First())
        self.there: dict[str, Known] = {}
        self.calls: list[Known] = []
        self.gone: list[Known] = []

    def available(self) -> set[str]:
        return {
            name
            for name, one in self.there.items()
            if one.up and not one.draining and one.in_flight < one.slots and one.until <= self.now
        }

    @rule(name=NAMES, slots=st.integers(1, 2))
    def add(self, name: str, slots: int) -> None:
        new = self.pool.add(replica(name, slots), self.now)
        assert new == (name not in self.there)
        if new:
            self.there[name] = Known(self.pool.members[name], slots)
        self.there[name].slots, self.there[name].draining = slots, False

    @rule(name=NAMES)
    def drain(self, name: str) -> None:
        assert (self.pool.drain(name, self.now) is None) == (name not in self.there)
        if name in self.there:
            self.there[name].draining = True

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        removed = self.pool.remove(name, self.now)
        one = self.there.pop(name, None)
        assert removed is (one.member if one else None)
        if one is not None:
            self.gone.append(one)

    @rule(name=NAMES, up=st.booleans())
    def checked(self, name: str, up: bool) -> None:
        one = self.there.get(name)
        changed = self.pool.checked(name, up, "reason", self.now)
        assert one is not None or not changed
        if one is not None:
            one.up = up

    @rule()
    def take(self) -> None:
        free = self.available()
        member = self.pool.take(REQUEST, self.now)
        if not free:
            assert member is None
            return
        assert member is self.there[min(free)].member
        self.there[min(free)].in_flight += 1
        self.calls.append(self.there[min(free)])

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def take_from(self, data: st.DataObject) -> None:
        one = self.there[data.draw(st.sampled_from(sorted(self.there)))]
        member = self.pool.take_from(one.member.replica.id, self.now)
        assert (member is one.member) == (one.up and one.in_flight < one.slots)
        if member is not None:
            one.in_flight += 1
            self.calls.append(one)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), result=st.sampled_from([CallResult.ANSWERED, CallResult.ABANDONED, CallResult.UNREACHED]))
    def give_back(self, data: st.DataObject, result: CallResult) -> None:
        one = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        one.in_flight -= 1
        self.pool.give_back(one.member, result, 1.0, self.now)
        if result is CallResult.ANSWERED:
            one.rests = 0
        elif result is CallResult.UNREACHED and one.until <= self.now:
            one.until, one.rests = self.now + min(2.0**one.rests, 60.0), one.rests + 1

    @rule(seconds=st.sampled_from([0.5, 1.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "pool"):
            return
        assert self.pool.members.keys() == self.there.keys()
        for one in (*self.there.values(), *self.gone):
            assert one.member.in_flight == one.in_flight >= 0
        serving = [one for one in self.there.values() if one.up and not one.draining]
        assert self.pool.any_up == bool(serving) and self.pool.slots == sum(one.slots for one in serving)
        wake = self.pool.next_wake(self.now)
        ends = [one.until for one in self.there.values() if one.until > self.now]
        if ends:
            assert wake is not None and wake <= min(ends)


Membership.TestCase.settings = settings(deadline=None, max_examples=100, stateful_step_count=50)
TestPoolAgainstANaiveAccountOfWhoIsThere = Membership.TestCase
