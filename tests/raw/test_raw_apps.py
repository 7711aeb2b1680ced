"""Apps with clients of their own, through the gateway: gradio, and models in cog containers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from cog_server import CogServer
from gradio_client import Client
from gradio_client.exceptions import AuthenticationError
from gradio_client.utils import Status
from httpx_sse import connect_sse
from processes import Gateway, running
from raw_rig import ID, OTHER, configuration, eventually, workspace
from toy_gradio import ToyGradio

COG, GRADIO = {"Authorization": f"Bearer {ID}"}, {"Authorization": f"Bearer {OTHER}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CogServer]:
    started = CogServer(tmp_path_factory.mktemp("cog"), Path(__file__).parent / "spelling.py", ("text", "receipts"))
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def app() -> Iterator[ToyGradio]:
    with ToyGradio() as started:
        yield started


@pytest.fixture(scope="module")
def gateway(server: CogServer, app: ToyGradio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    def health(path: str) -> dict[str, str]:
        return {"path": path, "interval": "200ms", "timeout": "2s"}

    blocks = [
        workspace(ID, server.port, health=health("/health-check")),
        workspace(OTHER, app.port, health=health("/config")),
    ]
    with running(tmp_path_factory.mktemp("apps")) as processes:
        started = processes.start_gateway(configuration(*blocks))
        url = f"{started.url}/proxy/health-check"

        def is_ready() -> bool:
            reply = requests.get(url, headers=COG, timeout=5)
            return reply.ok and reply.json()["status"] == "READY"

        eventually(is_ready, "cog is ready", 60)
        yield started


# ---- gradio


@pytest.fixture
def client(gateway: Gateway, app: ToyGradio) -> Iterator[Client]:
    app.receipts.forget()
    app.cancelled.clear()
    one = Client(f"{gateway.url}/proxy/8080/", headers=GRADIO, verbose=False, analytics_enabled=False)
    yield one
    one.close()


def test_gradio_calls(client: Client) -> None:
    assert client.predict("hello", api_name="/shout") == "HELLO"
    assert client.predict(text="again", api_name="/shout") == "AGAIN"


def test_gradio_streams_what_an_app_gives(client: Client, app: ToyGradio) -> None:
    got = []
    for text in (job := client.submit("abc", api_name="/spell")):
        got.append(text)
        app.receipts.give()
    assert got == ["a", "ab", "abc"] and job.result() == "abc"


def test_gradio_waits_in_the_queue_of_an_app(client: Client, app: ToyGradio) -> None:
    first = client.submit("ab", api_name="/spell")
    eventually(lambda: first.outputs() == ["a"], "it has begun")
    second = client.submit("later", api_name="/shout")
    eventually(lambda: second.status().code is Status.IN_QUEUE, "it is told that it waits")
    assert second.status().rank == 1 and not second.done()
    for _ in "ab":
        app.receipts.give()
    assert (first.result(20), second.result(20)) == ("ab", "LATER")


def test_gradio_cancels(client: Client, app: ToyGradio) -> None:
    job = client.submit("abc", api_name="/spell")
    eventually(lambda: job.outputs() == ["a"], "it has begun")
    job.cancel()
    assert app.cancelled.wait(20)


def test_gradio_is_told_what_is_wrong(gateway: Gateway) -> None:
    with pytest.raises(AuthenticationError, match="credentials"):
        Client(f"{gateway.url}/proxy/", headers={"Authorization": "Bearer nobody"}, verbose=False)


# ---- cog


@pytest.fixture
def spell(gateway: Gateway, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """The body of a prediction; letters are received by files in the test's folder."""
    return lambda text: {"input": {"text": text, "receipts": str(tmp_path)}}


def test_cog_predicts(gateway: Gateway, spell: Callable[[str], dict[str, Any]], tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / str(number)).touch()
    reply = requests.put(f"{gateway.url}/proxy/predictions/mine", json=spell("abc"), headers=COG, timeout=30)
    assert (reply.status_code, reply.headers["Ngpu-Status"]) == (200, "worker")
    assert (reply.json()["id"], reply.json()["output"]) == ("mine", ["a", "b", "c"])
    assert requests.get(f"{gateway.url}/proxy/predictions/nobody", headers=COG, timeout=30).status_code == 405


def test_cog_streams_letter_by_letter(gateway: Gateway, spell: Callable[[str], dict[str, Any]], tmp_path: Path) -> None:
    got = []
    with (
        httpx.Client(headers=COG) as session,
        connect_sse(session, "POST", f"{gateway.url}/proxy/predictions", json=spell("abc")) as source,
    ):
        for event in source.iter_sse():
            got.append((event.event, event.json().get("chunk")))
            if event.event == "output":
                (tmp_path / str(event.json()["index"])).touch()
    assert got == [("start", None), ("output", "a"), ("output", "b"), ("output", "c"), ("completed", None)]


def test_cog_cancels(gateway: Gateway, server: CogServer, spell: Callable[[str], dict[str, Any]]) -> None:
    url, headers = f"{gateway.url}/proxy/predictions", {**COG, "Prefer": "respond-async"}
    asked = requests.put(f"{url}/given-up", json=spell("never"), headers=headers, timeout=30)
    assert asked.status_code == 202
    eventually(lambda: server.state() == "BUSY", "it runs")
    assert requests.post(f"{url}/given-up/cancel", headers=COG, timeout=30).status_code == 200
    eventually(lambda: server.state() == "READY", "it does not run any more")


def test_leaving_ends_a_prediction_of_cog(
    gateway: Gateway, server: CogServer, spell: Callable[[str], dict[str, Any]]
) -> None:
    with pytest.raises(requests.Timeout):
        requests.post(f"{gateway.url}/proxy/predictions", json=spell("never"), headers=COG, timeout=0.7)
    began = time.monotonic()
    eventually(lambda: server.state() == "READY", "it does not run any more")
    assert time.monotonic() - began < 5
