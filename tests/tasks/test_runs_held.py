"""A task that runs under its id while another run of it is there: it was cancelled and retried, or claimed twice."""

from __future__ import annotations

from gateway_rig import House, begun
from twisted.internet.defer import Deferred

from ngpu.changing import changed
from ngpu.model import Placement, TaskStatus
from ngpu.tasks.conversation import EndedElsewhere
from ngpu.testing.forwarder import FakeReply
from ngpu.waiting import Handle


def handle(cancelled: list[str], name: str) -> Handle:
    one = Handle()
    one.work = Deferred(lambda _: cancelled.append(name))
    one.work.addErrback(lambda _: None)
    return one


def test_the_first_runs_end_takes_nothing_from_the_second() -> None:
    runs, cancelled = House().runs, list[str]()
    first, second = handle(cancelled, "first"), handle(cancelled, "second")
    runs.hold("t", first)
    runs.abort("t")
    runs.hold("t", second)
    assert isinstance(runs.let_go("t", first), EndedElsewhere)
    assert runs.running == ["t"]
    runs.abort("t")
    assert cancelled == ["first", "second"]
    assert isinstance(runs.let_go("t", second), EndedElsewhere)
    assert runs.let_go("t", second) is None
    assert runs.running == []


def test_one_whose_claim_the_store_has_forgotten_runs_once() -> None:
    waits: Deferred[None] = Deferred()
    house = House({18080: FakeReply(wait=waits)}, slots=2)
    begun(house.dispatcher.start())
    task_id = house.submit()
    house.pass_time(0.1)
    record = house.shelf.records[task_id]
    record.task = changed(record.task, status=TaskStatus.QUEUED, attempt=0, started_at=None, placement=Placement())
    house.forwarder.answers[18080] = FakeReply(wait=Deferred())
    house.dispatcher.queued(record.task.workspace)
    house.pass_time(0.1)
    assert (house.in_flight, house.task(task_id).attempt) == (1, 1)
    house.dispatcher.retire()
    begun(house.gateway.cancel(task_id, None))
    house.pass_time(1)
    house.assert_at_rest()
