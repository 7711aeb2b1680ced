"""The line: first come, first served, nobody forgotten, and no timer left behind."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_rig import Watched, begun
from test_pool import NODE, REQUEST, First
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from ngpu.errors import NoReplica
from ngpu.leases import Lease
from ngpu.line import Line
from ngpu.member import CallResult
from ngpu.model import Replica, SelectionRequest
from ngpu.pool import Pool


class Queue:
    """A line over some replicas."""

    def __init__(self, count: int = 1, slots: int = 1, policy: Any = None, up: bool = True) -> None:
        self.clock = Clock()
        replicas = [Replica(f"r{number}", "w", NODE, {}, slots) for number in range(count)]
        self.pool = Pool(replicas, policy or First())
        self.line = Line(self.pool, self.clock, 10.0)
        for replica in replicas if up else ():
            self.check(replica.id, True)

    def check(self, replica: str, up: bool) -> None:
        self.pool.checked(replica, up, "refused", self.clock.seconds())
        self.line.serve()

    def slot(self, patience: float | None = None, request: SelectionRequest = REQUEST) -> Watched:
        return begun(self.line.slot(request, patience))


def test_first_come_first_served() -> None:
    queue = Queue()
    holder = queue.slot().value
    waiting = [queue.slot(60 if number % 2 else None) for number in range(4)]
    assert queue.line.waiting == 4 and queue.line.try_slot(REQUEST) is None
    for number in range(4):
        assert [one.over for one in waiting] == [index < number for index in range(4)]
        holder.release(CallResult.ANSWERED)
        holder = waiting[number].value
    holder.release(CallResult.ANSWERED)
    assert queue.clock.getDelayedCalls() == []


def test_nobody_jumps_the_line() -> None:
    queue = Queue(up=False)
    queue.slot()
    queue.pool.checked("r0", True, "", 0)
    assert queue.line.try_slot(REQUEST) is None


def test_a_lease_is_given_back_once() -> None:
    queue = Queue()
    lease: Lease = queue.slot().value
    lease.release(CallResult.ANSWERED)
    lease.release(CallResult.UNREACHED)
    assert queue.pool.members["r0"].in_flight == 0
    assert queue.slot().over


def test_patience_ends() -> None:
    queue = Queue()
    holder = queue.slot().value
    impatient, patient = queue.slot(5), queue.slot()
    queue.clock.advance(5)
    assert "was busy" in str(impatient.error)
    assert not patient.over
    holder.release(CallResult.ANSWERED)
    assert patient.over


def test_while_nothing_is_up_the_grace_holds_for_those_whose_patience_is_longer() -> None:
    queue = Queue(up=False)
    queue.check("r0", False)
    long, short, endless = queue.slot(60), queue.slot(3), queue.slot()
    queue.clock.advance(3)
    assert "no replica" in str(short.error) and not long.over
    queue.clock.advance(7)
    assert isinstance(long.error, NoReplica) and not endless.over
    queue.check("r0", True)
    assert endless.over


def test_what_was_not_checked_yet_is_waited_for() -> None:
    """A gateway that has just started does not call a replica down whose first check takes its time."""
    queue = Queue(up=False)
    soon, late = queue.slot(60), queue.slot(60)
    queue.clock.advance(25)
    queue.check("r0", True)
    soon.value.release(CallResult.ANSWERED)
    late.value.release(CallResult.ANSWERED)
    queue = Queue(up=False)
    waiting = queue.slot(300)
    queue.clock.advance(25)
    queue.check("r0", False)
    assert not waiting.over
    queue.clock.advance(10)
    assert "no replica" in str(waiting.error)
    assert queue.clock.getDelayedCalls() == []


def test_the_grace_is_looked_at_again() -> None:
    queue = Queue()
    queue.slot()
    waiting = queue.slot(300)
    queue.clock.advance(10)
    queue.check("r0", False)
    queue.clock.pump([1.0] * 11)
    assert isinstance(waiting.error, NoReplica)
    assert queue.clock.getDelayedCalls() == []


def test_whoever_leaves_is_forgotten() -> None:
    queue = Queue()
    holder = queue.slot().value
    leaving, staying = queue.slot(60), queue.slot(60)
    leaving.deferred.cancel()
    assert isinstance(leaving.error, CancelledError)
    holder.release(CallResult.ANSWERED)
    staying.value.release(CallResult.ANSWERED)
    assert queue.line.waiting == 0 and queue.clock.getDelayedCalls() == []


@pytest.mark.parametrize("how", ["leaves", "is refused"])
def test_the_next_is_served_when_one_goes_for_whom_the_policy_had_nothing(how: str) -> None:
    class Picky:
        def select(self, replicas: Any, request: SelectionRequest) -> Any:
            return None if request.path == "/never" else replicas[0]

    queue = Queue(policy=Picky())
    first = queue.slot(5, SelectionRequest("w", 1, "/never"))
    second = queue.slot()
    assert not second.over
    if how == "leaves":
        first.deferred.cancel()
    else:
        queue.clock.advance(5)
    assert isinstance(first.error, CancelledError | NoReplica) and second.over


@pytest.mark.parametrize("start", [0.0, 0.1, 1.7e9 + 0.1])
def test_a_rest_that_ends_wakes_the_line(start: float) -> None:
    queue = Queue()
    queue.clock.advance(start)
    lease = queue.slot().value
    lease.release(CallResult.UNREACHED)
    waiting = queue.slot()
    queue.clock.advance(0.9)
    assert not waiting.over
    queue.clock.advance(0.11)
    assert waiting.over
    assert queue.clock.getDelayedCalls() == []


def test_a_closed_line_refuses_those_who_wait_and_those_who_come() -> None:
    queue = Queue()
    holder = queue.slot().value
    waiting = [queue.slot(), queue.slot(60)]
    queue.line.close()
    late = queue.slot(60)
    for one in (*waiting, late):
        assert "stopping" in str(one.error)
    holder.release(CallResult.ANSWERED)
    assert queue.clock.getDelayedCalls() == []


def test_a_waiter_may_come_back_from_its_own_answer() -> None:
    """What a granted slot sets off may release it, and ask again, at once."""
    queue = Queue()
    holder = queue.slot().value
    served: list[int] = []

    async def work(number: int) -> None:
        for _ in range(3):
            lease = await queue.line.slot(REQUEST, None)
            served.append(number)
            lease.release(CallResult.ANSWERED)

    for number in range(3):
        begun(work(number))
    holder.release(CallResult.ANSWERED)
    assert served.count(0) == served.count(1) == served.count(2) == 3
    assert queue.pool.members["r0"].in_flight == 0
