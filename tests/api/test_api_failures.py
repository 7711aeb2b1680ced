"""Calls that fail at the worker: what a client that waits is told, and what a poller is told (wire contract §1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from api_rig import Client, Rig, configuration, eventually, refused, rig_of, right, workspace
from processes import find_free_port
from scripted_worker import script

ID, NOBODY, SMALL = "367614711220405248", "nobody", "small"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(
            workspace(ID, *ports, slots=8, timeout="3s"),
            workspace(NOBODY, find_free_port(), slots=8, timeout="1500ms"),
            workspace(SMALL, *ports, slots=8, result_limit="1KiB"),
        )

    with rig_of(tmp_path_factory.mktemp("failures"), 1, make) as one:
        yield one


@pytest.fixture
def client(rig: Rig) -> Client:
    """Of a workspace whose replica has just answered: failures in a row would rest it."""
    client = rig.client(ID)
    right(sync(client, script()))
    return client


def sync(client: Client, url: str, data: Any = "x") -> Any:
    return client.send(url, data, params={"taskMode": "Sync"})


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 429, 500, 503, 599])
def test_a_workers_error_keeps_its_status_and_body(client: Client, status: int) -> None:
    """The client that waits gets them at once; `data` mirrors the form that was sent."""
    detail = b'{"detail":  "said by the worker"}'
    reply = sync(client, script(status=status, body=detail))
    refused(reply, status)
    assert reply.json()["data"] == detail.decode()
    assert client.query(reply.json()["taskID"])["status"] == "failed"
    assert sync(client, script(status=status, body=detail), {}).json()["data"] == json.loads(detail)


def test_json_that_is_nested_too_deep_comes_as_text(client: Client) -> None:
    """As part of our reply it would be too deep for the client's parser, and the task's id would be lost with it."""
    for depth, kind in ((199, list), (201, str), (2000, str)):
        deep = b"[" * depth + b"]" * depth
        reply = right(sync(client, script(body=deep), {}))
        assert type(reply["data"]) is kind and reply["status"] == "finished"
        again = client.query(reply["taskID"])["data"]
        assert again == reply["data"] and (kind is list or again == deep.decode())


def test_a_redirect_is_neither_followed_nor_passed_on(client: Client, rig: Rig) -> None:
    for target in (f"{rig.gateway.admin}/metrics", f"http://127.0.0.1:{rig.worker.port}/fetched"):
        reply = sync(client, script(status=302, location=target, body=b"over there"))
        assert "redirect" in refused(reply, 502)
        assert "Location" not in reply.headers
    assert all(call.path != "/fetched" for call in rig.worker.calls)


def test_a_workers_own_code_is_not_ours(client: Client) -> None:
    """A queue worker says 200 for an error, inside HTTP 200: that is passed through unread."""
    reply = right(sync(client, script(body=b'{"result_code": 200, "msg": "bad"}'), {}))
    assert reply["result_code"] == 200 and reply["data"] == {"result_code": 200, "msg": "bad"}


def test_a_worker_that_refuses_connections_is_503_with_its_reason(rig: Rig) -> None:
    reply = sync(rig.client(NOBODY), script())
    refused(reply, 503)
    assert int(reply.headers["Retry-After"]) > 0


@pytest.mark.parametrize("cut", ["reset", "close", "head", "middle"])
@pytest.mark.parametrize("data", ["x", {}])
def test_a_cut_connection_is_502_with_nothing_of_the_reply(client: Client, cut: str, data: Any) -> None:
    reply = sync(client, script(cut=cut, size=100_000), data)
    refused(reply, 502)
    assert "data" not in reply.json()


def test_a_worker_that_takes_too_long_is_504(client: Client, rig: Rig) -> None:
    refused(sync(client, script(delay=30, marker="slow")), 504)
    eventually(lambda: "slow" in rig.worker.markers("cut"), "the worker's call is ended")


def test_a_reply_over_the_limit_is_502(rig: Rig) -> None:
    assert len(right(sync(rig.client(SMALL), script(size=1024)))["data"]) == 1024
    assert "1024" in refused(sync(rig.client(SMALL), script(size=1025)), 502)


FAILURES = [
    ("status=500", {"status": 500, "body": b"trouble"}, 500, 500),
    ("status=422", {"status": 422, "body": b"{}"}, 422, 422),
    ("redirect", {"status": 302, "location": "/x"}, 502, 302),
    ("cut", {"cut": "close"}, 502, 0),
    ("middle", {"cut": "middle", "size": 600_000}, 502, 0),
    ("timeout", {"delay": 30}, 504, 0),
]


@pytest.mark.parametrize("form", ["string", "object", "raw"])
@pytest.mark.parametrize("orders, code, worker_status", [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])
def test_asking_about_a_failed_task_succeeds(
    client: Client, form: str, orders: dict[str, Any], code: int, worker_status: int
) -> None:
    """HTTP 200, a code that is not 200 at the top and again inside `data`, which mirrors what was sent."""
    params = {"paramUrl": script(**orders)}
    if form == "raw":
        submitted = client.ask("POST", "/user/schedulingTask", params=params, data=b"x", headers={"BtcAddress": ""})
    else:
        submitted = client.send(script(**orders), {} if form == "object" else "text")
    reply = client.ended(right(submitted)["taskID"])
    assert reply["result_code"] == code and type(reply["result_code"]) is int
    assert reply["msg"] and reply["status"] == "failed" and reply["result_size"] >= 1
    assert type(reply["task_dursion"]) is int
    assert isinstance(reply["data"], dict if form == "object" else str)
    inside = reply["data"] if form == "object" else json.loads(reply["data"])
    assert inside["result_code"] == code and inside["msg"] == reply["msg"]
    assert inside["result_code"] < 0 or inside["result_code"] > 102
    assert inside["worker_status"] == worker_status


def test_the_record_of_a_failed_task_keeps_what_the_worker_said(client: Client) -> None:
    task_id = client.submit(script(status=500, body=b"Traceback"))
    client.ended(task_id)
    record = client.detailed(task_id)
    assert record["state"] == -1 and record["response"] == "Traceback"
    assert "500" in record["reason"]


def test_nothing_of_a_cut_reply_is_taken_for_a_result(client: Client) -> None:
    task_id = client.submit(script(cut="middle", size=900_000))
    client.ended(task_id)
    assert client.detailed(task_id)["response"] == ""


def test_a_task_for_workers_that_are_down_waits(rig: Rig) -> None:
    """It does not fail: it stays queued, without a guess at how long."""
    client = rig.client(NOBODY)
    task_id = client.submit(script())
    reply = client.query(task_id)
    assert reply["status"] == "queued" and reply["queue_position"] == 1 and reply["wait_estimate"] is None
