"""Inscription checker ``static``: balances out of the configuration, for tests, demonstrations and guest lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from zope.interface import implementer

from ngpu.errors import ConfigError
from ngpu.interfaces import IInscriptionChecker, Option, PluginContext
from ngpu.model import Holdings
from ngpu.plugin import Factory


@implementer(IInscriptionChecker)
class StaticChecker:
    """Knows what it was told; every other address holds nothing."""

    def __init__(self, balances: Mapping[str, Mapping[str, Decimal]]) -> None:
        self._balances = balances

    async def holdings(self, address: str, tickers: Sequence[str]) -> Holdings:
        """See `IInscriptionChecker.holdings`."""
        held = self._balances.get(_address_key(address), {})
        amounts = {ticker: held.get(ticker.lower(), Decimal(0)) for ticker in tickers}
        return Holdings({ticker: amount for ticker, amount in amounts.items() if amount > 0})


def _address_key(address: str) -> str:
    """BIP-173: bech32 addresses compare in lower case; base58 ones as they stand."""
    return address.lower() if address.lower().startswith(("bc1", "tb1", "bcrt1")) else address


def _from_options(options: Mapping[str, Any], context: PluginContext) -> StaticChecker:
    balances: dict[str, dict[str, Decimal]] = {}
    listed = options.get("balances", {})
    if not isinstance(listed, Mapping):
        raise ConfigError('must map addresses to their balances: {address: {TICKER: "amount"}}', ("balances",))
    for address, held in listed.items():
        if not isinstance(address, str) or not isinstance(held, Mapping):
            raise ConfigError('must map tickers to amounts: {TICKER: "amount"}', ("balances", address))
        balances[_address_key(address)] = {
            str(ticker).lower(): _amount(amount, ("balances", address, ticker)) for ticker, amount in held.items()
        }
    return StaticChecker(balances)


def _amount(value: Any, path: tuple[str | int, ...]) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(f'must be a decimal in quotes, such as "100", not {value!r}', path)
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ConfigError(f'must be a decimal such as "100" or "0.5", not {value!r}', path) from None
    if not amount.is_finite() or amount < 0:
        raise ConfigError(f"must be zero or more, not {value!r}", path)
    return amount


static = Factory(
    "checker",
    "static",
    "Balances written in the configuration; every other address holds nothing.",
    _from_options,
    (Option("balances", 'address → {TICKER: "amount"}, amounts as exact decimals', {}),),
)
