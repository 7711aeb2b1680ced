"""Containers that take their time to end hold up nothing else on their node."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ngpu.containers import COPY, FLEET, ContainerSpec, ContainerState
from ngpu.fleet.station import REST, Post, Station
from ngpu.fleet.steps import Launch, Remove, Restart, Step
from ngpu.model import Node
from ngpu.testing.engine import FakeEngine

HOUR = 3600.0


class Slow(FakeEngine):
    """Lets each container end by itself within its grace; each takes all of it."""

    async def remove(self, name: str, grace: float) -> None:
        await self._pass(grace)
        await super().remove(name, grace)

    async def restart(self, name: str, grace: float) -> None:
        await self._pass(grace)
        await super().restart(name, grace)

    async def _pass(self, seconds: float) -> None:
        passed: Deferred[None] = Deferred()
        self._clock.callLater(seconds, passed.callback, None)
        await passed


class Watch:
    """A station over such an engine, with containers a and b."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.engine = Slow(self.clock)
        self.engine.images.add("i")
        self.told: list[tuple[Step, Exception | None]] = []
        self.station = Station(
            Post("n", Node("n", "h"), self.engine, "test"), "f", 5.0, self.clock, Random(1), lambda: None
        )
        self.station.start()
        self.work(launch("a"), launch("b"))
        self.told.clear()

    def work(self, *steps: Step) -> None:
        self.station.work(steps, lambda step, error: self.told.append((step, error)))


def launch(copy: str) -> Launch:
    return Launch(copy, ContainerSpec(f"ngpu-f-{copy}", "i", labels={FLEET: "f", COPY: copy}))


def test_others_are_launched_and_ended_while_one_ends() -> None:
    watch = Watch()
    remove, restart = Remove("a", "ngpu-f-a", HOUR), Restart("b", "ngpu-f-b", HOUR)
    watch.work(remove, restart)
    assert not watch.station.busy and watch.told == []
    watch.work(launch("c"))
    assert watch.engine.kept("ngpu-f-c").state is ContainerState.RUNNING
    assert [type(step) for step, _ in watch.told] == [Launch]
    watch.clock.pump([1.0] * 20)
    assert sorted(watch.station.containers) == ["a", "b", "c"]
    watch.clock.advance(HOUR)
    watch.clock.pump([1.0] * 20)
    assert watch.told[1:] == [(remove, None), (restart, None)]
    assert sorted(watch.station.containers) == ["b", "c"]


def test_one_that_ends_is_asked_for_nothing_else_and_not_twice() -> None:
    watch = Watch()
    remove = Remove("a", "ngpu-f-a", 10.0)
    watch.work(remove)
    for _ in range(3):
        watch.work(remove, launch("a"))
        assert not watch.station.busy
    watch.clock.pump([1.0] * 20)
    assert watch.told == [(remove, None)]


def test_one_that_cannot_be_ended_rests_before_the_next_try() -> None:
    watch = Watch()
    watch.engine.refuse["remove"] = "it is in use"
    remove = Remove("a", "ngpu-f-a", 0.0)
    watch.work(remove)
    watch.clock.pump([0.0] * 3)
    for _ in range(5):
        watch.work(remove)
        watch.clock.pump([0.0] * 3)
    assert [str(error) for _, error in watch.told] == ["it is in use"]
    watch.clock.pump([1.0] * round(REST + 1))
    watch.engine.refuse.clear()
    watch.work(remove)
    watch.clock.pump([0.0] * 3)
    assert watch.told[1:] == [(remove, None)]


def test_a_station_that_is_stopped_gives_up_what_ends() -> None:
    watch = Watch()
    watch.work(Remove("a", "ngpu-f-a", HOUR))
    watch.station.stop()
    watch.clock.advance(2 * HOUR)
    assert watch.told == [] and "ngpu-f-a" in watch.engine.names()
