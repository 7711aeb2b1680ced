"""One node's engine, whatever its plugin does: it costs its own node, and nothing else."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ngpu.containers import COPY, FLEET, ContainerSpec
from ngpu.errors import EngineRefused, EngineUnreachable
from ngpu.fleet.station import LOOK_WITHIN, STEP_WITHIN, Post, Station
from ngpu.fleet.steps import Launch, Remove, Start, Step
from ngpu.model import Node
from ngpu.testing.engine import FakeEngine

INTERVAL = 5.0
NEVER = object()
STUBBORN = object()
"""Nor does it let itself be cancelled."""


class Watch:
    """A station over an engine that does as a test says."""

    def __init__(self, engine: Any) -> None:
        self.clock = Clock()
        self.changes = 0
        self.told: list[tuple[Step, Exception | None]] = []
        post = Post("n", Node("n", "h"), engine, "test")
        self.station = Station(post, "f", INTERVAL, self.clock, Random(1), self.changed)
        self.station.start()

    def changed(self) -> None:
        self.changes += 1

    def work(self, *steps: Step) -> None:
        self.station.work(steps, lambda step, error: self.told.append((step, error)))

    def stop(self) -> None:
        self.station.stop()
        assert self.clock.getDelayedCalls() == []


class Wordless(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise ZeroDivisionError


class Odd(FakeEngine):
    """Answers ``containers`` and ``start`` with whatever it is given."""

    answer: Any = ()

    async def containers(self, fleet: str) -> Any:
        return await self.odd()

    async def start(self, name: str) -> None:
        await self.odd()

    async def create(self, spec: ContainerSpec) -> None:
        """Done."""

    async def odd(self) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        if self.answer is NEVER:
            return await Deferred()
        while self.answer is STUBBORN:
            with contextlib.suppress(Exception):
                await Deferred()
        return self.answer


LAUNCH = Launch("c", ContainerSpec("ngpu-f-c", "i", labels={FLEET: "f", COPY: "c"}))


def test_it_looks_again_and_again_and_tells_of_changes_only() -> None:
    engine = FakeEngine()
    post = Watch(engine)
    post.clock.pump([1.0] * 30)
    looks = [call for call, _ in engine.calls].count("containers")
    assert 5 <= looks <= 8
    assert post.changes == 1
    assert post.station.up and post.station.memory == 64 << 30
    engine.away = "no route"
    post.clock.pump([1.0] * 12)
    assert (post.station.up, post.station.reason, post.changes) == (False, "no route", 2)
    post.stop()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (RuntimeError("oops"), "the engine's plugin failed: RuntimeError: oops"),
        (Wordless(), "the engine's plugin failed: Wordless"),
        (SystemExit(3), "the engine's plugin failed: RuntimeError: it raised SystemExit"),
        (None, "the engine's plugin failed: TypeError"),
        ([None], "the engine's plugin failed: AttributeError"),
        (EngineRefused("not allowed"), "not allowed"),
        (NEVER, f"the engine gave no answer within {LOOK_WITHIN:g} s"),
        (STUBBORN, f"the engine gave no answer within {LOOK_WITHIN:g} s"),
    ],
)
def test_an_engine_that_answers_nonsense_is_away(answer: Any, told: str) -> None:
    engine = Odd()
    engine.answer = answer
    post = Watch(engine)
    post.clock.pump([1.0] * 70)
    assert post.station.up is False
    assert post.station.reason.startswith(told)
    engine.answer = ()
    post.clock.pump([1.0] * 70)
    assert post.station.up is True
    post.stop()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (RuntimeError("oops"), EngineRefused),
        (Wordless(), EngineRefused),
        (SystemExit(3), EngineRefused),
        (EngineRefused("no"), EngineRefused),
        (EngineUnreachable("no"), EngineUnreachable),
        (NEVER, EngineUnreachable),
        (STUBBORN, EngineUnreachable),
    ],
)
def test_a_step_that_fails_is_told_and_looked_at(answer: Any, kind: type[Exception]) -> None:
    engine = Odd()
    post = Watch(engine)
    engine.answer = answer
    post.work(LAUNCH)
    assert post.station.busy
    post.clock.pump([1.0] * int(STEP_WITHIN + 1))
    ((step, error),) = post.told
    assert step is LAUNCH and type(error) is kind
    engine.answer = ()
    post.clock.pump([1.0] * 70)
    assert not post.station.busy, "the next look shows what has become of it"
    post.stop()


def test_steps_are_made_one_after_another_and_end_where_nobody_answers() -> None:
    engine = FakeEngine()
    engine.images.add("i")
    post = Watch(engine)
    engine.refuse["start"] = "no such command"
    post.work(LAUNCH, Start("c", "ngpu-f-c"), Remove("c", "ngpu-f-c", 1.0))
    assert [type(error) for _, error in post.told] == [EngineRefused, EngineRefused, type(None)]
    engine.lost = {"create"}
    post.told.clear()
    post.work(LAUNCH, Remove("c", "ngpu-f-c", 1.0))
    assert [type(error) for _, error in post.told] == [EngineUnreachable]
    assert list(post.station.containers) == ["c"], "it was looked at, and what was lost is found"
    post.stop()


def test_nothing_is_begun_while_steps_are_under_way_or_after_the_end() -> None:
    clock = Clock()
    engine = FakeEngine(clock)
    engine.images.add("i")
    engine.slow["create"] = 3.0
    post = Watch(engine)
    post.work(LAUNCH)
    post.work(Remove("c", "ngpu-f-c", 1.0))
    clock.advance(4)
    assert [type(step) for step, _ in post.told] == [Launch]
    post.work(Remove("c", "ngpu-f-c", 1.0))
    assert [type(step) for step, _ in post.told] == [Launch, Remove]
    post.stop()
    post.work(LAUNCH)
    assert len(post.told) == 2
