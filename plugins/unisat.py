"""Inscription checker ``unisat``: UniSat's open API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ngpu import options as read
from ngpu.brc20.block import make_source, source_options
from ngpu.brc20.checker import SourceChecker
from ngpu.brc20.reply import Reply, Surprise
from ngpu.brc20.source import Query, Source, segment
from ngpu.brc20.tickers import Listing
from ngpu.interfaces import Option, PluginContext
from ngpu.model import Holdings
from ngpu.plugin import Factory

OPTIONS = (
    *source_options("https://open-api.unisat.io", {"per_second": 5, "per_day": 2000}),
    Option("key_file", "the file that holds the API key", unit="file"),
)
PAGE, PAGES = 200, 10
ALL_TICKERS = 24
"""``tick_filter``: tickers of 4 bytes (8) and of 5 (16); whether it lists those of 6 is not said."""

LISTED = 5
"""Bytes of the longest ticker that is surely listed."""


async def look_up(source: Source, address: str, tickers: Sequence[str]) -> Holdings:
    """The summary of all that an address holds, page by page, until it has ended or holds all of the tickers."""
    listing = Listing()
    height: int | None = None
    for _ in range(PAGES):
        data = await _page(source, address, len(listing))
        entries = [(each["ticker"].text(), each["overallBalance"].amount()) for each in data["detail"].items()]
        if height not in (None, data["height"].whole()):
            raise Surprise("a block came between two pages of its list")
        height = data["height"].whole()
        new = listing.add(entries)
        if len(listing) >= data["total"].whole() or all(ticker in listing for ticker in tickers):
            break
        if not new:
            raise Surprise("its list ends before its total")
    else:
        raise Surprise("its list is too long")
    if any(ticker not in listing and len(ticker.encode()) > LISTED for ticker in tickers):
        raise Surprise("a ticker of 6 bytes is not in its list, which may leave such tickers out")
    return Holdings(listing.held(tickers), height)


async def _page(source: Source, address: str, start: int) -> Reply:
    query: Query = {"start": start, "limit": PAGE, "tick_filter": ALL_TICKERS, "exclude_zero": "true"}
    _, reply = await source.get(f"/v1/indexer/address/{segment(address)}/brc20/summary", query)
    if reply["code"].value != 0 or type(reply["code"].value) is not int:
        raise Surprise("its code is not 0")
    if reply["data"]["start"].whole() != start:
        raise Surprise("it gave another page than the one that was asked for")
    return reply["data"]


def _make(options: Mapping[str, Any], context: PluginContext) -> SourceChecker:
    headers = {"Authorization": f"Bearer {read.secret(options, 'key_file', context.folder)}"}
    return SourceChecker(make_source("unisat", options, context, OPTIONS, headers), look_up)


unisat = Factory("checker", "unisat", "UniSat's open API; needs a key.", _make, OPTIONS)
