"""Events, the live stream and the series, as docs/openapi-admin.yaml tells of them, at a real gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from asking_admin import Admin
from described import Described
from live_stream import Live
from processes import ROOT, running
from scripted_worker import ScriptedWorker, script

from ngpu.http.admin import API
from ngpu.http.admin_live import MOST
from ngpu.journal import KINDS

ID, NODE = "367614711220405248", "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
EVENTS, SERIES, LIVE, ALL, ONE = (
    f"{API}/{path}" for path in ("events", "series", "live", "workspaces", "workspaces/{workspace}")
)


@pytest.fixture(scope="module")
def worker() -> Iterator[ScriptedWorker]:
    worker = ScriptedWorker().start()
    yield worker
    worker.stop()


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory, worker: ScriptedWorker) -> Iterator[Admin]:
    configuration = {
        "nodes": [{"address": NODE, "host": "127.0.0.1"}],
        "workspaces": [block(ID, worker.port, name="drawing")],
    }
    with running(tmp_path_factory.mktemp("admin")) as processes:
        described = Described(ROOT / "docs/openapi-admin.yaml")
        yield Admin(processes.start_gateway(configuration), described)


def block(id: str, port: int, **keys: Any) -> dict[str, Any]:
    health = {"interval": "200ms", "timeout": "2s"}
    return {
        "id": id,
        "ports": {"8080": 7860},
        "upstream": [{"node": NODE, "ports": {"8080": port}}],
        "health": health,
    } | keys


def events(admin: Admin, query: str = "") -> list[dict[str, Any]]:
    return list(admin.ask("GET", EVENTS, 200, params=query)["events"])


def live(admin: Admin, after: str = "", **headers: str) -> Live:
    return Live(admin.gateway.admin, admin.token, after, **headers)


def eventually(admin: Admin, query: str) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 15
    while not (found := events(admin, query)):
        assert time.monotonic() < deadline, f"no {query}"
        time.sleep(0.02)
    return found


def send(admin: Admin, task: str) -> requests.Response:
    return requests.post(
        f"{admin.gateway.url}/user/schedulingTask",
        params={"paramUrl": task, "taskMode": "Sync"},
        json={"data": "x"},
        headers={"Authorization": ID},
        timeout=30,
    )


def test_the_kinds_are_those_that_there_are(admin: Admin) -> None:
    assert admin.described.document["components"]["schemas"]["EventKind"]["enum"] == list(KINDS)


def test_a_start_and_a_replica_that_comes_up(admin: Admin) -> None:
    (started,) = eventually(admin, "kind=gateway_started")
    assert started["severity"] == "info" and ":" in started["gateway"] and abs(started["time"] - time.time()) < 60
    (up,) = eventually(admin, f"kind=replica_up&workspace={ID}&node={NODE.lower()[2:]}")
    assert (up["workspace"], up["node"], up["count"]) == (ID, NODE, 1)
    assert up["workspace_label"].startswith("drawing-") and ID not in up["message"]


def test_the_life_of_a_workspace_is_told_and_paged(admin: Admin) -> None:
    last = admin.ask("GET", EVENTS, 200)["last"]
    admin.ask("POST", ALL, 201, json=block("w1", 1))
    admin.ask("PUT", ONE, 200, "w1", json=block("w1", 1, name="n"))
    admin.ask("DELETE", ONE, 200, "w1")
    later = admin.ask("GET", EVENTS, 200, params={"after": last})
    told = [each["kind"] for each in later["events"] if each["kind"].startswith("workspace_")]
    assert told == ["workspace_made", "workspace_changed", "workspace_deleted"]
    paged, at = [], last
    while page := admin.ask("GET", EVENTS, 200, params={"after": at, "limit": 1})["events"]:
        paged, at = paged + page, page[-1]["id"]
        assert len(page) == 1
    assert paged[: len(later["events"])] == later["events"]
    newest = events(admin, "limit=2")
    assert [each["id"] for each in newest] == sorted(each["id"] for each in newest) and len(newest) == 2


def test_tasks_that_fail_are_told_of_as_one(admin: Admin) -> None:
    for _ in range(5):
        assert send(admin, script(status=500, body=b"broken")).status_code >= 500
    failed = eventually(admin, "kind=task_failed&severity=warning")
    assert failed[0]["workspace"] == ID and failed[0]["task"] and failed[0]["node"] == NODE
    assert len(failed) == 1, "the others are counted, and told of with the next"
    assert not events(admin, "kind=task_failed&severity=error")


@pytest.mark.parametrize(
    "query",
    [
        "after=x",
        "after=-1",
        "after=99999999999999999",
        "limit=0",
        "limit=2001",
        "kind=x",
        "severity=bad",
        "after=1&after=2",
    ],
)
def test_what_cannot_be_asked(admin: Admin, query: str) -> None:
    admin.ask("GET", EVENTS, 400, params=query)


def test_a_stream_tells_the_state_at_once_and_what_changes(admin: Admin, worker: ScriptedWorker) -> None:
    with live(admin) as stream:
        assert stream.reply.headers["Content-Type"] == "text/event-stream"
        state = stream.state()
        admin.described.validate_as(state, "State")
        assert state["workspaces"] == admin.ask("GET", ALL, 200)["workspaces"]
        assert state["nodes"] == admin.ask("GET", f"{API}/nodes", 200)["nodes"]
        admin.ask("POST", ALL, 201, json=block("w2", 1, name="later"))
        made = stream.event("workspace_made")
        admin.described.validate_as(made, "Event")
        assert made["id"] == stream.ids[-1]
        while "w2" not in [each["id"] for each in stream.state()["workspaces"]]:
            pass
        admin.ask("DELETE", ONE, 200, "w2")
        assert stream.event("workspace_deleted")["id"] == stream.ids[-1]
    for after, header in (("", {"Last-Event-ID": str(made["id"])}), (f"?after={made['id']}", {})):
        with live(admin, after, **header) as again:
            again.event("workspace_deleted")
            assert made["id"] not in again.ids
    admin.ask("GET", LIVE, 400, params="after=x")
    admin.ask("GET", LIVE, 400, headers={"Last-Event-ID": "x"})


def test_streams_are_bounded_and_what_is_closed_counts_no_more(admin: Admin) -> None:
    streams = [live(admin) for _ in range(MOST)]
    try:
        assert all(stream.reply.status_code == 200 for stream in streams)
        assert admin.ask("GET", LIVE, 503)["msg"]
    finally:
        for stream in streams:
            stream.__exit__(None, None, None)
    deadline = time.monotonic() + 15
    while True:
        with live(admin) as stream:
            if stream.reply.status_code == 200:
                break
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_series(admin: Admin) -> None:
    reply = admin.ask("GET", SERIES, 200, params={"workspace": ID, "window": "1m"})
    found = reply["points"]
    assert len(found) == 6 and reply["step"] == 10
    assert found[-1]["time"] - found[0]["time"] == 50
    assert len(admin.ask("GET", SERIES, 200, params={"workspace": ID})["points"]) == 360
    admin.ask("GET", SERIES, 404, params={"workspace": "nobody"})
    for query in ("", f"workspace={ID}&window=7h", f"workspace={ID}&window=1s", f"workspace={ID}&window=x"):
        admin.ask("GET", SERIES, 400, params=query)


def test_a_gateway_that_stops_ends_the_streams_at_once(admin: Admin) -> None:
    """The last test of the module: it ends the gateway."""
    with live(admin) as stream:
        stream.state()
        began = time.monotonic()
        admin.gateway.stop()
        with pytest.raises((EOFError, requests.RequestException)):
            while True:
                stream.next()
        assert time.monotonic() - began < 10
