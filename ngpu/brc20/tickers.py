"""Tickers: when two of them are the same, and a source's list of them with their balances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from ngpu.brc20.reply import Surprise


def ticker_key(ticker: str) -> tuple[int, bytes]:
    """What two spellings of one ticker have in common: the bytes of its lower case.

    Its own length belongs to it, since a ticker is 4, 5 or 6 bytes: the Kelvin sign lowers to ``k``, but three bytes
    are not one. Nothing is normalized: what looks alike is not the same.
    """
    data = ticker.encode("utf-8", "surrogatepass")
    return len(data), ticker.lower().encode("utf-8", "surrogatepass")


class Listing:
    """What a source has listed so far of an address's balances."""

    def __init__(self, listed: Iterable[tuple[str, Decimal]] = ()) -> None:
        self._amounts: dict[tuple[int, bytes], Decimal] = {}
        self.add(listed)

    def __len__(self) -> int:
        return len(self._amounts)

    def __contains__(self, ticker: str) -> bool:
        return ticker_key(ticker) in self._amounts

    def add(self, listed: Iterable[tuple[str, Decimal]]) -> int:
        """Add a page.

        :returns: how many of its tickers are new.
        :raises Surprise: a ticker stands there twice, with different balances.
        """
        before = len(self)
        for ticker, amount in listed:
            if self._amounts.setdefault(ticker_key(ticker), amount) != amount:
                raise Surprise("a ticker is listed twice, with different balances")
        return len(self) - before

    def held(self, tickers: Sequence[str]) -> dict[str, Decimal]:
        """Those of ``tickers`` that are listed with more than zero, as they are spelled there."""
        found = {ticker: self._amounts.get(ticker_key(ticker), Decimal(0)) for ticker in tickers}
        return {ticker: amount for ticker, amount in found.items() if amount > 0}
