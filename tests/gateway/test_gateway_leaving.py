"""A client that goes away, at each point where its call waits, costs no slot and leaves no task behind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from gateway_rig import House, Watched, begun, once
from twisted.internet.defer import CancelledError, Deferred

from ngpu.errors import CallCut
from ngpu.gates import Gate
from ngpu.model import CHUNK, Holdings, TaskStatus
from ngpu.settings.gate import Gate as GateSettings
from ngpu.testing.forwarder import FakeReply

Scene = Callable[[], tuple[House, Watched]]
COUNTED = {"per_day": 1000}
"""A quota, for which a call has its record before it is made."""


class SilentChecker:
    """Never answers."""

    async def holdings(self, address: str, tickers: Any) -> Holdings:
        return await Deferred()


def at_the_gate() -> tuple[House, Watched]:
    house = House({18080: FakeReply()}, gate="g")
    settings = GateSettings.model_validate({"checker": "x", "tickers": ["AINN"], "on_unknown": "allow"})
    house.gates["g"] = Gate(settings, SilentChecker(), house.clock, lambda text: True)
    return house, house.call(btc_address="a")


def in_line() -> tuple[House, Watched]:
    house = House({18080: FakeReply()})
    house.health("r0", False)
    return house, house.call()


def while_added() -> tuple[House, Watched]:
    house = House({18080: FakeReply()})
    house.store.holding = {"add"}
    return house, house.call()


def at_the_worker() -> tuple[House, Watched]:
    house = House({18080: FakeReply(wait=Deferred())})
    return house, house.call()


def while_written() -> tuple[House, Watched]:
    house = House({18080: FakeReply(pieces=(b"x" * CHUNK, b"y"))})
    house.store.holding = {"write_result"}
    return house, house.call()


def while_counted() -> tuple[House, Watched]:
    house = House({18080: FakeReply()}, quota=COUNTED)
    house.store.holding = {"add"}
    return house, house.call()


def while_finished() -> tuple[House, Watched]:
    house = House({18080: FakeReply(pieces=(b"x",))}, quota=COUNTED)
    house.store.holding = {"finish"}
    return house, house.call()


def while_the_end_is_refused() -> tuple[House, Watched]:
    house = House({18080: FakeReply(pieces=(b"x" * CHUNK, b"y"))})
    house.store.refusing = {"finish"}
    return house, house.call()


def waiting_for_another_slot() -> tuple[House, Watched]:
    house = House({}, replicas=1)
    return house, house.call()


def while_fenced() -> tuple[House, Watched]:
    house = House({18080: once(CallCut("cut"), FakeReply())}, retry="idempotent", quota=COUNTED)
    house.store.holding = {"reattempt"}
    return house, house.call()


SCENES: list[Scene] = [
    at_the_gate,
    in_line,
    while_added,
    while_counted,
    at_the_worker,
    while_written,
    while_finished,
    while_the_end_is_refused,
    waiting_for_another_slot,
    while_fenced,
]


def counted(house: House) -> Counter[str]:
    """The ends that the metrics tell of, by status."""
    lines = re.findall(r'^ngpu_tasks_ended_total{status="(\w+)",.*} (\d+)', house.metrics.exposition().decode(), re.M)
    return Counter({status: int(number) for status, number in lines})


@pytest.mark.parametrize("scene", SCENES)
def test_a_call_whose_client_leaves_settles(scene: Scene) -> None:
    house, call = scene()
    assert not call.over, "the scene is not where it should be"
    call.deferred.cancel()
    assert isinstance(call.error, CancelledError)
    house.store.release()
    house.store.refusing.clear()
    house.pass_time(5)
    house.assert_at_rest()
    assert all(task.status in (TaskStatus.CANCELLED, TaskStatus.FINISHED) for task in house.tasks)
    assert counted(house) == Counter(task.status.value for task in house.tasks), "each record is counted once"
    house.health("r0", True)
    house.forwarder.answers[18080] = FakeReply()
    house.pass_time(70)
    assert house.call().value.task.status is TaskStatus.FINISHED, "the slot serves no more"


@pytest.mark.parametrize("scene", SCENES[2:])
def test_a_cancelled_record_waits_for_the_store(scene: Scene) -> None:
    """The store refuses just when the client leaves: the record is settled once it does not."""
    house, call = scene()
    house.store.refusing |= {"cancel"}
    call.deferred.cancel()
    house.store.release()
    house.pass_time(5)
    assert house.in_flight == 0
    house.store.refusing.clear()
    house.pass_time(3)
    house.assert_at_rest()


def test_nobody_who_left_at_the_gate_is_let_through() -> None:
    """`on_unknown: allow` is for a checker that cannot tell, not for a client that did not wait."""
    house, call = at_the_gate()
    call.deferred.cancel()
    house.pass_time(10)
    assert house.sent == 0 and house.tasks == []


def test_a_task_is_taken_in_though_its_client_did_not_wait_for_the_disk() -> None:
    house = House({18080: FakeReply(pieces=(b"ok",))})
    house.store.holding = {"add"}
    submitting = begun(house.gateway.submit(house.submission()))
    submitting.deferred.cancel()
    house.store.release()
    house.assert_at_rest()
    assert [task.status for task in house.tasks] == [TaskStatus.FINISHED]


def test_waiting_for_a_task_that_ended_at_once_leaves_no_watch() -> None:
    house = House({18080: FakeReply(pieces=(b"ok",))})
    task = begun(house.submit_and_wait(30)).value
    assert task.status is TaskStatus.FINISHED
    assert house.clock.getDelayedCalls() == []


def test_whoever_stops_waiting_for_a_task_leaves_it_running() -> None:
    answer: Deferred[None] = Deferred()
    house = House({18080: FakeReply(wait=answer)})
    waiting = begun(house.submit_and_wait(30))
    waiting.deferred.cancel()
    assert isinstance(waiting.error, CancelledError)
    answer.callback(None)
    assert [task.status for task in house.tasks] == [TaskStatus.FINISHED]
    assert house.clock.getDelayedCalls() == []


def test_the_id_of_a_task_is_told_though_the_store_cannot_be_read() -> None:
    house = House({18080: FakeReply(wait=Deferred())})
    house.store.refusing = {"get"}
    task = begun(house.submit_and_wait(30)).value
    assert house.task(task.id).status is TaskStatus.RUNNING


def test_cancelling_a_task_aborts_its_call_though_the_canceller_left() -> None:
    house = House({18080: FakeReply(wait=Deferred())})
    task_id = house.submit()
    house.store.holding = {"cancel"}
    cancelling = begun(house.gateway.cancel(task_id, house.submission().access))
    cancelling.deferred.cancel()
    assert house.in_flight == 1
    house.store.release()
    assert house.in_flight == 0
    house.assert_at_rest()
