"""Numbers and tickers out of a source's reply: exact, or not taken at all."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngpu.brc20.reply import Reply, Surprise, parse
from ngpu.brc20.tickers import Listing, ticker_key

DIGITS = st.text("0123456789", min_size=1, max_size=40)


@given(DIGITS, st.none() | st.text("0123456789", min_size=1, max_size=36))
def test_a_decimal_is_read_exactly_whatever_the_context_is(whole: str, fraction: str | None) -> None:
    text = whole if fraction is None else f"{whole}.{fraction}"
    with localcontext() as context:
        context.prec = 3
        amount = Reply(text).amount()
    places = len(fraction or "")
    assert amount.as_tuple().exponent == -places
    assert int("".join(map(str, amount.as_tuple().digits))) == int(whole + (fraction or ""))


@given(st.integers(0, 10**60 - 1), st.integers(0, 18), st.booleans())
def test_scaled_integers_are_read_exactly(parts: int, decimals: int, as_text: bool) -> None:
    """More digits than a Decimal context has by default, which `scaleb` would round."""
    amount = Reply(str(parts) if as_text else parts).scaled(decimals)
    sign, digits, exponent = amount.as_tuple()
    assert (sign, exponent, int("".join(map(str, digits)))) == (0, -decimals, parts)


@given(st.text(max_size=20) | st.floats() | st.booleans() | st.none() | st.integers(max_value=-1))
def test_nothing_else_is_an_amount(value: Any) -> None:
    """What is taken is what an ASCII decimal says; all else is a surprise, never another exception."""
    for read in (Reply(value).amount, lambda: Reply(value).scaled(18)):
        try:
            amount = read()
        except Surprise:
            continue
        assert isinstance(value, str) and value.isascii() and value.replace(".", "", 1).isdigit()
        assert amount.is_finite() and amount >= 0


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_read_as_it_is(value: Any) -> None:
    text = json.dumps(value)
    try:
        assert parse(text.encode()).value == value
    except ValueError:
        assert any(len(part) > 90 for part in text.split(","))


def test_fractions_in_json_stay_exact() -> None:
    assert parse(b"[0.1000000000000000055]").value == [Decimal("0.1000000000000000055")]


@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        parse(data)


@pytest.mark.parametrize(
    "data",
    [b'{"a":1,"a":2}', b"[NaN]", b"[-Infinity]", b"1" * 101, b"[" * 50_000, b"\xff", b"", b"1e" + b"9" * 30, b"[1]x"],
)
def test_what_parsers_take_in_silence_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse(data)


def test_surprises_say_where_and_hold_nothing_of_the_reply() -> None:
    """They go into the log; replies may hold anything."""
    reply = parse(b'{"data":{"detail":[{"ticker":"ordi"},{"ticker":"secret-text"}]}}')
    entries = list(reply["data"]["detail"].items())
    for read in (
        lambda: entries[1]["overallBalance"],
        lambda: entries[1]["ticker"].amount(),
        lambda: reply["data"].items(),
    ):
        with pytest.raises(Surprise) as caught:
            read()
        assert "secret-text" not in str(caught.value)
    assert str(caught.value) == "the reply.data is no list"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ordi", "ORDI", True),
        ("ÄB1", "äb1", True),
        ("pork", "por\u212a", False),  # the Kelvin sign, which is three bytes and lowers to k
        ("\u00e9aa", "e\u0301aa", False),  # one letter, and a letter with a combining accent
        ("ordi", "ordı", False),
        ("ordi", "ordi ", False),
    ],
)
def test_tickers_compare_in_lower_case_by_bytes(one: str, other: str, same: bool) -> None:
    assert (ticker_key(one) == ticker_key(other)) is same


@given(st.text())
def test_a_ticker_is_its_own_whatever_it_is_made_of(text: str) -> None:
    assert ticker_key(text) == ticker_key(text)


def test_a_list_holds_a_ticker_once() -> None:
    listing = Listing([("ordi", Decimal(1)), ("ORDI", Decimal("1.0"))])
    assert len(listing) == 1 and "Ordi" in listing
    assert listing.add([("ordi", Decimal(1)), ("ainn", Decimal(0))]) == 1
    assert listing.held(["oRdI", "ainn", "none"]) == {"oRdI": 1}
    with pytest.raises(Surprise):
        listing.add([("ordi", Decimal(2))])
