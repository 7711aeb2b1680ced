"""What other gateways do to the runs of this one, and what is heard of theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gateway_rig import House, begun
from twisted.internet.defer import Deferred

from ngpu.errors import StoreUnavailable
from ngpu.model import TaskStatus
from ngpu.sharing import CANCEL, TASK
from ngpu.tasks.elsewhere import Elsewhere
from ngpu.tasks.told import MOST_HEARD, Told
from ngpu.tasks.watches import Watches
from ngpu.testing.forwarder import FakeReply
from ngpu.testing.sharing import Hall


class Store:
    """What `Elsewhere` needs of one."""

    def __init__(self, house: House, news: Any) -> None:
        self.news = news
        self.get = house.store.get
        self.lost: list[Callable[[], None]] = []
        self.watch_loss = self.lost.append


class Scene:
    """A house whose one task runs, and what others may say to it."""

    def __init__(self) -> None:
        self.house = House({18080: FakeReply(wait=Deferred())})
        self.news = Hall().join()
        self.store = Store(self.house, self.news)
        Elsewhere(self.store, self.house.runs)  # type: ignore[arg-type]
        begun(self.house.dispatcher.start())
        self.task_id = self.house.submit()
        self.house.pass_time(0.1)
        assert self.house.in_flight == 1

    def cancel_elsewhere(self) -> None:
        begun(self.house.store.cancel(self.task_id, self.house.clock.seconds()))


def test_a_cancel_elsewhere_aborts_the_run() -> None:
    scene = Scene()
    scene.cancel_elsewhere()
    assert scene.house.in_flight == 1
    scene.news.told(CANCEL, scene.task_id)
    assert scene.house.in_flight == 0
    assert scene.house.task(scene.task_id).status is TaskStatus.CANCELLED


def test_a_cancel_that_was_not_heard_is_found() -> None:
    scene = Scene()
    scene.news.away = True
    scene.cancel_elsewhere()
    scene.news.told(CANCEL, scene.task_id)
    assert scene.house.in_flight == 1
    scene.news.away = False
    assert scene.house.in_flight == 0


def test_looking_cancels_nothing_that_runs_on() -> None:
    scene = Scene()
    scene.news.away = True
    scene.news.away = False
    assert scene.house.in_flight == 1
    scene.house.store.refusing.add("get")
    scene.news.away = True
    scene.news.away = False
    assert scene.house.in_flight == 1


def test_what_others_have_taken_over_stops() -> None:
    scene = Scene()
    scene.store.lost[0]()
    assert scene.house.in_flight == 0
    assert scene.house.task(scene.task_id).status is TaskStatus.RUNNING, "its record is the others' business"


def test_whoever_waits_for_a_call_that_was_taken_over_is_told() -> None:
    house = House({18080: FakeReply(wait=Deferred())})
    store = Store(house, Hall().join())
    Elsewhere(store, house.runs)  # type: ignore[arg-type]
    call = house.call()
    assert house.in_flight == 1
    store.lost[0]()
    assert house.in_flight == 0
    assert isinstance(call.error, StoreUnavailable) and "taken over" in str(call.error)


@pytest.mark.parametrize("words", ["ended", None])
def test_whoever_watches_a_task_hears_of_it(words: str | None) -> None:
    house, news = House(), Hall().join()
    watches = Watches(house.clock, news)
    news.away = True
    watch = watches.watch("t", 60.0)
    assert not watch.called
    if words is None:
        news.away = False
    else:
        news._away = False
        news.told(TASK.format(id="u"), words)
        assert not watch.called
        news.told(TASK.format(id="t"), words)
    assert watch.called
    assert house.clock.getDelayedCalls() == [] and news._listeners == []


def test_the_queue_goes_on_once_the_store_can_tell_again_who_holds_what() -> None:
    shared = Hall().join()
    house = House({18080: FakeReply()}, shared=shared)
    begun(house.dispatcher.start())
    shared.away = True
    task_id = house.submit()
    call = house.call()
    assert isinstance(call.error, StoreUnavailable)
    house.pass_time(5.0)
    assert house.task(task_id).status is TaskStatus.QUEUED
    shared.away = False
    house.pass_time(1.5)
    assert house.task(task_id).status is TaskStatus.FINISHED
    assert shared._hall.held["r0"].total() == 0, "nothing stays held"


def test_how_far_a_job_is_is_told_everywhere() -> None:
    hall = Hall()
    here, there = (Told(hall.join()) for _ in "12")
    here.tell("t", "step 1")
    assert here.of("t") == there.of("t") == "step 1"
    here.tell("t", "step 2")
    assert there.of("t") == "step 2"
    here.end("t")
    assert here.of("t") is there.of("t") is None
    for number in range(MOST_HEARD + 1):
        here.tell(f"t{number}", "on its way")
    assert there.of("t0") is None and there.of(f"t{MOST_HEARD}") == "on its way"
