"""Figures over time, read off the metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ngpu.errors import StoreUnavailable
from ngpu.metrics import BUCKETS, Metrics
from ngpu.series import LONGEST, STEP, Series, points, quantile, together


class Store:
    waiting = 0
    away = False

    async def queued(self, workspace_id: str) -> int:
        if self.away:
            raise StoreUnavailable("away")
        return self.waiting


class Lab:
    """A workspace ``w`` of which the metrics know calls."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000.0)
        self.metrics = Metrics({"w": "w-label"})
        self.line: Any = SimpleNamespace(waiting=0, pool=SimpleNamespace(members={}))
        self.lines: dict[str, Any] = {"w": self.line}
        self.store: Any = Store()
        self.series = Series(self.metrics, self.lines, self.store, self.clock)

    def calls(self, *seconds: float, result: str = "answered") -> None:
        for each in seconds:
            self.metrics.of(self.metrics.calls, "w-label", result).inc()
            self.metrics.call_seconds.observe(each, "w-label")

    def step(self) -> None:
        self.clock.advance(STEP)

    def points(self, seconds: float = 60) -> list[dict[str, Any]]:
        return points(self.series.rows("w", seconds), self.clock.seconds(), seconds)


@pytest.fixture
def lab() -> Any:
    lab = Lab()
    lab.series.start()
    yield lab
    lab.series.stop()
    assert not lab.clock.getDelayedCalls()


def test_each_step_tells_of_its_own_calls(lab: Lab) -> None:
    lab.calls(*[0.02] * 98, 0.2, 8.0)
    lab.step()
    lab.calls(0.02, result="broke")
    lab.store.waiting, lab.line.waiting = 3, 2
    lab.line.pool.members["r"] = SimpleNamespace(own=1)
    lab.step()
    first, second = lab.points()[-2:]
    assert (first["requests"], first["errors"], first["queued"]) == (100, 0, 0)
    assert 0.01 < first["p50"] <= 0.025 and 0.1 < first["p99"] <= 0.25
    assert (second["requests"], second["errors"]) == (1, 1)
    assert (second["queued"], second["waiting"], second["in_flight"]) == (3, 2, 1)
    assert second["time"] - first["time"] == STEP


def test_where_nothing_happens_nothing_is_kept_and_zeros_are_told(lab: Lab) -> None:
    for _ in range(3):
        lab.step()
    assert lab.series.rows("w", 60) == []
    told = lab.points()
    assert len(told) == 6
    assert all(each["requests"] == 0 and each["p99"] is None for each in told)


def test_it_forgets_what_is_old_and_who_is_gone(lab: Lab) -> None:
    for _ in range(LONGEST // STEP + 50):
        lab.calls(0.02)
        lab.step()
    assert len(lab.series.rows("w", 1e9)) == LONGEST // STEP
    assert len(lab.series.rows("w", 60)) == 6
    del lab.lines["w"]
    lab.step()
    assert lab.series.rows("w", 60) == []


def test_a_workspace_that_is_made_again_counts_from_zero(lab: Lab) -> None:
    lab.calls(0.02, 0.02)
    lab.step()
    lab.metrics.forget_workspace("w-label")
    lab.calls(8.0, 8.0, 8.0)
    lab.step()
    assert [each["requests"] for each in lab.points()[-2:]] == [2, 3]


def test_without_the_store_calls_are_counted_all_the_same(lab: Lab) -> None:
    lab.store.away = True
    lab.calls(0.02)
    lab.step()
    assert lab.points()[-1]["requests"] == 1


def test_processes_add_up() -> None:
    width = 5 + len(BUCKETS) + 1
    one, two = [7, 1, 5, 1, 1, *[2] * (width - 5)], [7, 0, 5, 2, 0, *[1] * (width - 5)]
    other = [8, *[0] * (width - 1)]
    assert together([[one], [two, other]]) == [[7, 1, 5, 3, 1, *[3] * (width - 5)], other]


def test_quantiles() -> None:
    none = [0] * (len(BUCKETS) + 1)
    assert quantile(0.5, none) is None
    highest = [*none[:-1], 4]
    assert quantile(0.5, highest) == BUCKETS[-1], "more cannot be told"
    assert quantile(0.5, [10, *none[1:]]) == BUCKETS[0] / 2


def test_a_look_waits_for_the_one_before(lab: Lab) -> None:
    """A store that hangs must not gather looks."""
    hanging: Deferred[int] = Deferred()
    asked: list[str] = []

    async def queued(workspace_id: str) -> int:
        asked.append(workspace_id)
        return await hanging

    lab.store.queued = queued
    for _ in range(5):
        lab.step()
    assert len(asked) == 1
    hanging.callback(0)
    lab.step()
    assert len(asked) == 2
