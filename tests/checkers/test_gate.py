"""A gate: who passes, what it remembers, and that it asks once. Time is a `Clock`'s."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from ngpu.addresses import is_address
from ngpu.errors import BadRequest, CheckerUnavailable, Forbidden
from ngpu.gates import Gate
from ngpu.model import Holdings
from ngpu.settings import loads

TAPROOT = "bc1pp8vyhh2ma0ntzjwr26xxrn5r0w296yu68wdwle5rrhgtv3a2lgkqtyayus"
SEGWIT = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
LEGACY = "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"


class Asked:
    """A checker that the test answers for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Deferred[Any]]] = []

    async def holdings(self, address: str, tickers: Sequence[str]) -> Any:
        self.calls.append((address, Deferred()))
        return await self.calls[-1][1]

    def tell(self, *balances: tuple[str, Any], index: int = -1) -> None:
        self.calls[index][1].callback(Holdings(dict(balances)))

    def fail(self, error: BaseException, index: int = -1) -> None:
        self.calls[index][1].errback(error)


class Rig:
    def __init__(self, options: str = "", **more: int) -> None:
        text = f"gates: {{g: {{checker: opi, tickers: [AINN, ORDI]{options}}}}}"
        self.clock = Clock()
        self.checker = Asked()
        checker: Any = self.checker
        self.gate = Gate(loads(text, "f", Path("/")).settings.gates["g"], checker, self.clock, is_address, **more)

    def ask(self, address: str = TAPROOT) -> Deferred[Any]:
        asked = Deferred.fromCoroutine(self.gate.holdings(address))
        asked.addErrback(lambda failure: failure.value)
        return asked

    def admit(self, address: str = TAPROOT) -> Deferred[Any]:
        asked = Deferred.fromCoroutine(self.gate.admit(address))
        asked.addErrback(lambda failure: failure.value)
        return asked

    @property
    def count(self) -> int:
        return len(self.checker.calls)


def outcome(asked: Deferred[Any]) -> Any:
    assert asked.called, "not decided yet"
    return asked.result


def balances(asked: Deferred[Any]) -> Any:
    return outcome(asked).balances


@pytest.mark.parametrize("count", [1, 2, 50])
def test_all_who_ask_for_one_address_at_one_time_share_one_question(count: int) -> None:
    rig = Rig()
    asked = [rig.ask(TAPROOT.upper() if index % 2 else TAPROOT) for index in range(count)]
    assert rig.count == 1 and rig.checker.calls[0][0] == TAPROOT
    rig.ask(SEGWIT)
    rig.ask(LEGACY)
    assert rig.count == 3
    rig.checker.tell(("AINN", Decimal(1)), index=0)
    assert [balances(each) for each in asked] == [{"AINN": 1}] * count


def test_one_who_leaves_leaves_the_others_their_answer() -> None:
    """Also the one who was there first, and also when all have left: what is found is remembered."""
    rig = Rig()
    first, second, third = rig.ask(), rig.ask(), rig.ask()
    first.cancel()
    third.cancel()
    assert isinstance(outcome(first), CancelledError) and isinstance(outcome(third), CancelledError)
    assert not second.called
    rig.checker.tell(("AINN", Decimal(1)))
    assert balances(second) == {"AINN": 1}
    alone = rig.ask(SEGWIT)
    alone.cancel()
    rig.checker.tell()
    assert balances(rig.ask(SEGWIT)) == {}
    assert rig.count == 2


def test_answers_are_remembered_for_the_gates_time_and_no_longer() -> None:
    """That an address holds nothing, too: else asking is free for whoever has nothing."""
    rig = Rig(", cache: 60s")
    asked = rig.ask()
    rig.clock.advance(2)
    rig.checker.tell()
    assert balances(asked) == {}
    rig.clock.advance(59.9)
    assert balances(rig.ask()) == {} and rig.count == 1
    rig.clock.advance(0.2)
    again = rig.ask()
    assert rig.count == 2
    rig.checker.tell(("AINN", Decimal(3)))
    assert balances(again) == {"AINN": 3}
    assert balances(rig.ask()) == {"AINN": 3}


def test_unknown_is_remembered_for_a_second_only() -> None:
    rig = Rig(", cache: 1d")
    asked = [rig.ask(), rig.ask()]
    rig.checker.fail(CheckerUnavailable("down", 7))
    assert all(isinstance(outcome(each), CheckerUnavailable) and each.result.retry_after == 7 for each in asked)
    assert outcome(asked[0]) is not outcome(asked[1])  # each is raised, and gets a traceback of its own
    assert isinstance(outcome(rig.ask()), CheckerUnavailable) and rig.count == 1
    rig.clock.advance(1)
    rig.ask()
    assert rig.count == 2


def test_without_a_cache_every_question_is_asked_unless_it_is_being_asked() -> None:
    rig = Rig(", cache: 0")
    for expected in (1, 2, 3):
        asked, shared = rig.ask(), rig.ask()
        assert rig.count == expected
        rig.checker.tell()
        assert balances(asked) == balances(shared) == {}


def test_only_so_many_addresses_are_remembered_and_those_longest_unused_go() -> None:
    rig = Rig(most=2)
    for address in (TAPROOT, SEGWIT):
        rig.ask(address)
        rig.checker.tell()
    rig.ask(TAPROOT)
    rig.ask(LEGACY)
    rig.checker.tell()
    assert rig.count == 3
    rig.ask(TAPROOT)
    assert rig.count == 3
    rig.ask(SEGWIT)
    assert rig.count == 4


def test_a_checker_that_never_answers_is_given_up() -> None:
    rig = Rig()
    asked = rig.ask()
    rig.clock.advance(10)
    assert isinstance(outcome(asked), CheckerUnavailable)
    assert rig.checker.calls[0][1].called  # it was cancelled
    rig.clock.advance(1)
    rig.ask()
    assert rig.count == 2


def test_a_checker_that_raises_costs_its_question_only(no_leaks: Any) -> None:
    no_leaks.expect(ZeroDivisionError)
    rig = Rig()
    asked = rig.ask()
    rig.checker.fail(ZeroDivisionError())
    assert isinstance(outcome(asked), CheckerUnavailable)


@pytest.mark.parametrize(
    "amount", [Decimal("NaN"), Decimal("Infinity"), Decimal(-1), Decimal("1e999999"), 1.5, "1", None]
)
def test_what_is_no_balance_is_not_believed(no_leaks: Any, amount: Any) -> None:
    no_leaks.expect(ValueError)
    rig = Rig()
    asked = rig.admit()
    rig.checker.tell(("AINN", amount))
    assert isinstance(outcome(asked), CheckerUnavailable)


@pytest.mark.parametrize("found", [None, {}, Holdings(["AINN"]), Holdings(None)])  # type: ignore[arg-type]
def test_what_is_no_holdings_is_not_believed(no_leaks: Any, found: Any) -> None:
    no_leaks.expect(ValueError)
    rig = Rig()
    asked = rig.ask()
    rig.checker.calls[0][1].callback(found)
    assert isinstance(outcome(asked), CheckerUnavailable)


@pytest.mark.parametrize("raises", [True, False])
def test_a_checker_that_is_no_coroutine_is_unknown(no_leaks: Any, raises: bool) -> None:
    no_leaks.expect(ZeroDivisionError, TypeError)
    rig = Rig()

    def holdings(address: str, tickers: Sequence[str]) -> Any:
        return 1 / 0 if raises else None

    rig.checker.holdings = holdings  # type: ignore[method-assign]
    assert isinstance(outcome(rig.ask()), CheckerUnavailable)


def test_a_checker_that_does_not_let_itself_be_cancelled_is_given_up_all_the_same() -> None:
    rig = Rig()

    async def holdings(address: str, tickers: Sequence[str]) -> Any:
        while True:
            with contextlib.suppress(Exception):
                await Deferred()

    rig.checker.holdings = holdings  # type: ignore[method-assign]
    asked = rig.ask()
    rig.clock.advance(10)
    assert isinstance(outcome(asked), CheckerUnavailable)


def test_what_the_gate_did_not_ask_for_opens_nothing() -> None:
    rig = Rig()
    asked = rig.ask()
    rig.checker.tell(("OTHER", Decimal(10**9)), ("ORDI", Decimal(0)), ("AINN", Decimal(2)))
    assert balances(asked) == {"AINN": 2}


@pytest.mark.parametrize(
    ("held", "minimum", "passes"),
    [
        ({"AINN": "1"}, "1", True),
        ({"AINN": "0.999999999999999999"}, "1", False),
        ({"AINN": "0.000000000000000001"}, "0.000000000000000001", True),
        ({"AINN": "0.000000000000000001"}, "0", True),
        ({}, "0", False),
        ({"AINN": "0.5", "ORDI": "0.5"}, "1", False),
        ({"AINN": "0.5", "ORDI": "1"}, "1", True),
        ({"ORDI": "123456789012345678901.000000000000000001"}, "123456789012345678901.000000000000000001", True),
        ({"ORDI": "123456789012345678901.000000000000000000"}, "123456789012345678901.000000000000000001", False),
    ],
)
def test_the_minimum_is_exact_and_one_ticker_has_to_reach_it(held: dict[str, str], minimum: str, passes: bool) -> None:
    rig = Rig(f', minimum: "{minimum}"')
    asked = rig.admit()
    rig.checker.tell(*((ticker, Decimal(amount)) for ticker, amount in held.items()))
    if passes:
        assert outcome(asked) is None
    else:
        assert isinstance(outcome(asked), Forbidden) and f"{minimum} AINN or ORDI" in str(outcome(asked))


@pytest.mark.parametrize("on_unknown", ["deny", "allow"])
def test_what_nobody_can_tell_is_the_operators_choice(on_unknown: str) -> None:
    """`allow` lets a request through; it never makes checkAddress say something."""
    rig = Rig(f", on_unknown: {on_unknown}")
    admitted, asked = rig.admit(), rig.ask()
    rig.checker.fail(CheckerUnavailable("down"))
    assert isinstance(outcome(asked), CheckerUnavailable)
    assert isinstance(outcome(admitted), CheckerUnavailable) if on_unknown == "deny" else outcome(admitted) is None


def test_an_address_that_is_remembered_does_not_vouch_for_one_in_mixed_case() -> None:
    """BIP-173 refuses it."""
    rig = Rig()
    rig.ask(SEGWIT)
    rig.checker.tell(("AINN", Decimal(1)))
    assert balances(rig.ask(SEGWIT.upper())) == {"AINN": 1}
    assert isinstance(outcome(rig.ask("bC1" + SEGWIT[3:])), BadRequest)


@pytest.mark.parametrize("address", ["", "nonsense", TAPROOT[:-1], TAPROOT[:-1] + "q", "bc1" + TAPROOT[3:].upper()])
def test_what_is_no_address_is_never_asked_for(address: str) -> None:
    rig = Rig(", on_unknown: allow")
    assert isinstance(outcome(rig.admit(address)), BadRequest)
    assert rig.count == 0
