"""``gates``: which Bitcoin addresses are let through."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator

from ngpu.settings.block import Block, refusal, written
from ngpu.settings.kinds import Duration, Name, Options, Text

_AMOUNT = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)


def _ticker(text: str) -> str:
    if not 4 <= len(text.encode("utf-8", "surrogatepass")) <= 6:
        raise refusal("must be a ticker of 4 to 6 bytes")
    return text


def _no_ticker_twice(tickers: tuple[str, ...]) -> tuple[str, ...]:
    lowered = [ticker.lower() for ticker in tickers]
    for ticker in lowered:
        if lowered.count(ticker) > 1:
            raise refusal("has a ticker twice; they compare in lower case")
    return tickers


def _exact(value: Any) -> Decimal:
    if isinstance(value, float):
        raise refusal("is read as an inexact number", quotable=True)
    if isinstance(value, bool) or not isinstance(value, int | str) or not _AMOUNT.fullmatch(str(value)):
        raise refusal('must be a decimal number such as "1" or "0.5"')
    return Decimal(value)


class Gate(Block):
    """One gate: an address passes that holds ``minimum`` of one of ``tickers``, as its checker says.

    ``on_unknown`` says what happens when the checker cannot tell; answers are kept for ``cache`` seconds.
    """

    checker: Name
    options: Options = written({})
    tickers: Annotated[
        tuple[Annotated[Text, AfterValidator(_ticker)], ...],
        Field(min_length=1, max_length=100),
        AfterValidator(_no_ticker_twice),
    ]
    minimum: Annotated[Decimal, PlainValidator(_exact)] = written("1")
    on_unknown: Literal["deny", "allow"] = "deny"
    cache: Duration = written("60s")
