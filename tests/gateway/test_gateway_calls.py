"""Calls that a client waits for: one outcome each, whatever the replica, the store and other clients do."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_rig import House, begun, done, once
from task_stores import whole
from twisted.internet.defer import Deferred

from ngpu.errors import (
    BadReply,
    CallCut,
    CallTimeout,
    Conflict,
    NoReplica,
    NotFound,
    QueueFull,
    StoreUnavailable,
    Unavailable,
)
from ngpu.model import CHUNK, TaskStatus
from ngpu.settings import Workspace
from ngpu.tenancy import Access
from ngpu.testing.forwarder import FakeReply

COUNTED = {"per_day": 1000}
"""A quota, for which a call has its record before it is made."""


def test_a_call_is_answered_and_recorded() -> None:
    house = House({18080: FakeReply(pieces=(b"a", b"b"))})
    over = house.call(data=b'{"q":1}').value
    assert over.task.status is TaskStatus.FINISHED and over.task.direct
    assert done(whole(over.result)) == b"ab"
    assert house.forwarder.calls[0].body == b'{"q":1}'
    record = house.task(over.task.id)
    assert (record.status, record.placement.replica, record.attempt) == (TaskStatus.FINISHED, "r0", 1)
    assert done(whole(house.gateway.result_of(record))) == b"ab"
    house.assert_at_rest()


def test_a_large_result_is_read_from_the_store() -> None:
    data = bytes(range(256)) * (3 * CHUNK // 256) + b"end"
    pieces = tuple(data[at : at + 70_000] for at in range(0, len(data), 70_000))
    house = House({18080: FakeReply(pieces=pieces)})
    over = house.call().value
    assert done(whole(over.result)) == data


@pytest.mark.parametrize(
    ("retry", "error", "sends"),
    [
        ("connect", CallCut("cut"), 1),
        ("never", CallCut("cut"), 1),
        ("idempotent", CallCut("cut"), 3),
        ("idempotent", CallTimeout("slow"), 3),
        ("idempotent", BadReply("garbage"), 1),
    ],
)
def test_a_call_that_failed_is_sent_again_only_where_that_does_no_harm(retry: str, error: Any, sends: int) -> None:
    house = House({18080: error, 18081: error}, replicas=2, retry=retry)
    call = house.call()
    house.pass_time(100)
    assert call.value.task.outcome.reason == str(error)
    assert house.sent == sends
    assert call.value.task.attempt == sends == house.task(call.value.task.id).attempt
    house.assert_at_rest()


def test_a_failed_dial_is_tried_on_another_replica() -> None:
    house = House({18081: FakeReply()}, replicas=2)
    over = [house.call().value for _ in range(2)]
    assert [one.task.placement.replica for one in over] == ["r1", "r1"]
    assert house.sent == 2


def test_a_failed_dial_is_not_tried_again_where_retry_says_never() -> None:
    house = House({18081: FakeReply()}, replicas=2, retry="never")
    assert house.call().value.task.status is TaskStatus.FAILED
    assert house.sent == 0


def test_dialling_in_vain_ends_with_the_workspaces_timeout() -> None:
    """Health checks may pass on one port while nobody listens on the other: the client is told in time."""
    house = House({18080: FakeReply()}, timeout="60s")
    call = house.call(port=9090)
    house.pass_time(59)
    assert not call.over
    house.pass_time(62)
    assert call.value.task.outcome.status is TaskStatus.FAILED
    house.assert_at_rest()


def test_a_client_is_told_when_nothing_is_up_after_the_grace() -> None:
    house = House({18080: FakeReply()}, up=False)
    house.health("r0", False)
    call = house.call()
    house.pass_time(9.5)
    assert not call.over
    house.pass_time(1)
    assert isinstance(call.error, NoReplica)
    assert [task.status for task in house.tasks] == [TaskStatus.FAILED]
    ends = house.metrics.counted(house.metrics.tasks, house.workspace.label, "failed")
    assert [each.value for each in ends if each.name.endswith("_total")] == [1]


def test_a_client_is_told_when_everything_goes_down_while_it_waits() -> None:
    house = House({18080: FakeReply(wait=Deferred())})
    house.call()
    waiting = house.call()
    house.pass_time(15)
    house.health("r0", False)
    house.pass_time(11)
    assert isinstance(waiting.error, NoReplica)


def test_as_many_calls_wait_as_may() -> None:
    house = House({18080: FakeReply(wait=Deferred())}, queue={"limit": 1})
    running, waiting, refused = house.call(), house.call(), house.call()
    assert not running.over and not waiting.over
    assert isinstance(refused.error, QueueFull)


def test_a_limit_of_no_waiting_calls_refuses_none_that_need_not_wait() -> None:
    house = House({18080: once(FakeReply(), FakeReply(wait=Deferred()))}, queue={"limit": 0})
    assert house.call().value.task.status is TaskStatus.FINISHED
    house.call()
    assert isinstance(house.call().error, QueueFull)


def test_a_call_that_is_not_recorded_is_not_made() -> None:
    """Where its quota is counted before it; and where the store has refused the record of one before it."""
    house = House({18080: FakeReply()}, quota=COUNTED)
    house.store.refusing = {"add"}
    assert isinstance(house.call().error, StoreUnavailable)
    assert house.sent == 0
    house.assert_at_rest()


def test_a_client_waits_for_the_record_of_its_end() -> None:
    house = House({18080: FakeReply(pieces=(b"ok",))}, slots=2)
    house.store.refusing = {"add"}
    first = house.call()
    assert not first.over and house.in_flight == 0
    assert isinstance(house.call().error, StoreUnavailable)
    assert house.sent == 1
    house.store.refusing.clear()
    house.pass_time(2)
    assert done(whole(first.value.result)) == b"ok"
    assert house.task(first.value.task.id).status is TaskStatus.FINISHED
    assert house.call().value.task.status is TaskStatus.FINISHED
    house.assert_at_rest()


def test_an_answer_reaches_its_client_though_its_end_cannot_be_recorded_yet() -> None:
    house = House({18080: FakeReply(pieces=(b"ok",))}, quota=COUNTED)
    house.store.refusing = {"finish"}
    over = house.call().value
    assert done(whole(over.result)) == b"ok"
    assert house.in_flight == 0
    assert house.task(over.task.id).status is TaskStatus.RUNNING
    house.store.refusing.clear()
    house.pass_time(2)
    assert house.task(over.task.id).status is TaskStatus.FINISHED


def test_a_large_answer_waits_for_the_store_that_holds_it() -> None:
    house = House({18080: FakeReply(pieces=(b"x" * CHUNK, b"y"))})
    house.store.refusing = {"finish"}
    call = house.call()
    assert not call.over and house.in_flight == 0
    house.store.refusing.clear()
    house.pass_time(2)
    assert done(whole(call.value.result)) == b"x" * CHUNK + b"y"


@pytest.mark.parametrize("held", ["finish", "write_result", ""])
def test_a_client_whose_task_was_cancelled_by_another_is_told_so(held: str) -> None:
    pieces = (b"x" * CHUNK, b"y") if held else ()
    house = House({18080: FakeReply(pieces=pieces, wait=None if held else Deferred())}, quota=COUNTED)
    house.store.holding = {held}
    call = house.call()
    begun(house.gateway.cancel(house.tasks[0].id, house.submission().access))
    assert isinstance(call.error, Conflict)
    house.store.release()
    assert house.tasks[0].status is TaskStatus.CANCELLED
    house.assert_at_rest()


def test_a_fenced_off_attempt_writes_nothing() -> None:
    """Cancelled while the next attempt is being placed: the store says so, and the second send is never made."""
    house = House({18080: CallCut("cut")}, replicas=1, retry="idempotent", quota=COUNTED)
    house.store.holding = {"reattempt"}
    call = house.call()
    done(house.store.inner.cancel(house.tasks[0].id, house.clock.seconds()))
    house.store.release()
    assert isinstance(call.error, Conflict)
    assert house.sent == 1
    house.assert_at_rest()


def test_a_surprise_ends_the_task_and_gives_the_slot_back(no_leaks: Any) -> None:
    """Whatever a forwarder raises, a record does not stay RUNNING, and its owner is told nothing of our insides."""
    no_leaks.expect(ZeroDivisionError)

    def surprise(call: Any) -> Any:
        raise ZeroDivisionError("secret")

    house = House({18080: surprise})
    over = house.call().value
    assert over.task.outcome.code == 500 and "secret" not in over.task.outcome.reason
    task_id = house.submit()
    assert house.task(task_id).status is TaskStatus.FAILED
    house.assert_at_rest()


def test_the_workers_own_error_is_the_outcome() -> None:
    house = House({18080: FakeReply(422, (b'{"detail":[]}',))})
    over = house.call().value
    assert (over.task.outcome.code, over.task.outcome.worker_status) == (422, 422)
    assert done(whole(over.result)) == b'{"detail":[]}'


def test_a_result_over_the_limit_fails_the_call() -> None:
    house = House({18080: FakeReply(pieces=(b"x" * 101,))}, result_limit="100B")
    over = house.call().value
    assert over.task.outcome.code == 502 and over.result is None
    assert house.gateway.result_of(house.task(over.task.id)) is None


def test_a_foreign_task_is_not_there() -> None:
    house = House({18080: FakeReply()})
    task_id = house.submit()
    stranger = Access(Workspace.model_validate({"id": "other", "ports": {1: 1}}), "key")
    for work in (house.gateway.task(task_id, stranger), house.gateway.cancel(task_id, stranger)):
        assert isinstance(begun(work).error, NotFound)
    missing, foreign = begun(house.gateway.task("none", stranger)), begun(house.gateway.task(task_id, stranger))
    assert str(missing.error) == str(foreign.error)


def test_an_ended_task_cannot_be_cancelled() -> None:
    house = House({18080: FakeReply()})
    task_id = house.submit()
    assert isinstance(begun(house.gateway.cancel(task_id, house.submission().access)).error, Conflict)
    assert house.task(task_id).status is TaskStatus.FINISHED


def test_nobody_can_tell_holdings_without_a_gate() -> None:
    assert isinstance(begun(House().gateway.holdings("a", None)).error, Unavailable)


def test_a_queued_task_knows_its_place() -> None:
    house = House({18080: once(FakeReply(wait=Deferred()))})
    house.submit()
    waiting = [house.submit() for _ in range(2)]
    standing = done(house.gateway.standing(house.task(waiting[1])))
    assert standing == {"queue_position": 2, "wait_estimate": None}


def test_a_call_outlives_an_outage_of_dials() -> None:
    house = House({}, replicas=2)
    call = house.call()
    assert not call.over
    house.forwarder.answers[18080] = FakeReply()
    house.pass_time(5)
    assert call.value.task.status is TaskStatus.FINISHED
