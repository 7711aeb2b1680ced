"""Inscription checker ``opi``: an Open Protocol Indexer of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ngpu.brc20.block import make_source, source_options
from ngpu.brc20.checker import SourceChecker, together
from ngpu.brc20.reply import MOST_DECIMALS, Surprise
from ngpu.brc20.source import Source
from ngpu.brc20.tickers import Listing
from ngpu.interfaces import PluginContext
from ngpu.model import Holdings
from ngpu.plugin import Factory

OPTIONS = source_options("http://127.0.0.1:8000")
PATH = "/v1/brc20/get_current_balance_of_wallet"
NOTHING = "no balance found"


async def look_up(source: Source, address: str, tickers: Sequence[str]) -> Holdings:
    """One request a ticker; all balances are scaled by 10 to the power of 18, whatever the token's decimals are."""
    found = await together(_balance(source, address, ticker) for ticker in tickers)
    heights = [height for _, height in found if height is not None]
    listing = Listing(zip(tickers, (amount for amount, _ in found), strict=True))
    return Holdings(listing.held(tickers), min(heights, default=None))


async def _balance(source: Source, address: str, ticker: str) -> tuple[Decimal, int | None]:
    """Who never held any gets a 400 that says so, without a height: that is a balance of zero."""
    status, reply = await source.get(PATH, {"ticker": ticker.lower(), "address": address}, accept=(200, 400))
    if status == 400:
        if reply["error"].value == NOTHING and reply["result"].value is None:
            return Decimal(0), None
        raise Surprise("it answered with HTTP 400, and not that it found no balance")
    if reply["error"].value is not None:
        raise Surprise("it answered with HTTP 200 and an error")
    result = reply["result"]
    return result["overall_balance"].scaled(MOST_DECIMALS), result["block_height"].whole()


def _make(options: Mapping[str, Any], context: PluginContext) -> SourceChecker:
    return SourceChecker(make_source("opi", options, context, OPTIONS), look_up)


opi = Factory("checker", "opi", "A self-hosted Open Protocol Indexer (OPI).", _make, OPTIONS)
