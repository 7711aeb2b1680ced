"""When a source may be asked: its rate, its breaker, and what a `Source` makes of them. Time is a `Clock`'s."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from ngpu.brc20.breaker import LONGEST_REST, Breaker
from ngpu.brc20.rate import Rate
from ngpu.brc20.reply import Surprise
from ngpu.brc20.source import AT_ONCE, Source
from ngpu.errors import CheckerUnavailable, FetchFailed, PayloadTooLarge
from ngpu.interfaces import Fetched, FetchRequest


@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from([1.0, 10.0, 60.0])), max_size=3),
    st.lists(st.floats(0, 5), min_size=1, max_size=40),
)
def test_no_window_ever_holds_more_calls_than_it_may(windows: list[tuple[int, float]], gaps: list[float]) -> None:
    rate, now, made = Rate(windows), 0.0, []
    for gap in gaps:
        now += gap
        made.append(now + rate.take(now))
    assert all(after - before > -1e-6 for before, after in pairwise(made))
    for count, seconds in windows:
        for first, after in zip(made, made[count:], strict=False):
            assert after - first >= seconds - 1e-6


def test_a_rate_lets_a_burst_through_and_makes_the_next_wait() -> None:
    rate = Rate([(2, 1.0), (3, 100.0)])
    assert [rate.take(10.0), rate.take(10.0), rate.take(10.0)] == [0.0, 0.0, 1.0]
    assert rate.wait(50.0) == 60.0
    assert rate.wait(111.0) == 0.0


def test_the_breaker_opens_half_opens_and_closes() -> None:
    breaker = Breaker(failures=2, rest=30.0)
    breaker.failed(0.0)
    assert breaker.wait(0.0) == 0.0
    breaker.failed(1.0)
    assert breaker.wait(1.0) == 30.0 and breaker.wait(30.0) == 1.0
    assert breaker.wait(31.0) == 0.0
    breaker.begin()
    assert breaker.wait(31.0) > 0  # one at a time
    breaker.failed(32.0)
    assert breaker.wait(32.0) == 30.0
    breaker.begin()
    breaker.succeeded(62.0)
    assert breaker.wait(62.0) == 0.0
    breaker.failed(63.0)
    assert breaker.wait(63.0) == 0.0  # the row began anew


def test_a_trial_that_tells_nothing_lets_the_next_one_try() -> None:
    breaker = Breaker(failures=1, rest=5.0)
    breaker.failed(0.0)
    breaker.begin()
    breaker.left()
    assert breaker.wait(5.0) == 0.0
    breaker.begin()
    assert breaker.wait(5.0) > 0


def test_retry_after_opens_at_once_and_is_believed_for_an_hour_at_most() -> None:
    breaker = Breaker(failures=5, rest=30.0)
    breaker.failed(0.0, 7.0)
    assert breaker.wait(0.0) == 7.0
    breaker.succeeded(1.0)  # an answer that was under way
    assert breaker.wait(1.0) == 6.0
    breaker.failed(7.0, 1e9)
    assert breaker.wait(7.0) == LONGEST_REST


class Scripted:
    """A fetcher whose replies the test gives."""

    def __init__(self) -> None:
        self.calls: list[Deferred[Fetched]] = []

    async def fetch(self, request: FetchRequest, timeout: float, limit: int = 0) -> Fetched:
        self.calls.append(Deferred())
        return await self.calls[-1]


class Rig:
    def __init__(self, rate: Rate | None = None, failures: int = 2) -> None:
        self.clock = Clock()
        self.fetcher: Any = Scripted()
        self.source = Source(
            "opi", "http://h", {}, 3.0, rate or Rate(), Breaker(failures, 30.0), self.fetcher, self.clock
        )

    def ask(self) -> Deferred[Any]:
        asked = Deferred.fromCoroutine(self.source.get("/x"))
        asked.addErrback(lambda failure: failure.value)
        return asked

    def tell(self, reply: Fetched | Exception, index: int = -1) -> None:
        call = self.fetcher.calls[index]
        if isinstance(reply, Exception):
            call.errback(reply)
        else:
            call.callback(reply)


def outcome(asked: Deferred[Any]) -> Any:
    assert asked.called, "not decided yet"
    return asked.result


FAILURES = [
    FetchFailed("no connection"),
    Fetched(500, b"{}"),
    Fetched(429, b"{}"),
    Fetched(401, b"{}"),
    Fetched(302, b""),
    Fetched(200, b"<html>"),
]


@pytest.mark.parametrize("reply", FAILURES, ids=str)
def test_failures_in_a_row_open_the_breaker(reply: Fetched | Exception) -> None:
    rig = Rig()
    for _ in range(2):
        asked = rig.ask()
        rig.tell(reply)
        assert isinstance(outcome(asked), FetchFailed)
    refused = outcome(rig.ask())
    assert isinstance(refused, CheckerUnavailable) and refused.retry_after == 30
    assert len(rig.fetcher.calls) == 2
    rig.clock.advance(30)
    tried, refused = rig.ask(), rig.ask()
    assert isinstance(outcome(refused), CheckerUnavailable)
    rig.tell(Fetched(200, b"{}"))
    assert outcome(tried).status == 200
    rig.ask()
    assert len(rig.fetcher.calls) == 4


@pytest.mark.parametrize("reply", [Fetched(400, b"{}"), Fetched(404, b"{}"), PayloadTooLarge("long")], ids=str)
def test_answers_about_one_address_say_nothing_of_the_source(reply: Fetched | Exception) -> None:
    """Else anybody closes a gate for everybody by asking for odd addresses."""
    rig = Rig()
    for _ in range(10):
        asked = rig.ask()
        rig.tell(reply)
        assert isinstance(outcome(asked), Surprise | PayloadTooLarge)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_at_once(status: int) -> None:
    rig = Rig(failures=1000)
    asked = rig.ask()
    rig.tell(Fetched(status, b"{}", 7.0))
    assert isinstance(outcome(asked), FetchFailed)
    assert outcome(rig.ask()).retry_after == 7
    rig.clock.advance(7)
    rig.ask()
    assert len(rig.fetcher.calls) == 2


def test_a_call_waits_for_its_turn_and_no_longer_than_the_timeout() -> None:
    rig = Rig(Rate([(1, 2.0)]))
    asked = [rig.ask() for _ in range(3)]
    assert len(rig.fetcher.calls) == 1
    assert isinstance(outcome(asked[2]), CheckerUnavailable) and outcome(asked[2]).retry_after == 4
    rig.clock.advance(2)
    assert len(rig.fetcher.calls) == 2


def test_a_call_that_waited_for_its_turn_looks_at_the_breaker_again() -> None:
    rig = Rig(Rate([(1, 2.0)]), failures=1)
    rig.ask()
    waiting = rig.ask()
    rig.tell(Fetched(500, b""))
    rig.clock.advance(2)
    assert isinstance(outcome(waiting), CheckerUnavailable)
    assert len(rig.fetcher.calls) == 1


def test_only_so_many_calls_are_made_at_once() -> None:
    rig = Rig()
    asked = [rig.ask() for _ in range(AT_ONCE + 2)]
    assert len(rig.fetcher.calls) == AT_ONCE
    rig.tell(Fetched(200, b"{}"), 0)
    assert len(rig.fetcher.calls) == AT_ONCE + 1
    rig.clock.advance(3)
    assert isinstance(outcome(asked[-1]), CheckerUnavailable)
    asked[1].cancel()
    assert isinstance(outcome(asked[1]), CancelledError)
    rig.ask()
    assert len(rig.fetcher.calls) == AT_ONCE + 2
    for each in asked:
        each.cancel()
