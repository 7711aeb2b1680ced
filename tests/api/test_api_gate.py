"""The gate: who may submit, by what a Bitcoin address holds, and checkAddress."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from api_rig import HOLDER, NO_HOLDER, PLACEHOLDER, Client, Rig, configuration, refused, rig_of, right, workspace
from scripted_worker import script

GATED, FREE = "367614711220405248", "free"
LITTLE = "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"
MALFORMED = ["nonsense", HOLDER[:-1] + "q", HOLDER[:-1], HOLDER.replace("bc1p", "tb1p"), "é", " ", "x" * 5000]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        content = configuration(
            workspace(GATED, *ports, slots=8, gate="ainn"),
            workspace(FREE, *ports, slots=8),
            apps={"img2img": {"adapter": "passthrough", "workspace": GATED, "mode": "sync"}},
        )
        balances = {HOLDER: {"AINN": "100.9", "ORDI": "3"}, LITTLE: {"ainn": "0.999999999999999999"}}
        content["gates"]["ainn"] |= {"options": {"balances": balances}, "tickers": ["AINN", "ORDI"], "minimum": "1"}
        return content

    with rig_of(tmp_path_factory.mktemp("gate"), 1, make) as one:
        yield one


def submitted(client: Client, form: str, address: str | None) -> requests.Response:
    """A submission that names an address, in one of the forms in which it can."""
    if form == "raw":
        query = {"paramUrl": script(marker="gate")}
        headers = {} if address is None else {"BtcAddress": address.strip().encode()}
        return client.ask("POST", "/user/schedulingTask", params=query, data=b'{"data":"x"}', headers=headers)
    named = {} if address is None else {"address": address}
    if form == "app":
        body = {"data": "x"} if address is None else {"data": "x", "btc_address": address}
        return client.ask("POST", "/user/img2img", json=body)
    return client.send(script(marker="gate"), params={"taskMode": form}, **named)


FORMS = ["Async", "Sync", "raw", "app"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("address", [HOLDER, HOLDER.upper(), f" {HOLDER} ", None, "", PLACEHOLDER])
def test_an_address_that_holds_passes_and_so_does_none(rig: Rig, form: str, address: str | None) -> None:
    assert right(submitted(rig.client(GATED), form, address))["result_code"] == 200


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("address", [NO_HOLDER, LITTLE])
def test_an_address_that_holds_too_little_is_forbidden(rig: Rig, form: str, address: str) -> None:
    client = rig.client(GATED)
    before, calls = client.listed(), len(rig.worker.calls)
    assert "AINN" in refused(submitted(client, form, address), 403)
    assert client.listed() == before
    assert len(rig.worker.calls) == calls


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("address", [text for text in MALFORMED if text.strip()])
def test_a_malformed_address_is_refused(rig: Rig, form: str, address: str) -> None:
    client = rig.client(GATED)
    before = client.listed()
    refused(submitted(client, form, address), 400)
    assert client.listed() == before


def test_a_workspace_without_a_gate_asks_nobody(rig: Rig) -> None:
    client = rig.client(FREE)
    for address in (NO_HOLDER, "nonsense", HOLDER):
        task_id = right(submitted(client, "Async", address))["taskID"]
        assert client.detailed(task_id)["btcaddress"] == address


@pytest.mark.parametrize("path", ["/brc20/checkAddress?", "/brc20/checkAddress&", "/user/brc20/checkAddress?"])
def test_check_address_tells_what_is_held(rig: Rig, path: str) -> None:
    """Whole numbers, rounded down, one for each name."""
    reply = right(rig.client().ask("GET", f"{path}address={HOLDER}"))
    assert reply["exists"] is True
    assert sorted(zip(reply["names"], reply["balances"], strict=True)) == [("AINN", 100), ("ORDI", 3)]
    assert all(type(balance) is int for balance in reply["balances"])


def test_check_address_of_one_that_holds_nothing(rig: Rig) -> None:
    reply = right(rig.client().ask("GET", f"/brc20/checkAddress?address={NO_HOLDER}"))
    assert reply["exists"] is False and reply["names"] == [] and reply["balances"] == []


def test_check_address_of_less_than_one(rig: Rig) -> None:
    reply = right(rig.client().ask("GET", f"/brc20/checkAddress?address={LITTLE}"))
    assert reply["exists"] is True and reply["names"] == ["AINN"] and reply["balances"] == [0]


@pytest.mark.parametrize("address", [*MALFORMED, "", PLACEHOLDER, None])
def test_check_address_refuses_what_is_no_address(rig: Rig, address: str | None) -> None:
    response = rig.client().ask("GET", "/brc20/checkAddress", params={"address": address})
    assert "exists" not in response.json()
    refused(response, 400)


def test_check_address_takes_no_wrong_credential(rig: Rig) -> None:
    refused(rig.client("wrong").ask("GET", f"/brc20/checkAddress?address={HOLDER}"), 401)
    assert right(rig.client(GATED).ask("GET", f"/brc20/checkAddress?address={HOLDER}"))["exists"] is True


def test_without_a_gate_nobody_can_tell_and_nonsense_is_nonsense(tmp_path: Path) -> None:
    with rig_of(tmp_path, 1, lambda ports: {**configuration(workspace(FREE, *ports)), "gates": {}}) as rig:
        for client in (rig.client(), rig.client(FREE)):
            refused(client.ask("GET", f"/brc20/checkAddress?address={HOLDER}"), 503)
            assert "not a Bitcoin address" in refused(client.ask("GET", "/brc20/checkAddress?address=nonsense"), 400)
