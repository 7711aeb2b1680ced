"""How the process itself does: lateness, the store's answers, slots and connections, out of a real exposition."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ngpu.errors import StoreUnavailable
from ngpu.metrics import Metrics
from ngpu.pulse import ASK_EVERY, BEAT, Pulse


class Lab:
    def __init__(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics({"w": "w-label"})
        self.answer: Any = None
        member = SimpleNamespace(in_flight=3)
        line: Any = SimpleNamespace(pool=SimpleNamespace(slots=4, members={"r": member}))
        leadership = SimpleNamespace(leads=lambda: True)
        store: Any = SimpleNamespace(get=self.get, leadership=leadership)
        sites: Any = {"public": SimpleNamespace(connections=7)}
        self.pulse = Pulse(self.metrics, store, {"w": line}, sites, 100, self.clock)

    async def get(self, task_id: str) -> None:
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            await self.answer

    def value(self, sample: str) -> float:
        lines = dict(line.rsplit(" ", 1) for line in self.metrics.exposition().decode().splitlines() if line[0] != "#")
        return float(lines[sample])


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    lab.pulse.start()
    yield lab
    lab.pulse.stop()
    assert not lab.clock.getDelayedCalls()


def test_slots_connections_and_who_leads(lab: Lab) -> None:
    assert lab.value('ngpu_slots{workspace="w-label"}') == 4
    assert lab.value('ngpu_slots_used{workspace="w-label"}') == 3
    assert lab.value('ngpu_connections{listener="public"}') == 7
    assert lab.value('ngpu_connections_limit{listener="public"}') == 100
    assert lab.value("ngpu_leads") == 1


def test_a_loop_that_is_late_is_seen(lab: Lab) -> None:
    for _ in range(10):
        lab.clock.advance(BEAT)
    assert lab.value('ngpu_loop_lag_seconds_bucket{le="0.001"}') == 10
    lab.clock.advance(BEAT + 2)
    assert lab.value('ngpu_loop_lag_seconds_bucket{le="1.0"}') == 10
    assert lab.value('ngpu_loop_lag_seconds_bucket{le="2.5"}') == 11


def test_a_store_that_does_not_answer_is_down_until_it_does(lab: Lab) -> None:
    assert lab.value("ngpu_store_up") == 1
    lab.answer = StoreUnavailable("away")
    lab.clock.advance(ASK_EVERY)
    assert lab.value("ngpu_store_up") == 0
    answered: Deferred[None] = Deferred()
    lab.answer = answered
    lab.clock.advance(ASK_EVERY)
    lab.clock.advance(ASK_EVERY)
    lab.answer = None
    answered.callback(None)
    assert lab.value("ngpu_store_up") == 1
    assert lab.value('ngpu_store_answer_seconds_bucket{le="5.0"}') == 2, "the first, and the one that took 5 s"
