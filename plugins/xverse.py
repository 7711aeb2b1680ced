"""Inscription checker ``xverse``: the Xverse API, which took over Hiro's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ngpu import options as read
from ngpu.brc20.block import make_source, source_options
from ngpu.brc20.checker import SourceChecker, together
from ngpu.brc20.reply import Surprise
from ngpu.brc20.source import Query, Source, segment
from ngpu.brc20.tickers import Listing
from ngpu.interfaces import Option, PluginContext
from ngpu.model import Holdings
from ngpu.plugin import Factory

OPTIONS = (
    *source_options("https://api.secretkeylabs.io"),
    Option("key_file", "the file that holds the API key", unit="file"),
)
PAGE, PAGES = 60, 10


async def look_up(source: Source, address: str, tickers: Sequence[str]) -> Holdings:
    """One list a ticker. The source says no height."""
    listings = await together(_listed(source, address, ticker) for ticker in tickers)
    pairs = zip(tickers, listings, strict=True)
    return Holdings({key: amount for ticker, listing in pairs for key, amount in listing.held([ticker]).items()})


async def _listed(source: Source, address: str, ticker: str) -> Listing:
    """The list, until it has ended or holds the ticker, whether the source narrows it to the ticker or not.

    A source that ignores ``offset`` gives its first page again, which must then have been all.
    """
    listing = Listing()
    for _ in range(PAGES):
        query: Query = {"ticker": ticker.lower(), "offset": len(listing), "limit": PAGE}
        _, reply = await source.get(f"/v1/ordinals/address/{segment(address)}/brc20", query)
        new = listing.add((each["ticker"].text(), each["amount"].amount()) for each in reply["items"].items())
        if ticker in listing or len(listing) >= reply["total"].whole():
            return listing
        if not new:
            raise Surprise("its list ends before its total")
    raise Surprise("its list is too long")


def _make(options: Mapping[str, Any], context: PluginContext) -> SourceChecker:
    headers = {"x-api-key": read.secret(options, "key_file", context.folder)}
    return SourceChecker(make_source("xverse", options, context, OPTIONS, headers), look_up)


xverse = Factory("checker", "xverse", "The Xverse API; needs a key.", _make, OPTIONS)
