"""`quorum`: right as long as more than half are, and silent where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

import pytest
import pytest_twisted
from brc20_sources import HEIGHT, HOLDER, Checkers, SourceServer
from hypothesis import given
from hypothesis import strategies as st
from raw_worker import Peer
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ngpu.errors import CheckerUnavailable
from ngpu.interfaces import IInscriptionChecker
from ngpu.model import Holdings
from ngpu.plugins.quorum import Quorum, Vote

RIGHT = {"ordi": Decimal("123.000000000000000001"), "ainn": Decimal(1000)}


def of(checkers: Checkers, count: int, **options: Any) -> tuple[IInscriptionChecker, list[SourceServer]]:
    servers = [checkers.server("opi") for _ in range(count)]
    members = [{"checker": "opi", "options": checkers.block("opi", each.url, timeout="400ms")} for each in servers]
    return checkers.make("quorum", {"checkers": members, **options}), servers


def lies(server: SourceServer) -> None:
    server.balances = {HOLDER: {"ordi": Decimal(10**9)}}
    server.height = 10**9


def fails(server: SourceServer) -> None:
    server.answer = lambda *_: (500, {})


def hangs(server: SourceServer) -> None:
    async def mood(peer: Peer) -> None:
        await peer.until_gone()

    server.mood = mood


def refuses(server: SourceServer) -> None:
    server.balances = {}
    server.height = 0


@pytest.mark.parametrize("wrong", [lies, fails, hangs, refuses])
@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest_twisted.ensureDeferred
async def test_no_minority_changes_the_answer(checkers: Checkers, count: int, wrong: Any) -> None:
    checker, servers = of(checkers, count)
    for server in servers[: (count - 1) // 2]:
        wrong(server)
    found = await checker.holdings(HOLDER, ("ordi", "ainn"))
    assert found == Holdings(RIGHT, HEIGHT)


@pytest.mark.parametrize("wrong", [lies, fails, hangs, refuses])
@pytest_twisted.ensureDeferred
async def test_half_of_them_make_it_unknown(checkers: Checkers, wrong: Any) -> None:
    checker, servers = of(checkers, 4)
    for server in servers[:2]:
        wrong(server)
    with pytest.raises(CheckerUnavailable):
        await checker.holdings(HOLDER, ("ordi",))


@pytest_twisted.ensureDeferred
async def test_each_ticker_is_counted_on_its_own(checkers: Checkers) -> None:
    """One is behind with one ticker, another with another: each ticker still has two that agree."""
    checker, servers = of(checkers, 3)
    servers[0].balances = {HOLDER: {**RIGHT, "ordi": Decimal(0)}}
    servers[1].balances = {HOLDER: {**RIGHT, "ainn": Decimal(7)}}
    assert (await checker.holdings(HOLDER, ("ordi", "ainn"))).balances == RIGHT


@pytest_twisted.ensureDeferred
async def test_the_smallest_difference_is_one(checkers: Checkers) -> None:
    checker, servers = of(checkers, 2)
    servers[0].balances = {HOLDER: {"ordi": Decimal("123.000000000000000002")}}
    with pytest.raises(CheckerUnavailable, match="fewer than 2 of 2"):
        await checker.holdings(HOLDER, ("ordi",))


class Scripted:
    """A checker that the test answers for."""

    def __init__(self) -> None:
        self.asked: Deferred[Any] = Deferred()

    async def holdings(self, address: str, tickers: Sequence[str]) -> Any:
        return await self.asked


def scripted(count: int, agree: int, lag: int = 3) -> tuple[list[Scripted], Deferred[Any], Clock]:
    members = [Scripted() for _ in range(count)]
    clock = Clock()
    named: Any = [(f"m{index}", member) for index, member in enumerate(members)]
    asking = Deferred.fromCoroutine(Quorum(named, agree, lag, clock).holdings(HOLDER, ("ordi",)))
    asking.addErrback(lambda failure: failure.value)
    return members, asking, clock


def test_it_answers_before_the_slow_and_gives_up_before_them_too() -> None:
    members, asking, clock = scripted(3, 2)
    members[0].asked.callback(Holdings({"ordi": Decimal("1.0")}))
    assert not asking.called
    members[1].asked.callback(Holdings({"ordi": Decimal(1)}))
    assert asking.result.balances == {"ordi": 1}
    members[2].asked.errback(CheckerUnavailable("late"))
    members, asking, clock = scripted(3, 2)
    members[0].asked.errback(CheckerUnavailable("down"))
    members[1].asked.errback(CheckerUnavailable("down"))
    assert isinstance(asking.result, CheckerUnavailable)
    members[2].asked.callback(Holdings({}))
    assert not clock.getDelayedCalls()


def test_members_that_never_answer_are_given_up() -> None:
    members, asking, clock = scripted(3, 2)
    members[0].asked.callback(Holdings({}))
    clock.advance(10)
    assert isinstance(asking.result, CheckerUnavailable)
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize(
    "nonsense",
    [None, {}, 7, Holdings({"ordi": 1.5}), Holdings({"ordi": Decimal("sNaN")}), Holdings({"ordi": "1"})],  # type: ignore[dict-item]
)
def test_members_that_return_nonsense_are_unknown(nonsense: Any) -> None:
    members, asking, _ = scripted(3, 2)
    members[0].asked.callback(nonsense)
    members[1].asked.callback(Holdings({"ordi": Decimal(2)}, 5))
    members[2].asked.callback(Holdings({"ordi": Decimal(2)}))
    assert asking.result == Holdings({"ordi": Decimal(2)}, 5)


def test_members_that_raise_are_unknown(no_leaks: Any) -> None:
    no_leaks.expect(ZeroDivisionError)
    members, asking, _ = scripted(2, 2)
    members[0].asked.errback(ZeroDivisionError())
    assert isinstance(asking.result, CheckerUnavailable)
    members[1].asked.callback(Holdings({}))


def test_cancelling_cancels_all() -> None:
    members, asking, clock = scripted(3, 2)
    asking.cancel()
    assert all(member.asked.called for member in members)
    assert not clock.getDelayedCalls()


def told(*said: tuple[int, int | None], agree: int = 2, count: int = 3, lag: int = 3) -> Holdings | None:
    vote = Vote(("ordi",), count, agree, lag)
    for amount, height in said:
        vote.take(Holdings({"ordi": Decimal(amount)} if amount else {}, height))
    return vote.decided()


def test_one_that_is_well_behind_the_others_does_not_count() -> None:
    assert told((5, 96), (7, 100), (5, 100)) is None
    assert told((5, 97), (7, 100), (5, 100)) == Holdings({"ordi": Decimal(5)}, 97)
    assert told((7, 96), (5, 100), (5, 100)) == Holdings({"ordi": Decimal(5)}, 100)
    assert told((5, 96), (5, None), (7, 100), (7, 100), agree=3, count=4, lag=3) is None


def test_one_that_claims_to_be_far_ahead_does_not_outdate_the_others() -> None:
    assert told((9, 10**9), (5, 100), (5, 100)) == Holdings({"ordi": Decimal(5)}, 100)
    assert told((9, 10**9), (5, 100), (5, None)) == Holdings({"ordi": Decimal(5)}, 100)
    assert told((9, 10**9), (9, 10**9), (5, 100), (5, None), (5, None), agree=3, count=5) is not None


@given(
    st.integers(2, 7),
    st.data(),
    st.randoms(use_true_random=False),
)
def test_whatever_a_minority_says_in_whatever_order_the_others_are_believed(count: int, data: Any, rng: Random) -> None:
    """Amounts, heights and silence of the minority are anything; the others are within the lag of each other."""
    agree = data.draw(st.integers(count // 2 + 1, count))
    truth = Holdings({"ordi": Decimal(5)})
    heights = st.none() | st.integers(100, 103)
    honest: list[Any] = [Holdings(truth.balances, data.draw(heights)) for _ in range(agree)]
    said = st.builds(
        Holdings, st.fixed_dictionaries({"ordi": st.sampled_from([Decimal(5), Decimal(6)])}), st.none() | st.integers(0)
    )
    liars = [data.draw(st.none() | said) for _ in range(count - agree)]
    order = [*honest, *liars]
    rng.shuffle(order)
    vote = Vote(("ordi",), count, agree, 3)
    for each in order:
        assert not vote.hopeless()
        vote.take(each)
        decided = vote.decided()
        if decided is not None:
            assert decided.balances == truth.balances
            return
    raise AssertionError("they did not decide")
