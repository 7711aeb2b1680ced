"""A task that finds a slot free as it comes: it never waits, and the store is asked once less."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_rig import House, begun, done
from twisted.internet.defer import Deferred

from ngpu.errors import StoreUnavailable
from ngpu.model import CHUNK, TaskStatus
from ngpu.submission import Wishes
from ngpu.testing.forwarder import FakeReply


def test_it_is_added_as_a_running_one_and_told_as_one_that_came() -> None:
    answering: Deferred[None] = Deferred()
    house = House({18080: FakeReply(wait=answering)})
    told = done(house.gateway.submit(house.submission(data=b"q")))
    assert (told.status, told.attempt, told.started_at, told.number) == (TaskStatus.QUEUED, 0, None, 1)
    task = house.task(told.id)
    assert (task.status, task.attempt, task.placement.replica) == (TaskStatus.RUNNING, 1, "r0")
    assert not task.direct, "it may run again after a crash, where its workspace says so"
    assert house.store.asked == ["add"]
    answering.callback(None)
    assert house.store.asked == ["add", "finish"]
    assert house.task(told.id).status is TaskStatus.FINISHED
    house.assert_at_rest()


def test_one_behind_others_waits() -> None:
    house = House({18080: FakeReply(wait=Deferred())}, slots=1)
    ids = [house.submit() for _ in range(3)]
    assert [house.task(task_id).status for task_id in ids] == [TaskStatus.RUNNING, TaskStatus.QUEUED, TaskStatus.QUEUED]


def test_one_that_comes_while_others_wait_for_the_store_does_not_overtake_them() -> None:
    house = House({18080: FakeReply()}, slots=1)
    house.store.holding = {"add"}
    first, second = (begun(house.gateway.submit(house.submission(data=data))) for data in (b"1", b"2"))
    house.store.release()
    assert first.over and second.over
    assert [call.body for call in house.forwarder.calls] == [b"1", b"2"]
    house.assert_at_rest()


@pytest.mark.parametrize("fields", [{}, {"quota": {"per_day": 1}}])
def test_one_that_is_refused_leaves_its_slot_free(fields: dict[str, Any]) -> None:
    house = House({18080: FakeReply()}, **fields)
    house.store.refusing = {"add"}
    assert isinstance(begun(house.gateway.submit(house.submission())).error, StoreUnavailable)
    assert house.in_flight == 0 and house.sent == 0
    house.store.refusing.clear()
    house.submit()
    house.assert_at_rest()


def test_one_whose_key_came_before_leaves_its_slot_free() -> None:
    house = House({18080: FakeReply()})
    keyed = {"wishes": Wishes(key="k")}
    first = house.submit(**keyed)
    assert house.submit(**keyed) == first
    assert house.sent == 1
    house.assert_at_rest()


def test_one_that_is_being_added_when_the_gateway_stops_waits_for_the_next() -> None:
    house = House({18080: FakeReply()})
    house.store.holding = {"add"}
    submitting = begun(house.gateway.submit(house.submission()))
    house.line.close()
    house.dispatcher.retire()
    house.store.release()
    house.pass_time(1)
    assert house.task(submitting.value.id).status is TaskStatus.QUEUED
    assert house.sent == 0 and house.in_flight == 0


@pytest.mark.parametrize(("size", "read"), [(CHUNK, False), (CHUNK + 1, True)])
def test_only_a_large_request_is_read_from_the_store(size: int, read: bool) -> None:
    """No slot stands idle while that is written, and it is held in memory no longer than that takes."""
    house = House({18080: FakeReply(pieces=(b"ok",))})
    house.store.refusing = {"request_body"}
    house.store.holding = {"add"} if read else set()
    adding = begun(house.gateway.submit(house.submission(data=b"x" * size)))
    assert house.in_flight == 0
    house.store.release()
    task_id = adding.value.id
    assert house.task(task_id).status is (TaskStatus.RUNNING if read else TaskStatus.FINISHED)
    house.store.refusing.clear()
    house.pass_time(5)
    assert [call.body for call in house.forwarder.calls] == [b"x" * size]
    house.assert_at_rest()


def test_a_failed_dial_puts_it_into_the_queue() -> None:
    house = House({}, slots=1)
    task_id = house.submit()
    assert house.task(task_id).status is TaskStatus.QUEUED
    house.forwarder.answers[18080] = FakeReply()
    house.pass_time(10)
    assert house.task(task_id).status is TaskStatus.FINISHED
    house.assert_at_rest()
