"""Inscription checker ``ord``: the HTTP API of the okx/ord fork, self-hosted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ngpu import options as read
from ngpu.brc20.block import make_source, source_options
from ngpu.brc20.checker import SourceChecker, together
from ngpu.brc20.reply import MOST_DECIMALS, Reply, Surprise
from ngpu.brc20.source import Source, segment
from ngpu.brc20.tickers import Listing, ticker_key
from ngpu.errors import ConfigError
from ngpu.interfaces import Option, PluginContext
from ngpu.model import Holdings
from ngpu.plugin import Factory

OPTIONS = (
    *source_options("http://127.0.0.1:80"),
    Option("decimals", "ticker → its decimals; those of other tickers are asked for once, and kept", {}),
)
NOTHING = "balance not found"


class Ord:
    """The dialect, and the decimals of the tokens that it has met: a token's never change.

    :param decimals: by ticker key.
    """

    def __init__(self, decimals: Mapping[tuple[int, bytes], int]) -> None:
        self._decimals = dict(decimals)

    async def look_up(self, source: Source, address: str, tickers: Sequence[str]) -> Holdings:
        """One request a ticker, and one more for the decimals of a new one. The source says no height."""
        amounts = await together(self._balance(source, address, ticker) for ticker in tickers)
        return Holdings(Listing(zip(tickers, amounts, strict=True)).held(tickers))

    async def _balance(self, source: Source, address: str, ticker: str) -> Decimal:
        decimals = await self._decimals_of(source, ticker)
        path = f"/api/v1/brc20/tick/{segment(ticker)}/address/{segment(address)}/balance"
        status, reply = await source.get(path, accept=(200, 404))
        if status == 404:  # older versions say so of a token that exists, where newer ones answer with zeros
            if reply.has("msg") and reply["msg"].value == NOTHING:
                return Decimal(0)
            raise Surprise("it answered with HTTP 404, and not that it found no balance")
        return _data(reply, ticker)["overallBalance"].scaled(decimals)

    async def _decimals_of(self, source: Source, ticker: str) -> int:
        key = ticker_key(ticker)
        if key not in self._decimals:
            _, reply = await source.get(f"/api/v1/brc20/tick/{segment(ticker)}")
            decimals = _data(reply, ticker)["decimal"].whole()
            if decimals > MOST_DECIMALS:
                raise Surprise("its token has more decimals than any can have")
            self._decimals[key] = decimals
        return self._decimals[key]


def _data(reply: Reply, ticker: str) -> Reply:
    if reply["code"].value != 0 or type(reply["code"].value) is not int:
        raise Surprise("its code is not 0")
    if ticker_key(reply["data"]["tick"].text()) != ticker_key(ticker):
        raise Surprise("it speaks of another ticker than the one that was asked for")
    return reply["data"]


def _make(options: Mapping[str, Any], context: PluginContext) -> SourceChecker:
    listed = options.get("decimals", {})
    if not isinstance(listed, Mapping):
        raise ConfigError("must map tickers to their decimals: {ordi: 18}", ("decimals",))
    with read.within("decimals"):
        decimals = {ticker_key(str(ticker)): read.whole(listed, ticker, 0, 0, MOST_DECIMALS) for ticker in listed}
    return SourceChecker(make_source("ord", options, context, OPTIONS), Ord(decimals).look_up)


ord_fork = Factory("checker", "ord", "The HTTP API of a self-hosted okx/ord.", _make, OPTIONS)
