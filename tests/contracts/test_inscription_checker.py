"""What every `IInscriptionChecker` does, over real sockets: it holds, it holds nothing, or nobody can tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from brc20_sources import BALANCES, HOLDER, NOBODY, SOURCES, Checkers, SourceServer, http
from raw_worker import Peer
from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from ngpu.errors import CheckerUnavailable
from ngpu.interfaces import IInscriptionChecker

ASKING = [*SOURCES, "quorum"]
ALL = [*ASKING, "static"]


@pytest_twisted.async_yield_fixture
async def checkers(tmp_path: Path) -> AsyncIterator[Checkers]:
    from twisted.internet import reactor

    made = Checkers(reactor, tmp_path)
    yield made
    await made.stop()


def of_kind(checkers: Checkers, kind: str, **options: Any) -> tuple[IInscriptionChecker, list[SourceServer]]:
    """A checker that knows BALANCES, and the sources behind it."""
    if kind == "static":
        balances = {
            address: {ticker: f"{amount:f}" for ticker, amount in held.items()} for address, held in BALANCES.items()
        }
        return checkers.make("static", {"balances": balances}), []
    if kind == "quorum":
        servers = [checkers.server("opi") for _ in range(3)]
        members = [{"checker": "opi", "options": checkers.block("opi", each.url, **options)} for each in servers]
        return checkers.make("quorum", {"checkers": members}), servers
    checker, server = checkers.one(kind, **options)
    return checker, [server]


@pytest.mark.parametrize("kind", ALL)
@pytest_twisted.ensureDeferred
async def test_what_is_held_is_exact_and_spelled_as_the_gate_does(checkers: Checkers, kind: str) -> None:
    checker, _ = of_kind(checkers, kind)
    assert verifyObject(IInscriptionChecker, checker)
    held = (await checker.holdings(HOLDER, ("ORDI", "aInN", "nine"))).balances
    assert held == {"ORDI": Decimal("123.000000000000000001"), "aInN": 1000, "nine": Decimal("0.000000001")}
    assert all(type(amount) is Decimal for amount in held.values())


@pytest.mark.parametrize("kind", ALL)
@pytest_twisted.ensureDeferred
async def test_what_is_not_held_is_left_out(checkers: Checkers, kind: str) -> None:
    """Both a balance of zero and a ticker that the address never had; holding nothing is an answer, not a failure."""
    checker, _ = of_kind(checkers, kind)
    assert (await checker.holdings(HOLDER, ("zero", "fives", "ainn"))).balances == {"ainn": 1000}
    assert (await checker.holdings(NOBODY, ("ordi", "ainn"))).balances == {}
    assert (await checker.holdings(NOBODY, ("zero",))).balances == {}


def says(data: bytes, end: str = "stay") -> Callable[[Peer], Any]:
    async def mood(peer: Peer) -> None:
        peer.write(data)
        if end == "close":
            peer.close()

    return mood


async def never(peer: Peer) -> None:
    await peer.until_gone()


async def huge(peer: Peer) -> None:
    peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n")
    await peer.write_many(b" " * 65536, 40)


async def endless_head(peer: Peer) -> None:
    peer.write(b"HTTP/1.1 200 OK\r\n")
    await peer.write_many(b"X-Filler: yes\r\n" * 4096, 400)


async def drip(peer: Peer) -> None:
    peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{")
    await peer.until_gone()


JSON = b'{"code":0,"error":null}'
MOODS: dict[str, Callable[[Peer], Any]] = {
    "500": says(http(500, b'{"error":"internal"}')),
    "502 in HTML": says(http(502, b"<html>bad gateway</html>", Content_Type="text/html")),
    "429": says(http(429, b"{}", Retry_After="7")),
    "401": says(http(401, b'{"message":"no"}')),
    "403 in HTML": says(http(403, b"<html>are you human?</html>")),
    "404": says(http(404, b'{"code":404,"msg":"tick not found"}')),
    "400": says(http(400, b'{"error":"bad address","result":null}')),
    "204": says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "HTML": says(http(200, b"<!doctype html><title>maintenance</title>")),
    "nothing": says(http(200, b"")),
    "truncated, as it says": says(http(200, JSON[:-3])),
    "truncated, cut": says(http(200, JSON * 5)[:-9], "close"),
    "truncated, no length": says(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + JSON[:-3], "close"),
    "an empty object": says(http(200, b"{}")),
    "a list": says(http(200, b"[]")),
    "null": says(http(200, b"null")),
    "an error that it calls success": says(http(200, b'{"code":-1,"msg":"oops","error":"oops","data":null}')),
    "nested": says(http(200, b"[" * 100_000)),
    "no UTF-8": says(http(200, b'{"data":"\xff"}')),
    "NaN": says(http(200, b'{"code":0,"data":NaN}')),
    "a number of 5000 digits": says(http(200, b'{"code":' + b"9" * 5000 + b"}")),
    "an exponent": says(http(200, b'{"code":0e99999999999999999999}')),
    "packed": says(http(200, b"\x1f\x8b\x08\x00", Content_Encoding="gzip")),
    "no HTTP": says(b"SSH-2.0-OpenSSH\r\n", "close"),
    "closed": says(b"", "close"),
    "hanging": never,
    "dripping": drip,
    "huge": huge,
    "an endless head": endless_head,
    "redirect": says(http(302, b"", Location="http://127.0.0.1:1/")),
}


@pytest.mark.parametrize("mood", MOODS)
@pytest_twisted.ensureDeferred
async def test_a_source_that_misbehaves_is_unknown(checkers: Checkers, mood: str) -> None:
    """Never a guess: neither that something is held nor that nothing is."""
    for kind in ASKING:
        checker, servers = of_kind(checkers, kind, timeout="300ms" if mood in ("hanging", "dripping") else "5s")
        for server in servers:
            server.mood = MOODS[mood]
        await assert_unknown(checker, kind)


async def assert_unknown(checker: IInscriptionChecker, what: str) -> None:
    try:
        found = await checker.holdings(HOLDER, ("ordi",))
    except CheckerUnavailable:
        return
    raise AssertionError(f"{what}: {found}")


NO_AMOUNTS: list[Any] = [
    "-1",
    "+1",
    "1e3",
    "1E3",
    "NaN",
    "Infinity",
    "sNaN",
    "",
    " 1",
    "1 ",
    "1_000",
    "1,000",
    "0x10",
    ".5",
    "5.",
    "１",
    "٣",
    "9" * 100,
    "1." + "0" * 37,
    1.5,
    -1,
    10**60,
    None,
    True,
    [],
    {},
    ["1"],
]


@pytest.mark.parametrize("kind", ASKING)
@pytest_twisted.ensureDeferred
async def test_what_is_no_amount_is_unknown(checkers: Checkers, kind: str) -> None:
    checker, servers = of_kind(checkers, kind)
    for amount in NO_AMOUNTS:
        for server in servers:
            server.show = lambda _, amount=amount: amount  # type: ignore[misc]
        await assert_unknown(checker, repr(amount))


@pytest.mark.parametrize("kind", ASKING)
@pytest_twisted.ensureDeferred
async def test_nobody_there_is_unknown(checkers: Checkers, kind: str) -> None:
    checker, servers = of_kind(checkers, kind)
    for server in servers:
        checkers.servers.remove(server)
        await server.worker.stop()
    with pytest.raises(CheckerUnavailable):
        await checker.holdings(HOLDER, ("ordi",))


@pytest.mark.parametrize("kind", ASKING)
@pytest_twisted.ensureDeferred
async def test_cancelling_closes_the_connections(checkers: Checkers, kind: str) -> None:
    """A client that leaves must not leave a question to a slow source behind."""
    checker, servers = of_kind(checkers, kind, timeout="10s")
    arrived: list[Deferred[None]] = []
    left: list[Deferred[None]] = []
    for server in servers:
        arrived.append(Deferred())
        left.append(Deferred())

        async def mood(peer: Peer, here: Deferred[None] = arrived[-1], gone: Deferred[None] = left[-1]) -> None:
            here.callback(None)
            await peer.until_gone()
            gone.callback(None)

        server.mood = mood
    asking = Deferred.fromCoroutine(checker.holdings(HOLDER, ("ordi",)))
    for each in arrived:
        await each
    asking.cancel()
    with pytest.raises(CancelledError):
        await asking
    for each in left:
        await each
