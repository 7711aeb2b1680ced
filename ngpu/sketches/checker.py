"""Inscription checker ``example``: a service of one's own that lists balances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ngpu.brc20.block import make_source, source_options
from ngpu.brc20.checker import SourceChecker
from ngpu.brc20.source import Source, segment
from ngpu.brc20.tickers import Listing
from ngpu.interfaces import PluginContext
from ngpu.model import Holdings
from ngpu.plugin import Factory

OPTIONS = source_options("http://127.0.0.1:8000")


async def look_up(source: Source, address: str, tickers: Sequence[str]) -> Holdings:
    """``GET /balances/<address>`` → ``{"balances": [{"ticker": "ordi", "amount": "12.5"}]}``; not listed: not held."""
    _, reply = await source.get(f"/balances/{segment(address)}")
    listed = Listing((each["ticker"].text(), each["amount"].amount()) for each in reply["balances"].items())
    return Holdings(listed.held(tickers))


def _make(options: Mapping[str, Any], context: PluginContext) -> SourceChecker:
    return SourceChecker(make_source("example", options, context, OPTIONS), look_up)


example = Factory(
    "checker",
    "example",
    "A service of one's own that lists balances.",
    _make,
    OPTIONS,
)
