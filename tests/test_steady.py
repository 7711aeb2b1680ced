"""The clock that does not jump, by hand and under a reactor; tests/chaos has it in a gateway."""

from __future__ import annotations

import time
from typing import Any

import pytest
from twisted.internet.selectreactor import SelectReactor

from ngpu.steady import SLEW, SteadyClock, steady


class Hands:
    """Two clocks that a test moves."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.real = 50.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.real += seconds


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def clock(hands: Hands) -> SteadyClock:
    return SteadyClock(lambda: hands.wall, lambda: hands.real)


def test_it_is_the_wall_clock_while_nobody_sets_that(hands: Hands, clock: SteadyClock) -> None:
    for _ in range(1000):
        hands.pass_by(0.37)
        assert clock() == pytest.approx(hands.wall, abs=1e-6)


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, -5.0])
def test_it_neither_jumps_nor_stands_still(hands: Hands, clock: SteadyClock, jump: float) -> None:
    hands.wall += jump
    before = clock()
    assert before == pytest.approx(1_000_000.0)
    for _ in range(2000):
        hands.pass_by(1.0)
        now = clock()
        assert 1 - SLEW - 1e-6 <= now - before <= 1 + SLEW + 1e-6
        before = now


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, -0.0001, 0.0001])
@pytest.mark.parametrize("step", [0.00001, 0.007, 0.013])
def test_nor_between_two_looks_at_the_wall_clock(hands: Hands, clock: SteadyClock, jump: float, step: float) -> None:
    hands.wall += jump
    before = clock()
    for _ in range(500):
        hands.pass_by(step)
        now = clock()
        assert (1 - SLEW - 1e-3) * step <= now - before <= (1 + SLEW + 1e-3) * step
        before = now


def test_it_comes_back_to_the_wall_clock(hands: Hands, clock: SteadyClock) -> None:
    hands.wall -= 3600
    for _ in range(11 * 60):
        hands.pass_by(60)
        clock()
    assert clock() == pytest.approx(hands.wall, abs=1e-6)


def test_it_runs_even_if_nobody_asks_for_long(hands: Hands, clock: SteadyClock) -> None:
    hands.wall -= 60
    hands.pass_by(86400)
    assert clock() == pytest.approx(hands.wall)


def test_a_reactor_goes_by_it() -> None:
    reactor: Any = SelectReactor()
    steady(reactor)
    assert isinstance(reactor.seconds, SteadyClock)
    calls: list[float] = []
    reactor.callLater(0.02, lambda: calls.append(reactor.seconds()))
    reactor.runUntilCurrent()
    assert not calls and 0 < reactor.timeout() <= 0.02
    time.sleep(0.03)
    reactor.runUntilCurrent()
    assert calls == [pytest.approx(time.time(), abs=1)]
