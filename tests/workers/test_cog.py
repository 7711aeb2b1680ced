"""The adapter `cog` before the real cog server from the package index, with a toy model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from api_rig import Client, eventually, refused, right
from apps_rig import HEAD, Apps, workspace
from cog_server import CogServer
from test_queue_worker import documented, envelope


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CogServer]:
    started = CogServer(tmp_path_factory.mktemp("cog"), Path(__file__).parent / "predict.py")
    try:
        eventually(lambda: started.state() == "READY", "cog is ready", 60)
        yield started
    finally:
        started.stop()


@pytest.fixture
def client(apps: Apps, server: CogServer) -> Client:
    block = documented("shout")
    return apps.start(workspace(HEAD, {8075: server.port}, apps={"shout": "shout"}), apps={"shout": block})


def shout(client: Client, query: str = "", **fields: Any) -> requests.Response:
    return client.ask("POST", f"/user/shout{query}", json=envelope(**fields))


def test_a_prediction(client: Client, server: CogServer) -> None:
    """Sync by default; the fields alone, or in cog's own envelope; the worker's name for it is the task's id."""
    reply = right(shout(client, text="hello"))
    assert reply["status"] == "finished"
    assert (reply["data"]["status"], reply["data"]["output"]) == ("succeeded", "HELLO")
    assert reply["data"]["id"] == reply["taskID"] == server.began()[-1]
    assert right(shout(client, input={"text": "again"}))["data"]["output"] == "AGAIN"


def test_as_a_task(apps: Apps, client: Client) -> None:
    task_id = right(shout(client, "?taskMode=Async", text="later", delay=0.3))["taskID"]
    assert client.ended(task_id)["data"]["output"] == "LATER"
    task_id = apps.client(HEAD).submit("shout", {"text": "mapped"})
    assert client.ended(task_id)["data"]["output"] == "MAPPED"


def test_a_model_that_fails_is_named(client: Client) -> None:
    response = shout(client, text="boom")
    assert "it went boom" in refused(response, 502)
    assert response.json()["msg"].startswith("cog: failed: ")
    assert client.detailed(response.json()["taskID"])["state"] == -1


def test_one_prediction_at_a_time(client: Client, server: CogServer) -> None:
    """cog answers 409 to more; the slot keeps them away."""
    ids = [right(shout(client, "?taskMode=Async", text=f"t{n}", delay=0.2))["taskID"] for n in range(4)]
    assert [client.ended(task_id)["data"]["output"] for task_id in ids] == ["T0", "T1", "T2", "T3"]
    assert server.began()[-4:] == ids, "each exactly once"


def test_a_container_that_somebody_else_keeps_busy_is_asked_again(client: Client, server: CogServer) -> None:
    url = f"http://127.0.0.1:{server.port}/predictions"
    asked = requests.post(
        url, json={"input": {"text": "x", "delay": 1.0}}, headers={"Prefer": "respond-async"}, timeout=5
    )
    assert asked.status_code == 202
    assert right(shout(client, text="mine"))["data"]["output"] == "MINE"


def test_cancelling_ends_the_prediction(apps: Apps, client: Client, server: CogServer) -> None:
    task_id = right(shout(client, "?taskMode=Async", text="never", delay=60))["taskID"]
    eventually(lambda: server.state() == "BUSY", "it runs")
    right(apps.client(HEAD).ask("POST", f"/user/cancelTask?taskID={task_id}"))
    eventually(lambda: server.state() == "READY", "it does not run any more")
    assert client.detailed(task_id)["state"] == 5


def test_leaving_ends_the_prediction(client: Client, server: CogServer) -> None:
    with pytest.raises(requests.Timeout):
        requests.post(f"{client.url}/user/shout", json=envelope(text="never", delay=60), timeout=1.5)
    eventually(lambda: server.state() == "READY", "it does not run any more")


def test_killed_in_the_middle_nobody_knows(apps: Apps, client: Client, server: CogServer) -> None:
    """The result would have come over the connection that is gone, so nothing is asked for, or run, again."""
    task_id = right(shout(client, "?taskMode=Async", text="lost", delay=60))["taskID"]
    eventually(lambda: server.state() == "BUSY", "it runs")
    apps.gateway.kill9()
    apps.gateway.start()
    assert "outcome is unknown" in client.ended(task_id)["msg"]
    eventually(lambda: server.state() == "READY", "cog has ended it")
    time.sleep(0.2)
    assert server.began().count(task_id) == 1


def test_urls_in_the_input_are_looked_at(client: Client) -> None:
    refused(shout(client, text="x", image="http://10.0.0.1/x.png"), 400)
