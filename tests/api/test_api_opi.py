"""checkAddress and the gate over a real gateway whose checker asks an OPI on a socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from api_rig import HOLDER, NO_HOLDER, Rig, configuration, eventually, refused, rig_of, right, workspace
from scripted_worker import script

GATED = "367614711220405248"
LITTLE = "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"
HELD = {(HOLDER, "ainn"): 100_900_000_000_000_000_000, (HOLDER, "ordi"): 3 * 10**18, (LITTLE, "ainn"): 10**18 - 1}


class Opi(ThreadingHTTPServer):
    """An OPI of a few balances, which can be broken."""

    broken = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Calls)
        self.asked: list[tuple[str, str]] = []


class _Calls(BaseHTTPRequestHandler):
    server: Opi
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        key = query["address"][0], query["ticker"][0]
        self.server.asked.append(key)
        status, body = 400, {"error": "no balance found", "result": None}
        if self.server.broken:
            status, body = 500, {"error": "internal", "result": None}
        elif key in HELD:
            result = {"overall_balance": str(HELD[key]), "available_balance": "0", "block_height": 880_000}
            status, body = 200, {"error": None, "result": result}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def opi() -> Iterator[Opi]:
    server = Opi()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, opi: Opi) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        content = configuration(workspace(GATED, *ports, slots=8, gate="ainn"))
        content["gates"]["ainn"] = {
            "checker": "opi",
            "options": {
                "url": f"http://127.0.0.1:{opi.server_address[1]}",
                "breaker": {"failures": 2, "rest": "300ms"},
            },
            "tickers": ["AINN", "ORDI"],
            "minimum": "1",
            "cache": "100ms",
        }
        return content

    with rig_of(tmp_path_factory.mktemp("opi"), 1, make) as one:
        yield one


def test_check_address_tells_what_the_indexer_knows(rig: Rig, opi: Opi) -> None:
    client = rig.client()
    reply = right(client.ask("GET", f"/brc20/checkAddress?address={HOLDER.upper()}"))
    assert (reply["exists"], reply["names"], reply["balances"]) == (True, ["AINN", "ORDI"], [100, 3])
    assert sorted(opi.asked) == [(HOLDER, "ainn"), (HOLDER, "ordi")]
    reply = right(client.ask("GET", f"/user/brc20/checkAddress?address={NO_HOLDER}"))
    assert (reply["exists"], reply["names"], reply["balances"]) == (False, [], [])
    reply = right(client.ask("GET", f"/brc20/checkAddress&address={LITTLE}"))
    assert (reply["exists"], reply["names"], reply["balances"]) == (True, ["AINN"], [0])
    assert "exists" not in client.ask("GET", "/brc20/checkAddress?address=nonsense").json()


def test_the_gate_lets_through_who_holds_enough(rig: Rig) -> None:
    client = rig.client(GATED)
    right(client.send(script(marker="opi"), params={"taskMode": "Sync"}, address=HOLDER))
    for address in (NO_HOLDER, LITTLE):
        assert "1 AINN or ORDI" in refused(client.send(script(marker="opi"), address=address), 403)


def test_an_indexer_in_trouble_is_503_until_it_has_come_back(rig: Rig, opi: Opi) -> None:
    """Never a guessed `exists`; what was remembered has run out by then."""
    client = rig.client(GATED)
    opi.broken = True
    try:
        eventually(lambda: client.ask("GET", f"/brc20/checkAddress?address={HOLDER}").status_code == 503, "a 503")
        reply = client.ask("GET", f"/brc20/checkAddress?address={HOLDER}")
        refused(reply, 503)
        assert "exists" not in reply.json() and int(reply.headers["Retry-After"]) >= 1
        assert "127.0.0.1" not in reply.text
        refused(client.send(script(marker="opi"), address=HOLDER), 503)
    finally:
        opi.broken = False
    back = eventually(
        lambda: (reply := client.ask("GET", f"/brc20/checkAddress?address={HOLDER}")).status_code == 200 and reply,
        "a 200",
    )
    assert right(back)["exists"] is True
