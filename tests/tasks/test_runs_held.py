"""A task that was cancelled and is retried runs again under its id, while its first run is still on its way out."""

from __future__ import annotations

from gateway_rig import House
from twisted.internet.defer import Deferred

from ngpu.tasks.conversation import EndedElsewhere
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
