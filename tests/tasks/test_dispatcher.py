"""Queued tasks: each runs once, in order, and no failure of a replica or of the store leaves one lying."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from gateway_rig import NODE, STARTED, WORKSPACE, House, begun, done, once
from task_stores import sample
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ngpu.changing import changed
from ngpu.errors import CallCut, DialFailed, QueueFull, ResultLost, StoreUnavailable
from ngpu.model import CHUNK, BytesBody, Placement, Task, TaskStatus
from ngpu.tasks.orphans import STRAYS_EVERY
from ngpu.tasks.patience import READ_AGAIN, PatientBody
from ngpu.tasks.retrying import MOST_ATTEMPTS
from ngpu.testing.forwarder import FakeCall, FakeReply
from ngpu.testing.store import MemoryTaskStore, Shelf


def statuses(house: House) -> list[TaskStatus]:
    return [task.status for task in house.tasks]


def started(house: House) -> None:
    done(house.dispatcher.start())


def test_tasks_run_in_the_order_of_their_submission_one_a_slot() -> None:
    answers: list[Deferred[None]] = []

    def answer(call: FakeCall) -> FakeReply:
        answers.append(Deferred())
        return FakeReply(wait=answers[-1])

    house = House({18080: answer}, slots=2)
    ids = [house.submit(data=str(number).encode()) for number in range(6)]
    most = 0
    while answers:
        most = max(most, house.in_flight)
        answers.pop(0).callback(None)
    assert most == 2
    assert [call.body for call in house.forwarder.calls] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert [house.task(task_id).status for task_id in ids] == [TaskStatus.FINISHED] * 6
    house.assert_at_rest()


def test_a_backlog_with_many_free_slots_starts_one_pump() -> None:
    """Found at the start with slots for all of it: none is claimed twice, none stays, and nobody stands in the line."""
    shelf = Shelf()
    store = MemoryTaskStore(shelf)
    for number in range(7):
        done(store.add(_queued(str(number)), BytesBody(b"{}")))
    house = House({18080: lambda call: FakeReply(wait=Deferred())}, slots=4, shelf=shelf)
    started(house)
    assert house.sent == 4 and house.in_flight == 4 and house.line.waiting == 1
    house.forwarder.answers[18080] = FakeReply()
    for task in house.tasks[:4]:
        done(house.gateway.cancel(task.id, house.submission().access))
    assert statuses(house) == [TaskStatus.CANCELLED] * 4 + [TaskStatus.FINISHED] * 3
    house.assert_at_rest()


def test_claims_that_find_nothing_do_not_count_against_tasks_to_come() -> None:
    """The count of waiting tasks is too high after a cancel; what is submitted meanwhile must not be lost in that."""
    house = House({18080: once(FakeReply(wait=Deferred()), FakeReply())})
    running, waiting = house.submit(), house.submit()
    done(house.gateway.cancel(waiting, house.submission().access))
    house.store.holding = {"claim"}
    done(house.gateway.cancel(running, house.submission().access))
    last = begun(house.gateway.submit(house.submission())).value
    house.store.release()
    house.pass_time(2)
    assert house.task(last.id).status is TaskStatus.FINISHED


def test_a_queue_of_expired_tasks_does_not_spin() -> None:
    house = House({18080: FakeReply()}, up=False, queue={"ttl": "5s"})
    house.submit()
    house.clock.advance(6)
    house.store.asked.clear()
    house.health("r0", True)
    assert house.store.asked.count("claim") <= 2
    started(house)
    house.pass_time(2)
    assert statuses(house) == [TaskStatus.EXPIRED]
    assert house.store.asked.count("claim") <= 4
    house.assert_at_rest()


def test_what_waits_too_long_expires_and_wakes_its_watcher() -> None:
    house = House({18080: FakeReply()}, up=False, queue={"ttl": "5s"})
    started(house)
    waiting = begun(house.submit_and_wait(60))
    house.pass_time(4)
    assert not waiting.over
    house.pass_time(2.5)
    assert waiting.value.status is TaskStatus.EXPIRED


def test_ended_tasks_are_forgotten_after_their_retention() -> None:
    house = House({18080: FakeReply()}, retention="90s")
    started(house)
    house.submit()
    house.pass_time(60)
    assert len(house.tasks) == 1
    house.pass_time(120)
    assert house.tasks == []


def test_a_task_that_reached_no_replica_goes_back_and_runs_later() -> None:
    house = House({})
    first, second = house.submit(data=b"1"), house.submit(data=b"2")
    assert house.task(first).status is TaskStatus.QUEUED
    house.forwarder.answers[18080] = FakeReply()
    house.pass_time(5)
    assert [call.body for call in house.forwarder.calls] == [b"1", b"2"], "it has lost its place"
    assert [house.task(one).status for one in (first, second)] == [TaskStatus.FINISHED] * 2


def test_a_task_for_a_dead_port_does_not_hold_up_the_queue_for_ever() -> None:
    house = House({18080: FakeReply()})
    dead, good = house.submit(port=9090), house.submit()
    house.pass_time(120 * MOST_ATTEMPTS / 2)
    assert house.task(dead).status is TaskStatus.FAILED
    assert house.task(dead).attempt == MOST_ATTEMPTS
    assert house.task(good).status is TaskStatus.FINISHED
    house.assert_at_rest()


def test_a_task_that_kills_its_worker_is_sent_three_times_and_no_more() -> None:
    """Each send is followed by refused dials, as a worker's restart is: that must not make the sends be forgotten."""
    sent: list[float] = []
    house = House({}, retry="idempotent", timeout="600s")

    def crash(call: FakeCall) -> Any:
        if sent and house.clock.seconds() - sent[-1] < 5:
            return DialFailed("refused")
        sent.append(house.clock.seconds())
        return CallCut("the worker died")

    house.forwarder.answers[18080] = crash
    poison = house.submit()
    house.pass_time(300)
    assert len(sent) == 3
    assert house.task(poison).status is TaskStatus.FAILED
    house.assert_at_rest()


def test_a_sent_task_waits_for_another_slot_no_longer_than_the_timeout() -> None:
    house = House({18080: CallCut("cut")}, retry="idempotent", timeout="60s")
    house.forwarder.answers[18080] = lambda call: (house.health("r0", False), CallCut("cut"))[1]
    task_id = house.submit()
    assert house.task(task_id).status is TaskStatus.RUNNING
    house.pass_time(61)
    assert house.task(task_id).outcome is not None
    house.assert_at_rest()


def test_a_full_queue_takes_nothing_in() -> None:
    house = House({18080: FakeReply(wait=Deferred())}, queue={"limit": 1})
    house.submit()
    house.submit()
    assert isinstance(begun(house.gateway.submit(house.submission())).error, QueueFull)


@pytest.mark.parametrize("operation", ["claim", "finish", "requeue", "reattempt", "queued", "expire", "purge"])
def test_a_store_that_refuses_for_a_while_leaves_nothing_stuck(operation: str) -> None:
    cut = once(CallCut("cut"), FakeReply(pieces=(b"ok",)))
    house = House({18080: cut} if operation != "requeue" else {}, retry="idempotent")
    started(house)
    house.store.refusing = {operation}
    ids = [house.submit() for _ in range(3)]
    house.pass_time(10)
    assert house.in_flight <= 1
    house.forwarder.answers[18080] = FakeReply(pieces=(b"ok",))
    house.store.refusing.clear()
    house.pass_time(30)
    house.assert_at_rest()
    assert [house.task(task_id).status for task_id in ids[1:]] == [TaskStatus.FINISHED] * 2


def test_a_refused_add_is_told_and_leaves_nothing() -> None:
    house = House({18080: FakeReply()})
    house.store.refusing = {"add"}
    assert isinstance(begun(house.gateway.submit(house.submission())).error, StoreUnavailable)
    assert house.tasks == [] and house.sent == 0


def test_a_store_that_is_away_while_the_request_is_read_costs_no_task() -> None:
    house = House({18080: FakeReply(pieces=(b"ok",))}, up=False)
    house.store.refusing = {"request_body"}
    task_id = house.submit()
    house.health("r0", True)
    house.pass_time(10)
    assert house.task(task_id).status is TaskStatus.RUNNING
    house.store.refusing.clear()
    house.pass_time(2)
    assert house.task(task_id).status is TaskStatus.FINISHED
    assert [call.body for call in house.forwarder.calls] == [b"{}"]
    house.assert_at_rest()


def test_a_request_is_read_on_where_the_store_broke_off() -> None:
    clock = Clock()
    pieces = [b"ab", b"cde", b"", b"f"]

    class Breaking:
        length = 6
        breaks = [0, 1, 3, 2]

        async def chunks(self) -> AsyncIterator[bytes]:
            last = self.breaks.pop(0) if self.breaks else None
            for index, piece in enumerate(pieces):
                if index == last:
                    raise StoreUnavailable("away")
                yield piece

    async def read() -> list[bytes]:
        return [piece async for piece in PatientBody(Breaking(), clock).chunks()]

    reading = begun(read())
    for _ in range(4):
        assert not reading.over
        clock.advance(READ_AGAIN)
    assert reading.value == [b"ab", b"cde", b"f"]


def test_a_piece_that_is_refused_fails_the_task_rather_than_leave_a_hole() -> None:
    house = House({18080: FakeReply(pieces=(b"x" * CHUNK, b"y"))})
    house.store.refusing = {"write_result"}
    task = house.task(house.submit())
    assert task.status is TaskStatus.FAILED and task.outcome is not None and task.outcome.code == 503
    house.assert_at_rest()


@pytest.mark.parametrize("moment", ["queued", "running", "finishing"])
def test_a_cancelled_task_ends_once(moment: str) -> None:
    reply = FakeReply(wait=Deferred()) if moment == "running" else FakeReply(pieces=(b"ok",))
    house = House({18080: reply}, up=moment != "queued")
    if moment == "finishing":
        house.store.holding = {"finish"}
    task_id = house.submit()
    done(house.gateway.cancel(task_id, house.submission().access))
    house.store.release()
    house.health("r0", True)
    house.pass_time(5)
    assert house.task(task_id).status is TaskStatus.CANCELLED
    assert house.sent == (0 if moment == "queued" else 1)
    house.assert_at_rest()


def test_a_policy_that_chooses_nobody_lets_tasks_wait_until_it_does() -> None:
    class Picky:
        willing = False

        def select(self, replicas: Any, request: Any) -> Any:
            return replicas[0] if self.willing else None

    policy = Picky()
    house = House({18080: FakeReply()}, policy=policy)
    task_id = house.submit()
    assert house.task(task_id).status is TaskStatus.QUEUED
    policy.willing = True
    house.health("r0", True)
    assert house.task(task_id).status is TaskStatus.FINISHED


# Starting after another process, and stopping.


def _queued(task_id: str, **fields: Any) -> Task:
    given = {"workspace": WORKSPACE, "submitted_at": STARTED, "expires_at": STARTED + 3600, **fields}
    return sample(task_id, **given)


def left_running(**fields: Any) -> Shelf:
    """What a process leaves that dies in the middle of a task."""
    shelf = Shelf()
    store = MemoryTaskStore(shelf)
    done(store.add(_queued("orphan", **fields), BytesBody(b"{}")))
    done(store.claim(fields.get("workspace", WORKSPACE), Placement("r0", NODE.address, NODE.host), STARTED))
    return shelf


@pytest.mark.parametrize(
    ("retry", "direct", "status", "sends"),
    [
        ("connect", False, TaskStatus.FAILED, 0),
        ("never", False, TaskStatus.FAILED, 0),
        ("idempotent", False, TaskStatus.FINISHED, 1),
        ("idempotent", True, TaskStatus.FAILED, 0),
    ],
)
def test_a_task_of_a_dead_process_runs_again_only_if_it_may(
    retry: str, direct: bool, status: TaskStatus, sends: int
) -> None:
    house = House({18080: FakeReply()}, shelf=left_running(direct=direct), retry=retry)
    started(house)
    task = house.task("orphan")
    assert (task.status, house.sent) == (status, sends)
    assert task.attempt == 2 + sends, "that it was taken over is an attempt"
    if not sends:
        assert task.outcome is not None and "unknown" in task.outcome.reason
    house.assert_at_rest()


@pytest.mark.parametrize(
    ("retry", "status"), [("never", TaskStatus.FAILED), ("idempotent", TaskStatus.FINISHED)], ids=str
)
def test_a_task_that_runs_by_the_store_alone_is_settled(retry: str, status: TaskStatus) -> None:
    """The store has forgotten that it ended. One that does run here is left to its end."""
    runs: Deferred[Any] = Deferred()
    house = House({18080: FakeReply(wait=runs)}, retry=retry, slots=2, timeout="10m")
    started(house)
    long = house.submit()
    house.forwarder.answers[18080] = FakeReply(pieces=(b"ok",))
    stray = house.submit()
    house.pass_time(0.1)
    record = house.shelf.records[stray]
    assert record.task.status is TaskStatus.FINISHED
    record.task = changed(record.task, status=TaskStatus.RUNNING, outcome=None, ended_at=None)
    house.pass_time(STRAYS_EVERY - 1)
    assert house.task(stray).status is TaskStatus.RUNNING
    house.pass_time(2 * STRAYS_EVERY)
    settled = house.task(stray)
    assert settled.status is status
    if status is TaskStatus.FAILED:
        assert settled.outcome is not None
        assert settled.outcome.reason.startswith("the store forgot what became of the task on ")
        assert "so its outcome is unknown" in settled.outcome.reason
    assert (house.task(long).status, house.task(long).attempt) == (TaskStatus.RUNNING, 1)
    runs.callback(None)
    house.pass_time(1)
    assert house.task(long).status is TaskStatus.FINISHED
    house.assert_at_rest()


def test_a_task_whose_result_the_store_has_lost_a_part_of_fails() -> None:
    house = House({18080: FakeReply(pieces=(bytes(2 * CHUNK), b"!"))})
    finish = house.store.finish

    async def forgetful(*args: Any, **kwargs: Any) -> bool:
        if args[4] is not None and args[4][0] > 0:
            raise ResultLost
        return bool(await finish(*args, **kwargs))

    house.store.finish = forgetful
    started(house)
    task_id = house.submit()
    house.pass_time(0.1)
    task = house.task(task_id)
    assert task.outcome is not None and (task.status, task.outcome.code) == (TaskStatus.FAILED, 503)
    assert "lost a part of the result" in task.outcome.reason
    house.assert_at_rest()


def test_an_orphan_of_a_workspace_that_is_gone_ends() -> None:
    house = House(shelf=left_running(workspace="gone"), retry="idempotent")
    started(house)
    assert house.task("orphan").status is TaskStatus.FAILED


def test_a_stop_waits_for_what_runs_and_claims_nothing_more() -> None:
    answer: Deferred[None] = Deferred()
    house = House({18080: FakeReply(wait=answer)})
    running, waiting = house.submit(), house.submit()
    house.line.close()
    stopping = begun(house.dispatcher.stop(20))
    house.pass_time(5)
    assert not stopping.over
    answer.callback(None)
    assert stopping.over
    assert house.task(running).status is TaskStatus.FINISHED
    assert house.task(waiting).status is TaskStatus.QUEUED
    assert house.in_flight == 0


def test_a_stop_answers_those_who_watch_a_task_at_once() -> None:
    """They have the id, and can ask the next process."""
    house = House({18080: FakeReply(wait=Deferred())})
    watch = house.runs.watch(house.submit(), 60)
    begun(house.dispatcher.stop(20))
    assert watch.called
    house.pass_time(21)


def test_a_stop_cuts_what_does_not_end_and_the_next_start_settles_it() -> None:
    house = House({18080: FakeReply(wait=Deferred())})
    task_id = house.submit()
    house.stop(5)
    assert house.task(task_id).status is TaskStatus.RUNNING and house.in_flight == 0
    after = House({18080: FakeReply()}, shelf=house.shelf)
    started(after)
    assert after.task(task_id).status is TaskStatus.FAILED
    assert after.sent == 0


def test_a_stop_hands_back_what_was_claimed_meanwhile() -> None:
    house = House({18080: FakeReply()}, up=False)
    house.store.holding = {"claim"}
    task_id = house.submit()
    house.health("r0", True)
    house.line.close()
    stopping = begun(house.dispatcher.stop(5))
    house.store.release()
    house.pass_time(1)
    assert stopping.over and house.sent == 0 and house.in_flight == 0
    assert house.task(task_id).status is TaskStatus.QUEUED


def test_a_stop_does_not_wait_for_ever_for_a_store_that_refuses() -> None:
    house = House({18080: FakeReply()})
    house.store.refusing = {"finish"}
    task_id = house.submit()
    house.pass_time(3)
    house.stop(5)
    assert house.task(task_id).status is TaskStatus.RUNNING


def test_a_task_that_waits_to_be_sent_again_goes_back_when_the_gateway_stops() -> None:
    house = House({}, retry="idempotent")
    house.forwarder.answers[18080] = lambda call: (house.health("r0", False), CallCut("cut"))[1]
    task_id = house.submit()
    house.stop(5)
    assert house.task(task_id).status is TaskStatus.QUEUED
