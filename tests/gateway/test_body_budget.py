"""Large bodies share a budget of memory: who comes too much waits its turn, unread, and nothing is lost on the way."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from ngpu.errors import Unavailable
from ngpu.http.budget import PATIENCE, READING_COSTS, SMALL, BodyBudget, Share
from ngpu.scratch import LARGE as FILED

LARGE = SMALL + 1
COST = LARGE * READING_COSTS


def ask(budget: BodyBudget, length: int = LARGE) -> tuple[Deferred[Share], list[Share | type[BaseException]]]:
    got: list[Share | type[BaseException]] = []
    asked = Deferred.fromCoroutine(budget.share(length))
    asked.addCallbacks(got.append, lambda failure: got.append(failure.type))
    return asked, got


def test_small_bodies_never_wait() -> None:
    budget = BodyBudget(1, Clock())
    ask(budget)
    assert len(ask(budget, SMALL)[1]) == 1


def test_large_ones_wait_for_their_turn_in_their_order() -> None:
    budget = BodyBudget(2 * COST, Clock())
    (_, one), (_, two), (_, three), (_, small_one) = ask(budget), ask(budget), ask(budget, 2 * LARGE), ask(budget)
    assert (len(one), len(two), len(three), len(small_one)) == (1, 1, 0, 0)
    one[0].release()
    one[0].release()
    assert (len(three), len(small_one)) == (0, 0), "the second does not pass by the first"
    two[0].release()
    assert (len(three), len(small_one)) == (1, 0)
    three[0].shrink(COST)
    assert len(small_one) == 1
    three[0].release()
    small_one[0].release()
    assert budget.used == 0


def test_one_that_is_larger_than_the_whole_has_it_alone() -> None:
    budget = BodyBudget(COST, Clock())
    (_, huge), (_, behind) = ask(budget, 100 * LARGE), ask(budget)
    assert (len(huge), len(behind)) == (1, 0)
    huge[0].release()
    behind[0].release()
    assert budget.used == 0


@pytest.mark.parametrize("way", ["it has waited too long", "its client has gone"])
def test_who_leaves_lets_those_behind_come_up(way: str) -> None:
    clock = Clock()
    budget = BodyBudget(2 * COST, clock)
    (_, one), (waiting, left), (_, behind) = ask(budget), ask(budget, 2 * LARGE), ask(budget)
    if way == "it has waited too long":
        clock.advance(PATIENCE)
        assert left == [Unavailable]
    else:
        waiting.cancel()
        assert left == [CancelledError]
    one[0].release()
    behind[0].release()
    assert budget.used == 0
    assert not clock.getDelayedCalls()


def test_what_is_kept_in_a_file_counts_once() -> None:
    held, kept, huge = (ask(BodyBudget(2**40, Clock()), length)[1][0] for length in (FILED, FILED + 1, 64 * FILED))
    assert isinstance(held, Share) and isinstance(kept, Share) and isinstance(huge, Share)
    assert (held.cost, kept.cost, huge.cost) == (READING_COSTS * FILED, READING_COSTS * FILED, 64 * FILED)
