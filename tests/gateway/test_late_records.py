"""A call of which only its record is kept has that when it ends, or when it matters before that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gateway_rig import NO_SPOOL, House, begun, done
from twisted.internet.defer import Deferred

from ngpu.direct import START_AFTER, DirectCalls, LateRecord
from ngpu.errors import OverLimit, ResultLost, StoreUnavailable
from ngpu.limits import Quota
from ngpu.line import Lease
from ngpu.member import CallResult
from ngpu.model import CHUNK, BytesBody, Outcome, Placement, SelectionRequest, TaskStatus
from ngpu.tasks.lifecycle import failed

FINISHED = Outcome(TaskStatus.FINISHED, 200, "", 200)


class Calls:
    """Calls of a house, whose records are late."""

    def __init__(self, **fields: Any) -> None:
        self.house = House(slots=10, **fields)
        self.direct = DirectCalls(self.house.store, self.house.runs, self.house.clock, self.house.metrics, NO_SPOOL)

    def begin(self, task_id: str = "t", quota: Quota | None = None) -> Any:
        house = self.house
        task = house.submission().task(task_id, house.clock.seconds())
        selection = SelectionRequest(house.workspace.id, 8080, "/run", ())
        begin = self.direct.begin(house.line, house.workspace, selection, task, BytesBody(), quota, task.timeout)
        return begun(begin)

    def begun(self, task_id: str = "t") -> tuple[Lease, LateRecord]:
        lease, record = self.begin(task_id).value
        return lease, record

    def end(self, record: LateRecord) -> None:
        assert done(record.finish(record.task.id, record.task.attempt, FINISHED, self.house.clock.seconds(), None))


def test_one_that_is_over_soon_is_written_once() -> None:
    calls = Calls()
    _, record = calls.begun()
    calls.house.pass_time(START_AFTER - 0.1, 0.1)
    assert calls.house.store.asked == []
    calls.end(record)
    assert calls.house.store.asked == ["add"]
    assert calls.house.task("t").outcome == FINISHED
    calls.house.pass_time(5)
    assert calls.house.store.asked == ["add"]
    assert calls.house.clock.getDelayedCalls() == []


def test_one_that_is_not_is_written_as_running_in_time() -> None:
    calls = Calls()
    first = calls.begun("a")[1]
    calls.house.pass_time(0.3, 0.1)
    second = calls.begun("b")[1]
    calls.house.pass_time(0.3, 0.1)
    assert [task.id for task in calls.house.tasks] == ["a"]
    assert calls.house.task("a").status is TaskStatus.RUNNING
    calls.end(first)
    calls.house.pass_time(0.3, 0.1)
    assert calls.house.task("b").status is TaskStatus.RUNNING
    calls.end(second)
    assert [task.status for task in calls.house.tasks] == [TaskStatus.FINISHED] * 2


def test_who_asks_for_it_finds_it() -> None:
    calls = Calls()
    _, record = calls.begun()
    done(calls.direct.settle("t"))
    assert calls.house.task("t") == replace(record.task, number=1)
    done(calls.direct.settle("t"))
    assert calls.house.store.asked == ["add"]


@pytest.mark.parametrize("asked", [False, True])
def test_whose_client_leaves_it_ends_as_cancelled(asked: bool) -> None:
    calls = Calls()
    lease, record = calls.begun()
    if asked:
        done(calls.direct.settle("t"))
    lease.release(CallResult.ABANDONED)
    calls.direct.withdraw(record)
    assert calls.house.task("t").status is TaskStatus.CANCELLED
    calls.house.assert_at_rest()


def test_another_attempt_is_in_the_one_record() -> None:
    calls = Calls()
    _, record = calls.begun()
    there = Placement("r1", "0x1", "h")
    assert done(record.reattempt("t", 1, there)) == 2
    assert done(record.finish("t", 2, FINISHED, 1.0, (0, b"ok")))
    task = calls.house.task("t")
    assert (task.attempt, task.placement, task.status) == (2, there, TaskStatus.FINISHED)
    assert calls.house.store.asked == ["add"]


def test_an_end_while_the_start_is_being_written_is_no_second_record() -> None:
    calls = Calls()
    _, record = calls.begun()
    calls.house.store.holding = {"add"}
    calls.house.pass_time(1)
    ending = begun(record.finish("t", 1, FINISHED, 1.0, None))
    assert not ending.over
    calls.house.store.release()
    assert ending.value is True
    assert calls.house.store.asked == ["add", "finish"]
    assert calls.house.task("t").status is TaskStatus.FINISHED


@pytest.mark.parametrize("sent_again", [False, True])
def test_one_that_the_store_has_forgotten_is_written_anew(sent_again: bool) -> None:
    calls = Calls()
    _, record = calls.begun()
    done(calls.direct.settle("t"))
    del calls.house.shelf.records["t"]
    if sent_again:
        assert done(record.reattempt("t", 1, Placement("r1", "0x1", "h"))) == 2
    assert done(record.finish("t", 1 + sent_again, FINISHED, 1.0, (0, b"ok")))
    task = calls.house.task("t")
    assert (task.status, task.attempt) == (TaskStatus.FINISHED, 1 + sent_again)


def test_one_of_which_the_store_has_forgotten_that_it_was_sent_again_ends() -> None:
    calls = Calls()
    _, record = calls.begun()
    done(calls.direct.settle("t"))
    before = calls.house.task("t")
    assert done(record.reattempt("t", 1, Placement("r1", "0x1", "h"))) == 2
    calls.house.shelf.records["t"].task = before
    assert done(record.finish("t", 2, FINISHED, 1.0, (0, b"ok")))
    assert calls.house.task("t").status is TaskStatus.FINISHED


def test_one_of_which_the_store_has_forgotten_that_it_was_sent_again_is_sent_once_more() -> None:
    calls = Calls()
    _, record = calls.begun()
    done(calls.direct.settle("t"))
    before = calls.house.task("t")
    assert done(record.reattempt("t", 1, Placement("r1", "0x1", "h"))) == 2
    calls.house.shelf.records["t"].task = before
    fence = done(record.reattempt("t", 2, Placement("r2", "0x2", "h")))
    assert fence is not None
    assert done(record.finish("t", fence, FINISHED, 1.0, (0, b"ok")))
    task = calls.house.task("t")
    assert (task.status, task.placement.replica) == (TaskStatus.FINISHED, "r2")


def test_one_that_was_cancelled_is_not_sent_again() -> None:
    calls = Calls()
    _, record = calls.begun()
    done(calls.direct.settle("t"))
    done(calls.house.store.cancel("t", 1.0))
    assert done(record.reattempt("t", 1, Placement("r1", "0x1", "h"))) is None


def test_one_whose_pieces_the_store_has_forgotten_ends_as_failed() -> None:
    calls = Calls()
    _, record = calls.begun()
    done(record.write_result("t", 1, 0, bytes(CHUNK)))
    del calls.house.shelf.records["t"]
    with pytest.raises(ResultLost) as raised:
        done(record.finish("t", 1, FINISHED, 1.0, (1, b"ok")))
    assert done(record.finish("t", 1, failed(raised.value), 1.0, None))
    assert calls.house.task("t").status is TaskStatus.FAILED


def test_one_that_was_cancelled_is_not_written_anew() -> None:
    calls = Calls()
    _, record = calls.begun()
    done(calls.direct.settle("t"))
    done(calls.house.store.cancel("t", 1.0))
    assert not done(record.finish("t", 1, FINISHED, 2.0, None))
    assert calls.house.task("t").status is TaskStatus.CANCELLED


def test_a_start_that_could_not_be_written_leaves_the_end_to_be() -> None:
    calls = Calls()
    _, record = calls.begun()
    calls.house.store.refusing = {"add"}
    calls.house.pass_time(1)
    assert isinstance(begun(record.finish("t", 1, FINISHED, 1.0, None)).error, StoreUnavailable)
    calls.house.store.refusing.clear()
    calls.end(record)
    assert calls.house.task("t").outcome == FINISHED


def test_a_quota_is_counted_before_the_call() -> None:
    calls = Calls()
    quota = Quota(1, "2026-11-26", 60)
    lease, record = calls.begin("a", quota).value
    assert calls.house.task("a").status is TaskStatus.RUNNING
    assert isinstance(calls.begin("b", quota).error, OverLimit)
    lease.release(CallResult.ANSWERED)
    assert calls.house.in_flight == 0
    calls.end(record)


def test_who_leaves_while_the_quota_is_counted_holds_no_slot() -> None:
    calls = Calls()
    calls.house.store.holding = {"add"}
    call = calls.begin("a", Quota(9, "2026-11-26", 60))
    deferred: Deferred[Any] = call.deferred
    deferred.cancel()
    assert call.over and calls.house.in_flight == 0
    calls.house.store.release()
    assert calls.house.task("a").status is TaskStatus.CANCELLED
