"""What each source is asked, and the quirks of its answers; what they have in common is in the contract's tests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import pytest_twisted
from brc20_sources import DECIMALS, HEIGHT, HOLDER, NOBODY, SOURCES, Checkers, SourceServer

from ngpu.errors import CheckerUnavailable

MANY = {f"t{index:03}": Decimal(index + 1) for index in range(250)}


def many(server: SourceServer, page: int = 1000) -> None:
    server.balances = {HOLDER: MANY}
    server.page = page


@pytest.mark.parametrize("kind", ["unisat", "bestinslot", "xverse", "okx"])
@pytest_twisted.ensureDeferred
async def test_up_to_36_decimals_are_exact(checkers: Checkers, kind: str) -> None:
    checker, server = checkers.one(kind)
    server.show = lambda _: "5000.000000000000000000000000000000000001"
    held = await checker.holdings(HOLDER, ("ordi",))
    assert held.balances == {"ordi": Decimal("5000.000000000000000000000000000000000001")}


@pytest.mark.parametrize("kind", ["opi", "ord"])
@pytest_twisted.ensureDeferred
async def test_scaled_amounts_have_no_point(checkers: Checkers, kind: str) -> None:
    checker, server = checkers.one(kind)
    server.show = lambda _: "5000.0"
    with pytest.raises(CheckerUnavailable):
        await checker.holdings(HOLDER, ("ordi",))


@pytest.mark.parametrize(
    ("kind", "height"), [(kind, HEIGHT if kind in ("opi", "unisat", "bestinslot") else None) for kind in SOURCES]
)
@pytest_twisted.ensureDeferred
async def test_a_height_is_told_where_the_source_says_it(checkers: Checkers, kind: str, height: int | None) -> None:
    checker, _ = checkers.one(kind)
    assert (await checker.holdings(HOLDER, ("ordi", "ainn"))).height == height


PATHS: Mapping[str, list[str]] = {
    "opi": [f"/v1/brc20/get_current_balance_of_wallet?ticker=ordi&address={HOLDER}"],
    "unisat": [f"/v1/indexer/address/{HOLDER}/brc20/summary?start=0&limit=200&tick_filter=24&exclude_zero=true"],
    "okx": ["/api/v5/wallet/asset/token-balances-by-address"],
    "bestinslot": [f"/v3/brc20/wallet_balances?address={HOLDER}&ticker=ordi"],
    "xverse": [f"/v1/ordinals/address/{HOLDER}/brc20?ticker=ordi&offset=0&limit=60"],
    "ord": ["/api/v1/brc20/tick/ORDI", f"/api/v1/brc20/tick/ORDI/address/{HOLDER}/balance"],
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest_twisted.ensureDeferred
async def test_what_is_asked_is_what_the_source_publishes(checkers: Checkers, kind: str) -> None:
    checker, server = checkers.one(kind)
    await checker.holdings(HOLDER, ("ORDI",))
    assert [request.target for request in server.asked] == PATHS[kind]


@pytest.mark.parametrize("kind", ["opi", "ord", "xverse", "bestinslot"])
@pytest_twisted.ensureDeferred
async def test_tickers_of_any_characters_stay_one_part_of_the_url(checkers: Checkers, kind: str) -> None:
    """A ticker is any four bytes: none of them may lead to another path or add a parameter."""
    checker, server = checkers.one(kind)
    for ticker in ("a/&?", "../x", "%2f#", "é ü"):
        server.asked.clear()
        if kind == "ord":  # no such token
            with pytest.raises(CheckerUnavailable):
                await checker.holdings(HOLDER, (ticker,))
            assert len(server.asked[0].path.split("/")) == 6
        else:
            assert (await checker.holdings(HOLDER, (ticker,))).balances == {}
            assert server.asked[0].query["ticker"] == ticker
            assert server.asked[0].query.keys() == {
                "ticker",
                *server.asked[0].query.keys() & {"address", "offset", "limit"},
            }


@pytest_twisted.ensureDeferred
async def test_opi_says_400_of_a_wallet_without_balance_and_of_other_things(checkers: Checkers) -> None:
    checker, server = checkers.one("opi")
    assert (await checker.holdings(NOBODY, ("ordi",))).balances == {}
    others: list[tuple[int, Any]] = [
        (400, {"error": "address or pkscript missing", "result": None}),
        (400, {"error": "no balance found", "result": {"overall_balance": "1"}}),
        (400, {"error": "no balance found"}),
        (200, {"error": "no balance found", "result": None}),
        (404, {"error": "no balance found", "result": None}),
    ]
    for status, body in others:
        server.answer = lambda *_, reply=(status, body): reply  # type: ignore[misc]
        with pytest.raises(CheckerUnavailable):
            await checker.holdings(NOBODY, ("ordi",))


@pytest_twisted.ensureDeferred
async def test_unisat_is_read_page_by_page_until_all_is_known(checkers: Checkers) -> None:
    checker, server = checkers.one("unisat")
    many(server, page=100)
    assert (await checker.holdings(HOLDER, ("t249",))).balances == {"t249": 250}
    assert [request.query["start"] for request in server.asked] == ["0", "100", "200"]
    server.asked.clear()
    assert (await checker.holdings(HOLDER, ("t001",))).balances == {"t001": 2}
    assert len(server.asked) == 1
    assert (await checker.holdings(HOLDER, ("none",))).balances == {}


def changed(server: SourceServer, **changes: Any) -> None:
    """UniSat's answers, with parts of ``data`` replaced by what the request makes of them."""
    answer = server.answer

    def other(to: SourceServer, request: Any) -> Any:
        status, document = answer(to, request)
        return status, {**document, "data": {**document["data"], **{k: f(request) for k, f in changes.items()}}}

    server.answer = other


@pytest.mark.parametrize(
    "changes",
    [
        {"start": lambda request: 0},  # the first page again
        {"height": lambda request: HEIGHT + int(request.query["start"])},  # a block in between
        {"total": lambda request: 251},  # a list that ends before its total
        {"total": lambda request: "250"},
        {"total": lambda request: None},
        {
            "detail": lambda request: [
                {"ticker": "t001", "overallBalance": "1"},
                {"ticker": "T001", "overallBalance": "2"},
            ]
        },
        {"detail": lambda request: [{"ticker": "", "overallBalance": "1"}]},
        {"detail": lambda request: {"t001": "1"}},
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_list_that_does_not_add_up_is_unknown(checkers: Checkers, changes: dict[str, Any]) -> None:
    checker, server = checkers.one("unisat")
    many(server, page=100)
    changed(server, **changes)
    with pytest.raises(CheckerUnavailable):
        await checker.holdings(HOLDER, ("none",))


@pytest_twisted.ensureDeferred
async def test_unisat_may_leave_out_tickers_of_six_bytes(checkers: Checkers) -> None:
    """One that it lists is held; one that it does not list may still be."""
    checker, server = checkers.one("unisat")
    server.balances = {HOLDER: {"sixsix": Decimal(6), "fives": Decimal(5)}}
    assert (await checker.holdings(HOLDER, ("sixsix",))).balances == {"sixsix": 6}
    assert (await checker.holdings(HOLDER, ("fives", "other"[:5]))).balances == {"fives": 5}
    with pytest.raises(CheckerUnavailable):
        await checker.holdings(HOLDER, ("absent",))


@pytest_twisted.ensureDeferred
async def test_endless_lists_are_given_up(checkers: Checkers) -> None:
    for kind in ("unisat", "xverse"):
        checker, server = checkers.one(kind)
        many(server, page=1)
        with pytest.raises(CheckerUnavailable):
            await checker.holdings(HOLDER, ("t249",))
        assert len(server.asked) == 10


@pytest_twisted.ensureDeferred
async def test_xverse_may_ignore_paging(checkers: Checkers) -> None:
    """It then gives everything at once, or the same page again, which nobody can make an answer of."""
    checker, server = checkers.one("xverse")
    whole = {
        "limit": 60,
        "offset": 0,
        "total": 250,
        "items": [{"ticker": t, "amount": f"{a}"} for t, a in MANY.items()],
    }
    server.answer = lambda *_: (200, whole)
    assert (await checker.holdings(HOLDER, ("t249", "none"))).balances == {"t249": 250}
    server.answer = lambda *_: (200, {**whole, "items": whole["items"][:60]})  # type: ignore[index]
    assert (await checker.holdings(HOLDER, ("t001",))).balances == {"t001": 2}
    with pytest.raises(CheckerUnavailable):
        await checker.holdings(HOLDER, ("t249",))


@pytest_twisted.ensureDeferred
async def test_ord_scales_by_the_tokens_own_decimals_and_asks_for_them_once(checkers: Checkers) -> None:
    checker, server = checkers.one("ord", decimals={"ORDI": 18})
    for _ in range(2):
        assert (await checker.holdings(HOLDER, ("nine",))).balances == {"nine": Decimal("0.000000001")}
    assert [request.path.count("/") for request in server.asked] == [5, 8, 8]
    server.asked.clear()
    await checker.holdings(HOLDER, ("ordi",))
    assert len(server.asked) == 1


@pytest.mark.parametrize("decimal", [19, -1, "18", None, 1.5, True])
@pytest_twisted.ensureDeferred
async def test_ord_with_decimals_that_no_token_has_is_unknown(checkers: Checkers, decimal: Any) -> None:
    checker, server = checkers.one("ord")
    server.answer = lambda *_: (200, {"code": 0, "msg": "ok", "data": {"tick": "ordi", "decimal": decimal}})
    with pytest.raises(CheckerUnavailable):
        await checker.holdings(HOLDER, ("ordi",))


@pytest_twisted.ensureDeferred
async def test_ord_says_404_of_a_balance_that_is_not_there_and_of_other_things(checkers: Checkers) -> None:
    checker, server = checkers.one("ord", decimals=DECIMALS)
    server.answer = lambda *_: (404, {"code": 404, "msg": "balance not found"})
    assert (await checker.holdings(NOBODY, ("ordi",))).balances == {}
    for body in ({"code": 404, "msg": "tick not found"}, {"error": "not found"}, []):
        server.answer = lambda *_, body=body: (404, body)  # type: ignore[misc]
        with pytest.raises(CheckerUnavailable):
            await checker.holdings(NOBODY, ("ordi",))


@pytest_twisted.ensureDeferred
async def test_ord_that_speaks_of_another_ticker_is_unknown(checkers: Checkers) -> None:
    checker, server = checkers.one("ord", decimals=DECIMALS)
    server.answer = lambda *_: (200, {"code": 0, "msg": "ok", "data": {"tick": "ainn", "overallBalance": "1"}})
    with pytest.raises(CheckerUnavailable):
        await checker.holdings(HOLDER, ("ordi",))


@pytest_twisted.ensureDeferred
async def test_okx_gets_twenty_tickers_at_once_and_signed_requests(checkers: Checkers) -> None:
    (checkers.folder / "secret").write_text("the-secret")
    checker, server = checkers.one("okx", secret_file="secret")
    many(server)
    tickers = tuple(MANY)[:45]
    assert (await checker.holdings(HOLDER, tickers)).balances == dict(list(MANY.items())[:45])
    assert sorted(len(json.loads(request.body)["tokenAddresses"]) for request in server.asked) == [5, 20, 20]
    for request in server.asked:
        stamp = request.headers["ok-access-timestamp"]
        text = f"{stamp}POST/api/v5/wallet/asset/token-balances-by-address".encode() + request.body
        expected = base64.b64encode(hmac.digest(b"the-secret", text, hashlib.sha256)).decode()
        assert request.headers["ok-access-sign"] == expected
        assert request.headers["ok-access-passphrase"] == "the-key"
        assert request.headers["content-type"] == "application/json"
        assert abs(datetime.fromisoformat(stamp).timestamp() - checkers.reactor.seconds()) < 60
        assert len(stamp) == len("2020-12-08T09:08:57.715Z")


@pytest_twisted.ensureDeferred
async def test_okx_has_to_name_what_it_was_asked_for(checkers: Checkers) -> None:
    """Its default filter hides tokens, so that one which is left out is no balance of zero."""
    checker, server = checkers.one("okx")
    for assets in (
        [],
        [{"tokenAddress": "btc-brc20-ainn", "balance": "1"}],
        [{"tokenAddress": "ordi", "balance": "1"}],
    ):
        server.answer = lambda *_, assets=assets: (200, {"code": "0", "data": [{"tokenAssets": assets}]})  # type: ignore[misc]
        with pytest.raises(CheckerUnavailable):
            await checker.holdings(HOLDER, ("ordi",))
    asset = {"tokenContractAddress": "btc-brc20-ordi", "balance": "7"}
    for code in ("0", 0):
        server.answer = lambda *_, code=code: (200, {"code": code, "data": [{"tokenAssets": [asset]}]})  # type: ignore[misc]
        assert (await checker.holdings(HOLDER, ("ORDI",))).balances == {"ORDI": 7}


@pytest_twisted.ensureDeferred
async def test_best_in_slot_may_ignore_the_ticker_and_list_all(checkers: Checkers) -> None:
    checker, server = checkers.one("bestinslot")
    data = [{"ticker": ticker, "overall_balance": f"{amount}"} for ticker, amount in MANY.items()]
    server.answer = lambda *_: (200, {"data": data, "block_height": HEIGHT})
    assert (await checker.holdings(HOLDER, ("T249", "none"))).balances == {"T249": 250}


@pytest.mark.parametrize("kind", SOURCES)
@pytest_twisted.ensureDeferred
async def test_nothing_that_is_logged_or_told_holds_a_key_or_the_address(checkers: Checkers, kind: str) -> None:
    from twisted.logger import LogEvent, formatEvent, globalLogPublisher

    (checkers.folder / "key").write_text("very-secret-key")
    said: list[str] = []

    def observe(event: LogEvent) -> None:
        said.append(str(formatEvent(event)))

    globalLogPublisher.addObserver(observe)
    try:
        checker, server = checkers.one(kind)
        server.answer = lambda *_: (401, {"error": "bad key very-secret-key"})
        with pytest.raises(CheckerUnavailable) as caught:
            await checker.holdings(HOLDER, ("ordi",))
        server.answer = lambda *_: (200, {"very-secret-key": HOLDER})
        with pytest.raises(CheckerUnavailable):
            await checker.holdings(HOLDER, ("ordi",))
    finally:
        globalLogPublisher.removeObserver(observe)
    told = "\n".join([*said, str(caught.value)])
    assert kind in told and "401" in told
    assert "secret" not in told and HOLDER not in told and server.url not in str(caught.value)
