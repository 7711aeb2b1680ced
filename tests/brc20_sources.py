"""Servers that answer as the published sources of BRC-20 balances do, on real sockets, and misbehave when told to."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from raw_worker import Peer, RawWorker

from ngpu.discovery import Plugins, discover
from ngpu.fetch import Fetcher, make_fetcher
from ngpu.interfaces import IInscriptionChecker, PluginContext

HOLDER = "bc1pp8vyhh2ma0ntzjwr26xxrn5r0w296yu68wdwle5rrhgtv3a2lgkqtyayus"
NOBODY = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
HEIGHT = 880_000
DECIMALS = {"ordi": 18, "ainn": 18, "nine": 9, "zero": 18, "fives": 18}
BALANCES = {
    HOLDER: {
        "ordi": Decimal("123.000000000000000001"),
        "ainn": Decimal("1000"),
        "nine": Decimal("0.000000001"),
        "zero": Decimal(0),
    }
}
"""What the sources know, by address and ticker in lower case."""


@dataclass
class Request:
    """What a source was asked."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


Reply = tuple[int, Any]


@dataclass
class SourceServer:
    """One source. Tests change what it does in place.

    :ivar show: how it writes an amount that it would write as this text.
    :ivar mood: takes a connection over before anything is answered; ``None``: it answers.
    """

    reactor: Any
    answer: Callable[[SourceServer, Request], Reply]
    balances: Mapping[str, Mapping[str, Decimal]] = field(default_factory=lambda: BALANCES)
    height: int = HEIGHT
    page: int = 1000
    show: Callable[[str], Any] = str
    mood: Callable[[Peer], Awaitable[None]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.worker = RawWorker(self.reactor, self._serve)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.worker.port}"

    def of(self, address: str) -> Mapping[str, Decimal]:
        return self.balances.get(address, {})

    async def _serve(self, peer: Peer) -> None:
        while True:
            head, _, body = (await peer.request()).partition(b"\r\n\r\n")
            line, *fields = head.decode().split("\r\n")
            method, target, _ = line.split(" ")
            pairs = (each.split(": ", 1) for each in fields)
            request = Request(method, target, {name.lower(): value for name, value in pairs}, body)
            self.asked.append(request)
            if self.mood is not None:
                await self.mood(peer)
                return
            status, document = self.answer(self, request)
            peer.write(http(status, json.dumps(document).encode(), **self.headers))


def http(status: int, body: bytes, **headers: str) -> bytes:
    """A reply's bytes; names of fields are written with _ for -."""
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


def plain(amount: Decimal) -> str:
    return f"{amount:f}"


def scaled(amount: Decimal, decimals: int) -> str:
    return str(int(amount.scaleb(decimals)))


def opi(server: SourceServer, request: Request) -> Reply:
    assert request.path == "/v1/brc20/get_current_balance_of_wallet"
    held = server.of(request.query["address"])
    if not request.query["ticker"]:
        return 500, {"error": "internal error", "result": None}
    if request.query["ticker"] not in held:
        return 400, {"error": "no balance found", "result": None}
    amount = server.show(scaled(held[request.query["ticker"]], 18))
    return 200, {
        "error": None,
        "result": {"overall_balance": amount, "available_balance": "0", "block_height": server.height},
    }


def unisat(server: SourceServer, request: Request) -> Reply:
    if request.headers.get("authorization") != "Bearer the-key":
        return 401, {"code": -2002, "msg": "unauthorized", "data": None}
    _, version, indexer, _, address, brc20, summary = request.path.split("/")
    assert (version, indexer, brc20, summary) == ("v1", "indexer", "brc20", "summary")
    start, limit = int(request.query["start"]), min(int(request.query["limit"]), server.page)
    listed = [(ticker, amount) for ticker, amount in server.of(address).items() if amount > 0]
    detail = [
        {
            "ticker": ticker,
            "overallBalance": server.show(plain(amount)),
            "transferableBalance": "0",
            "availableBalance": plain(amount),
        }
        for ticker, amount in listed[start : start + limit]
    ]
    data = {"height": server.height, "start": start, "total": len(listed), "detail": detail}
    return 200, {"code": 0, "msg": "OK", "data": data}


def xverse(server: SourceServer, request: Request) -> Reply:
    if request.headers.get("x-api-key") != "the-key":
        return 401, {"message": "unauthorized"}
    address = unquote(request.path.removeprefix("/v1/ordinals/address/").removesuffix("/brc20"))
    offset, limit = int(request.query["offset"]), int(request.query["limit"])
    assert 25 <= limit <= 60
    listed = [(ticker, amount) for ticker, amount in server.of(address).items() if amount > 0]
    page = listed[offset : offset + min(limit, server.page)]
    items = [{"ticker": ticker, "amount": server.show(plain(amount))} for ticker, amount in page]
    return 200, {"limit": limit, "offset": offset, "total": len(listed), "items": items}


def bestinslot(server: SourceServer, request: Request) -> Reply:
    assert request.path == "/v3/brc20/wallet_balances"
    if request.headers.get("x-api-key") != "the-key":
        return 401, {"error": "unauthorized"}
    data = [
        {
            "ticker": ticker,
            "overall_balance": server.show(plain(amount)),
            "available_balance": "0." + "0" * 36,
            "transferrable_balance": plain(amount),
            "image_url": None,
            "min_listed_unit_price": 335.94,
        }
        for ticker, amount in server.of(request.query["address"]).items()
        if ticker == request.query["ticker"] and amount > 0
    ]
    return 200, {"data": data, "block_height": server.height}


def okx(server: SourceServer, request: Request) -> Reply:
    assert (request.method, request.path) == ("POST", "/api/v5/wallet/asset/token-balances-by-address")
    if request.headers.get("ok-access-key") != "the-key":
        return 401, {"code": "50111", "msg": "Invalid OK-ACCESS-KEY", "data": []}
    asked = json.loads(request.body)
    assert asked["filter"] == "1" and len(asked["tokenAddresses"]) <= 20
    held = server.of(asked["address"])
    assets = []
    for token in asked["tokenAddresses"]:
        assert token["chainIndex"] == "0"
        amount = plain(held.get(token["tokenAddress"].removeprefix("btc-brc20-"), Decimal(0)))
        parts = {"balance": server.show(amount), "transferAmount": "0", "availableAmount": amount}
        assets.append({**token, "symbol": token["tokenAddress"][-4:], **parts})
    return 200, {"code": "0", "msg": "success", "data": [{"tokenAssets": assets}]}


def ord_fork(server: SourceServer, request: Request) -> Reply:
    parts = [unquote(part) for part in request.path.split("/")]
    assert parts[1:5] == ["api", "v1", "brc20", "tick"]
    ticker = parts[5].lower()
    if ticker not in DECIMALS:
        return 404, {"code": 404, "msg": "tick not found"}
    if len(parts) == 6:
        return 200, {"code": 0, "msg": "ok", "data": {"tick": ticker, "decimal": DECIMALS[ticker], "supply": "21"}}
    amount = scaled(server.of(parts[7]).get(ticker, Decimal(0)), DECIMALS[ticker])
    data = {
        "tick": ticker,
        "availableBalance": amount,
        "transferableBalance": "0",
        "overallBalance": server.show(amount),
    }
    return 200, {"code": 0, "msg": "ok", "data": data}


SOURCES: Mapping[str, Callable[[SourceServer, Request], Reply]] = {
    "opi": opi,
    "unisat": unisat,
    "okx": okx,
    "bestinslot": bestinslot,
    "xverse": xverse,
    "ord": ord_fork,
}
KEYS = {
    "opi": (),
    "unisat": ("key_file",),
    "okx": ("key_file", "secret_file", "passphrase_file"),
    "bestinslot": ("key_file",),
    "xverse": ("key_file",),
    "ord": (),
}
UNLIMITED: Mapping[str, Any] = {"rate": {}, "breaker": {"failures": 1000}}


class Checkers:
    """Sources and checkers for one test; `stop` ends what they have opened."""

    def __init__(self, reactor: Any, folder: Path) -> None:
        self.reactor = reactor
        self.folder = folder
        self.plugins: Plugins = discover([])
        self.fetcher: Fetcher = make_fetcher(reactor)
        self.servers: list[SourceServer] = []
        (folder / "key").write_text("the-key\n")

    def context(self, fetcher: Any = None, clock: Any = None) -> PluginContext:
        return PluginContext(clock or self.reactor, Random(1), str(self.folder), fetcher or self.fetcher)

    def server(self, kind: str) -> SourceServer:
        self.servers.append(SourceServer(self.reactor, SOURCES[kind]))
        return self.servers[-1]

    def block(self, kind: str, url: str, **options: Any) -> dict[str, Any]:
        """The options of a checker of that kind."""
        path = "/v3" if kind == "bestinslot" else ""
        return {"url": url + path, **UNLIMITED, **dict.fromkeys(KEYS[kind], "key"), **options}

    def make(self, kind: str, options: Mapping[str, Any], **context: Any) -> IInscriptionChecker:
        made: IInscriptionChecker = self.plugins.make("checker", kind, options, self.context(**context))
        return made

    def one(self, kind: str, **options: Any) -> tuple[IInscriptionChecker, SourceServer]:
        """A checker and the source that it asks."""
        server = self.server(kind)
        return self.make(kind, self.block(kind, server.url, **options)), server

    async def stop(self) -> None:
        await self.fetcher.close()
        for server in self.servers:
            await server.worker.stop()
