"""Ends of raw calls: gathered for a moment, written together, and again where the store refuses."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from gateway_rig import begun, done
from leaks import LeakWatch
from raw_ends import FINISHED, Calls
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from ngpu.direct import ends
from ngpu.direct.ends import GATHER_FOR, MOST_AT_ONCE
from ngpu.errors import StoreUnavailable
from ngpu.model import Task, TaskStatus
from ngpu.waiting import Handle


def test_those_of_a_moment_are_one_write() -> None:
    calls = Calls()
    calls.end("a", "b")
    calls.house.clock.advance(GATHER_FOR * 0.6)
    calls.end("c")
    assert calls.house.store.asked == []
    calls.house.clock.advance(GATHER_FOR * 0.6)
    assert calls.house.store.asked == ["add_ended"]
    assert calls.names == ["a", "b", "c"]
    assert {task.outcome for task in calls.house.tasks} == {FINISHED}
    assert calls.counted() == 3


def test_who_asks_does_not_wait_for_others() -> None:
    calls = Calls()
    calls.end("a", "b")
    assert begun(calls.direct.settle("b")).over
    assert calls.names == ["a", "b"]
    calls.end("c")
    done(calls.direct.settle_all())
    assert calls.names == ["a", "b", "c"]


def test_one_write_at_a_time_and_those_behind_it_follow_at_once() -> None:
    calls = Calls()
    calls.house.store.holding = {"add_ended"}
    calls.end("a")
    calls.house.clock.advance(GATHER_FOR * 1.1)
    calls.end("b")
    calls.house.pass_time(1)
    asked = begun(calls.direct.settle("b"))
    assert calls.house.store.asked == ["add_ended"]
    assert not asked.over
    calls.house.store.release()
    assert asked.over
    assert calls.names == ["a", "b"]


def test_what_the_store_refuses_is_written_once_it_does_not() -> None:
    calls = Calls()
    calls.house.store.refusing = {"add_ended"}
    calls.end("a", "b")
    asked = begun(calls.direct.settle("a"))
    assert asked.over, "who asks hears from the store itself that it is away"
    calls.end("c")
    calls.house.pass_time(3, 0.1)
    assert calls.names == [] and calls.counted() == 0
    calls.house.store.refusing.clear()
    calls.house.pass_time(2, 0.1)
    assert sorted(calls.names) == ["a", "b", "c"]
    assert calls.counted() == 3


def test_one_that_was_refused_once_is_not_called_running_for_ever() -> None:
    calls = Calls()
    calls.house.store.holding = {"add_ended"}
    calls.end("a")
    listing = begun(calls.direct.settle_all())
    calls.house.store.holding, calls.house.store.refusing = set(), {"add_ended"}
    calls.house.store.release()
    calls.house.store.refusing = set()
    assert listing.over
    calls.house.pass_time(3, 0.1)
    assert calls.house.task("a").outcome == FINISHED
    assert calls.counted() == 1


def test_a_timer_finds_that_its_ends_went_right_behind_others() -> None:
    calls = Calls()
    calls.house.store.holding = {"add_ended"}
    calls.end("first")
    calls.house.clock.advance(GATHER_FOR * 1.1)
    calls.end(*(f"t{number}" for number in range(MOST_AT_ONCE)))
    calls.house.clock.advance(GATHER_FOR * 1.1)
    calls.end("last")
    calls.house.store.holding = set()
    calls.house.store.release()
    calls.house.clock.advance(GATHER_FOR * 1.1)
    assert len(calls.names) == MOST_AT_ONCE + 2
    assert calls.counted() == MOST_AT_ONCE + 2


def test_no_write_is_without_bounds() -> None:
    calls = Calls()
    calls.end(*(f"t{number}" for number in range(MOST_AT_ONCE + 1)))
    calls.house.clock.advance(GATHER_FOR * 1.1)
    assert calls.house.store.asked == ["add_ended", "add_ended"]
    assert len(calls.names) == MOST_AT_ONCE + 1


def test_one_that_cannot_be_written_takes_no_other_along(monkeypatch: pytest.MonkeyPatch, no_leaks: LeakWatch) -> None:
    no_leaks.expect(ZeroDivisionError)
    calls = Calls()
    add_ended = calls.house.store.add_ended

    async def choosy(tasks: Sequence[Task]) -> None:
        if any(task.id == "bad" for task in tasks):
            raise ZeroDivisionError
        await add_ended(tasks)

    monkeypatch.setattr(calls.house.store, "add_ended", choosy, raising=False)
    calls.end("a", "bad", "b")
    with capturedLogs() as events:
        calls.house.clock.advance(GATHER_FOR * 1.1)
    assert calls.names == ["a", "b"]
    assert calls.counted() == 2
    (failure,) = [event for event in events if "log_failure" in event]
    assert failure["task_id"] == "bad"
    asked = begun(calls.direct.settle("bad"))
    assert asked.over
    calls.end("c")
    calls.house.clock.advance(GATHER_FOR * 1.1)
    assert calls.names == ["a", "b", "c"]


def test_no_more_calls_are_made_than_may_wait_for_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "MOST_WAITING", 3)
    calls = Calls()
    calls.house.store.refusing = {"add", "add_ended"}
    calls.end("a", "b", "c")
    calls.house.pass_time(1, 0.1)
    with pytest.raises(StoreUnavailable):
        calls.begin("d")
    assert calls.house.in_flight == 3, "those of this test do not give their slots back"
    calls.house.store.refusing = set()
    calls.house.pass_time(2, 0.1)
    assert sorted(calls.names) == ["a", "b", "c"]
    calls.house.store.refusing = {"add", "add_ended"}
    calls.end("e")


def test_the_same_goes_for_a_store_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "MOST_WAITING", 3)
    calls = Calls()
    calls.house.store.holding = {"add", "add_ended"}
    calls.end("a")
    calls.house.clock.advance(GATHER_FOR * 1.1)
    calls.end("b", "c")
    fourth = begun(calls.beginning("d"))
    assert not fourth.over, "it waits for its record"
    calls.house.store.release()
    calls.house.pass_time(1, 0.1)
    assert fourth.over
    assert sorted(calls.names) == ["a", "b", "c", "d"]


def test_the_gateways_stop_waits_for_them() -> None:
    calls = Calls()
    calls.end("a")
    stopping = begun(calls.house.runs.stop(5.0))
    assert not stopping.over
    calls.house.clock.advance(GATHER_FOR * 1.1)
    assert stopping.over
    assert calls.names == ["a"]


@pytest.mark.parametrize("runs", [False, True])
def test_it_waits_for_one_that_comes_meanwhile(runs: bool) -> None:
    calls = Calls()
    record = calls.begin("a")
    work = Handle()
    work.work = Deferred()
    calls.house.runs.hold("a", work)
    if runs:
        done(calls.direct.settle("a"))
        calls.house.store.holding = {"finish"}
    stopping = begun(calls.house.runs.stop(5.0))
    calls.direct.end(record, record.task, FINISHED)
    calls.house.runs.let_go("a", work)
    work.work.callback(None)
    assert not stopping.over
    calls.house.store.release()
    calls.house.clock.advance(GATHER_FOR * 1.1)
    assert stopping.over
    assert [task.status for task in calls.house.tasks] == [TaskStatus.FINISHED]


def test_it_waits_for_a_store_that_hangs_no_longer_than_it_may() -> None:
    calls = Calls()
    calls.house.store.holding = {"add_ended"}
    calls.end("a")
    calls.house.clock.advance(GATHER_FOR * 1.1)
    stopping = begun(calls.house.runs.stop(5.0))
    calls.house.clock.advance(4.0)
    assert not stopping.over
    calls.house.clock.advance(1.1)
    assert stopping.over


def test_one_whose_start_is_in_the_store_ends_there() -> None:
    calls = Calls()
    record = calls.begin("a")
    done(calls.direct.settle("a"))
    calls.direct.end(record, record.task, FINISHED)
    assert calls.house.store.asked == ["add", "finish"]
    assert calls.house.task("a").outcome == FINISHED
    assert calls.counted() == 1
