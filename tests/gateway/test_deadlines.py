"""Deadlines behind one timer, on a clock that the test moves."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from ngpu.deadlines import Deadlines


class Thing:
    def __init__(self, due: float, cuts: list[Thing]) -> None:
        self.due = due
        self._cuts = cuts

    def cut(self) -> None:
        self._cuts.append(self)


def test_each_is_cut_at_its_time_and_one_timer_serves_all() -> None:
    clock, cuts = Clock(), list[Thing]()
    deadlines = Deadlines(clock)
    things = [Thing(due, cuts) for due in (5.0, 3.0, 9.0, 3.0)]
    for thing in things:
        deadlines.watch(thing)
        assert len(clock.getDelayedCalls()) == 1
    for now, expected in ((2.9, []), (3.1, [1, 3]), (5.1, [1, 3, 0]), (9.1, [1, 3, 0, 2])):
        clock.advance(now - clock.seconds())
        assert cuts == [things[index] for index in expected]
    assert not clock.getDelayedCalls()


def test_what_is_over_is_never_cut_and_leaves_no_timer() -> None:
    clock, cuts = Clock(), list[Thing]()
    deadlines = Deadlines(clock)
    first, second = Thing(1.0, cuts), Thing(2.0, cuts)
    deadlines.watch(first)
    deadlines.watch(second)
    deadlines.forget(first)
    deadlines.forget(first)
    clock.advance(1.5)
    assert not cuts
    deadlines.forget(second)
    assert not clock.getDelayedCalls()
    clock.advance(5)
    assert not cuts


def test_it_may_be_put_off_without_a_word_and_brought_forward_with_one() -> None:
    clock, cuts = Clock(), list[Thing]()
    deadlines = Deadlines(clock)
    thing = Thing(1.0, cuts)
    deadlines.watch(thing)
    thing.due = 4.0
    clock.advance(2)
    assert not cuts
    thing.due = 3.0
    deadlines.watch(thing)
    clock.advance(1.1)
    assert cuts == [thing]


def test_one_that_ends_another_ends_it() -> None:
    clock, cuts = Clock(), list[Thing]()
    deadlines = Deadlines(clock)

    class Killer(Thing):
        def cut(self) -> None:
            deadlines.forget(victim)
            super().cut()

    killer, victim = Killer(1.0, cuts), Thing(1.0, cuts)
    deadlines.watch(killer)
    deadlines.watch(victim)
    clock.advance(1.1)
    assert cuts == [killer]


def test_one_that_cannot_be_cut_keeps_nobody_else_for_ever() -> None:
    class Stubborn(Thing):
        def cut(self) -> None:
            raise ZeroDivisionError("the test wants this")

    clock, cuts = Clock(), list[Thing]()
    deadlines = Deadlines(clock)
    others = [Thing(1.0, cuts), Thing(2.0, cuts)]
    for thing in (Stubborn(1.0, cuts), *others):
        deadlines.watch(thing)
    with pytest.raises(ZeroDivisionError):
        clock.advance(1)
    clock.advance(0.1)
    clock.advance(1)
    assert cuts == others
