"""Inscription checker ``okx``: OKX's wallet API."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ngpu import options as read
from ngpu.brc20.block import make_source, source_options
from ngpu.brc20.checker import SourceChecker, together
from ngpu.brc20.reply import Surprise
from ngpu.brc20.source import Source
from ngpu.brc20.tickers import Listing
from ngpu.errors import ConfigError
from ngpu.interfaces import FetchRequest, Option, PluginContext
from ngpu.model import Holdings
from ngpu.plugin import Factory

OPTIONS = (
    *source_options("https://web3.okx.com"),
    Option("key_file", "the file that holds the API key", unit="file"),
    Option("secret_file", "the file that holds its secret", unit="file"),
    Option("passphrase_file", "the file that holds its passphrase", unit="file"),
    Option("chain", "the chainIndex of Bitcoin", "0"),
    Option("prefix", "what a token's address begins with, before the ticker", "btc-brc20-"),
)
PATH = "/api/v5/wallet/asset/token-balances-by-address"
AT_MOST = 20
"""Tokens that one request may name."""

SHOW_ALL = "1"
"""``filter``: the default one hides tokens."""


class Credentials(NamedTuple):
    """What signs a request."""

    key: str
    secret: str
    passphrase: str


class Okx:
    """The dialect: named tokens, signed requests."""

    def __init__(self, credentials: Credentials, chain: str, prefix: str) -> None:
        self._credentials = credentials
        self._chain = chain
        self._prefix = prefix

    async def look_up(self, source: Source, address: str, tickers: Sequence[str]) -> Holdings:
        """One request for twenty tickers. Each has to be in the reply, with zero where none is held; no height."""
        parts = [tickers[start : start + AT_MOST] for start in range(0, len(tickers), AT_MOST)]
        held = await together(self._some(source, address, part) for part in parts)
        return Holdings({ticker: amount for each in held for ticker, amount in each.items()})

    async def _some(self, source: Source, address: str, tickers: Sequence[str]) -> dict[str, Any]:
        tokens = [{"chainIndex": self._chain, "tokenAddress": self._prefix + ticker.lower()} for ticker in tickers]
        body = json.dumps({"address": address, "tokenAddresses": tokens, "filter": SHOW_ALL}).encode()
        now = datetime.now(UTC)  # OKX refuses what is half a minute off, as the clock of timers is after a pause
        headers = signed(self._credentials, now, "POST", source.path + PATH, body)
        _, reply = await source.send(FetchRequest(PATH, "POST", headers, body))
        if reply["code"].value not in ("0", 0) or isinstance(reply["code"].value, bool):
            raise Surprise("its code is not 0")
        listing = Listing()
        for part in reply["data"].items():
            listing.add((self._ticker(each), each["balance"].amount()) for each in part["tokenAssets"].items())
        if any(ticker not in listing for ticker in tickers):
            raise Surprise("it left a ticker out that it was asked for")
        return listing.held(tickers)

    def _ticker(self, asset: Any) -> str:
        name = "tokenAddress" if asset.has("tokenAddress") else "tokenContractAddress"
        text: str = asset[name].text()
        if not text.startswith(self._prefix):
            raise Surprise("it speaks of a token that was not asked for")
        return text.removeprefix(self._prefix)


def signed(credentials: Credentials, now: datetime, method: str, path: str, body: bytes) -> tuple[tuple[str, str], ...]:
    """The header fields of a request: base64 of HMAC-SHA256 over timestamp, method, path and body."""
    timestamp = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
    text = f"{timestamp}{method}{path}".encode() + body
    digest = hmac.digest(credentials.secret.encode(), text, hashlib.sha256)
    return (
        ("Content-Type", "application/json"),
        ("OK-ACCESS-KEY", credentials.key),
        ("OK-ACCESS-SIGN", base64.b64encode(digest).decode()),
        ("OK-ACCESS-PASSPHRASE", credentials.passphrase),
        ("OK-ACCESS-TIMESTAMP", timestamp),
    )


def _make(options: Mapping[str, Any], context: PluginContext) -> SourceChecker:
    names = ("key_file", "secret_file", "passphrase_file")
    credentials = Credentials(*(read.secret(options, name, context.folder) for name in names))
    chain, prefix = options.get("chain", "0"), options.get("prefix", "btc-brc20-")
    for name, value in (("chain", chain), ("prefix", prefix)):
        if not isinstance(value, str):
            raise ConfigError("must be text, in quotes", (name,))
    return SourceChecker(make_source("okx", options, context, OPTIONS), Okx(credentials, chain, prefix).look_up)


okx = Factory("checker", "okx", "OKX's wallet API; needs a key, its secret and its passphrase.", _make, OPTIONS)
