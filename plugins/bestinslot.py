"""Inscription checker ``bestinslot``: the API of Best in Slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ngpu import options as read
from ngpu.brc20.block import make_source, source_options
from ngpu.brc20.checker import SourceChecker, together
from ngpu.brc20.source import Source
from ngpu.brc20.tickers import Listing
from ngpu.interfaces import Option, PluginContext
from ngpu.model import Holdings
from ngpu.plugin import Factory

OPTIONS = (
    *source_options("https://api.bestinslot.xyz/v3"),
    Option("key_file", "the file that holds the API key", unit="file"),
)


async def look_up(source: Source, address: str, tickers: Sequence[str]) -> Holdings:
    """One list a ticker; whether it is narrowed to the ticker or whole, what is not in it is not held."""
    listed = await together(_listed(source, address, ticker) for ticker in tickers)
    pairs = zip(tickers, listed, strict=True)
    balances = {key: amount for ticker, (listing, _) in pairs for key, amount in listing.held([ticker]).items()}
    return Holdings(balances, min(height for _, height in listed))


async def _listed(source: Source, address: str, ticker: str) -> tuple[Listing, int]:
    _, reply = await source.get("/brc20/wallet_balances", {"address": address, "ticker": ticker.lower()})
    entries = ((each["ticker"].text(), each["overall_balance"].amount()) for each in reply["data"].items())
    return Listing(entries), reply["block_height"].whole()


def _make(options: Mapping[str, Any], context: PluginContext) -> SourceChecker:
    headers = {"x-api-key": read.secret(options, "key_file", context.folder)}
    return SourceChecker(make_source("bestinslot", options, context, OPTIONS, headers), look_up)


bestinslot = Factory("checker", "bestinslot", "The API of Best in Slot; needs a key.", _make, OPTIONS)
