"""Submitting work, as published clients do (wire contract §1 to §3): what they send, what they and the worker get."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from api_rig import PLACEHOLDER, PORT, Client, Rig, configuration, eventually, refused, rig_of, right, workspace
from scripted_worker import Call, script

ID = "367614711220405248"
OTHER_PORT = 8075
UNESCAPED = '{"prompt":"a "quoted" cat\\", 猫}'


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        main, other = ports
        taken = {"taken": "later", "/taken/too": "later"}
        both = workspace(ID, main, path="by/default?marker=default", slots=8, apps=taken)
        both["ports"] = {PORT: 7860, OTHER_PORT: 4040}
        both["upstream"][0]["ports"] = {PORT: main, OTHER_PORT: other}
        patient = workspace("patient", main, inline_wait="20s", slots=8, path="act")
        busy = workspace("busy", main, slots=1)
        passing = {"adapter": "passthrough", "workspace": ID}
        apps = {
            "img2img": {**passing, "path": "sdapi/v1/img2img", "port": PORT, "mode": "sync"},
            "later": {**passing, "path": "on/another", "port": OTHER_PORT, "mode": "async"},
            "getImage": {"query": True},
        }
        return configuration(both, patient, busy, apps=apps)

    with rig_of(tmp_path_factory.mktemp("submitting"), 2, make) as one:
        yield one


@pytest.fixture
def client(rig: Rig) -> Client:
    return rig.client(f"Bearer {ID}")


def echo(reply: dict[str, Any]) -> dict[str, Any]:
    """What the worker says it got, from a reply whose data is a string."""
    said: dict[str, Any] = json.loads(reply["data"])
    return said


def sync(client: Client, url: str, data: Any = "x", **more: Any) -> dict[str, Any]:
    return right(client.send(url, data, params={"taskMode": "Sync", **more.pop("params", {})}, **more))


def test_a_submission_answers_at_once_with_the_id_in_three_spellings(client: Client) -> None:
    reply = right(client.send(script(delay=0.3)))
    assert reply["result_code"] == 200 and type(reply["result_code"]) is int
    assert isinstance(reply["msg"], str)
    assert reply["taskID"] == reply["taskId"] == reply["task_id"]
    assert reply["status"] == "queued" and reply["result_size"] == 0
    assert client.ended(reply["task_id"])["result_code"] == 200


def test_ids_tell_the_time_and_cannot_be_guessed(client: Client) -> None:
    ids = [client.submit(script()) for _ in range(3)]
    shapes = [re.fullmatch(r"(\d{8}_\d\d_\d\d_\d\d)_\d{6}(\d+)", task_id) for task_id in ids]
    for shape in shapes:
        assert shape is not None
        taken = time.mktime(time.strptime(shape[1] + "UTC", "%Y%m%d_%H_%M_%S%Z")) - time.timezone
        assert abs(time.time() - taken) < 60
        assert 10 ** len(shape[2]) >= 2**64, "at least 64 random bits"
    assert len({shape[2][:4] for shape in shapes if shape}) > 1


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "Bearer ngpu_{}", "bearer ngpu_{}", "ngpu_{}", "{}"])
def test_every_published_form_of_the_credential_opens(rig: Rig, form: str) -> None:
    assert right(rig.client(form.format(ID)).send(script()))["result_code"] == 200


@pytest.mark.parametrize("address", ["/user/schedulingTask?{}", "/user/schedulingTask&{}"])
def test_both_spellings_of_a_submissions_address(client: Client, rig: Rig, address: str) -> None:
    query = address.format(f"paramUrl=spelled%3Fmarker%3Dspelled{len(address)}&paramPort={PORT}&taskMode=Sync")
    assert echo(right(client.ask("POST", query, json={"data": "x"})))["target"].startswith("/spelled?")


@pytest.mark.parametrize(
    "address", ["/user/queryTask?taskID={}", "/user/queryTask&taskID={}", "/user/getImage?taskID={}"]
)
def test_every_address_of_a_query(client: Client, rig: Rig, address: str) -> None:
    """The document's spelling, the right one, and an app's alias; polls come without a credential."""
    task_id = client.submit(script())
    client.ended(task_id)
    reply = right(rig.client().ask("GET", address.format(task_id)))
    assert reply["taskID"] == reply["taskId"] == task_id
    assert reply["result_code"] == 200 and reply["status"] == "finished"
    assert reply["result_size"] >= 1 and type(reply["result_size"]) is int
    assert type(reply["task_dursion"]) is int


@pytest.mark.parametrize("name", ["taskID", "taskId", "task_id"])
def test_a_query_takes_each_spelling_of_the_id(client: Client, name: str) -> None:
    task_id = client.submit(script())
    assert client.get("/user/queryTask", **{name: task_id})["taskID"] == task_id


@pytest.mark.parametrize(
    "text", ["plain text", UNESCAPED, '{"a": 1.10, "b":  "\\u00e9"}', "", "\x00\x1f é 猫 😀", "x" * 700_000]
)
def test_a_string_reaches_the_worker_byte_for_byte(client: Client, rig: Rig, text: str) -> None:
    """Also one that is no JSON, which a published client builds; and always as application/json."""
    marker = f"bytes{hash(text)}"
    reply = sync(client, script(marker=marker), text, headers={"Content-Type": "text/plain"})
    call = rig.worker.call(marker)
    assert bytes(call.body).decode() == text
    assert call.header("content-type") == "application/json"
    assert isinstance(reply["data"], str)


def test_an_object_reaches_the_worker_as_it_was_spelled(client: Client, rig: Rig) -> None:
    data = b'{ "number": 1.10, "large": 12345678901234567890, "text":"\\u00e9\\/" }'
    body = b'{"btc_address": "", "data": %s}' % data
    query = {"paramUrl": script(marker="object"), "taskMode": "Sync"}
    reply = right(client.ask("POST", "/user/schedulingTask", params=query, data=body))
    call = rig.worker.call("object")
    assert bytes(call.body) == data
    assert call.header("content-type") == "application/json"
    assert reply["data"]["method"] == "POST", "an object in, an object out"


@pytest.mark.parametrize("sent, arrives", [(None, "application/json"), ("image/png", "image/png")])
def test_a_raw_body_keeps_its_type(client: Client, rig: Rig, sent: str | None, arrives: str) -> None:
    body, marker = bytes(range(256)), f"raw-{sent}"
    headers = {"BtcAddress": "", **({} if sent is None else {"Content-Type": sent})}
    query = {"paramUrl": script(marker=marker), "taskMode": "Sync"}
    reply = right(client.ask("POST", "/user/schedulingTask", params=query, data=body, headers=headers))
    call = rig.worker.call(marker)
    assert bytes(call.body) == body
    assert call.header("content-type") == arrives
    assert isinstance(reply["data"], str)


def test_a_raw_body_is_passed_on_encoded_as_it_is(client: Client, rig: Rig) -> None:
    body = gzip.compress(b"a" * 100_000)
    headers = {"BtcAddress": PLACEHOLDER, "Content-Type": "text/plain", "Content-Encoding": "gzip"}
    query = {"paramUrl": script(marker="gzip"), "taskMode": "Sync"}
    right(client.ask("POST", "/user/schedulingTask", params=query, data=body, headers=headers))
    call = rig.worker.call("gzip")
    assert bytes(call.body) == body
    assert call.header("content-encoding") == "gzip"


def test_nothing_of_the_clients_own_reaches_the_worker(client: Client, rig: Rig) -> None:
    """No credential, no cookie, no address of the client, and one framing of the body."""
    headers = {"Cookie": "a=b", "X-Forwarded-For": "1.2.3.4", "Connection": "X-Mine", "X-Mine": "1"}
    sync(client, script(marker="own"), headers=headers)
    names = {name.lower() for name, _ in rig.worker.call("own").headers}
    assert names <= {"host", "content-length", "content-type", "accept", "accept-encoding", "user-agent", "connection"}


MIRRORED = [
    ("string", b'{"a":  [1, 2.50]}', '{"a":  [1, 2.50]}'),
    ("string", "no JSON: 猫".encode(), "no JSON: 猫"),
    ("string", b"", ""),
    ("object", b'{"a":  [1, 2.50]}', {"a": [1, 2.5]}),
    ("object", b"[1]", [1]),
    ("object", b"no JSON", "no JSON"),
    ("raw", b'{"a":  [1, 2.50]}', '{"a":  [1, 2.50]}'),
]


@pytest.mark.parametrize("mode", ["Sync", "Async"])
@pytest.mark.parametrize("form, body, expected", MIRRORED)
def test_data_comes_back_in_the_form_in_which_it_went(
    client: Client, mode: str, form: str, body: bytes, expected: Any
) -> None:
    reply = right(submitted(client, form, script(body=body), mode))
    if mode == "Async":
        reply = client.ended(reply["task_id"])
    assert reply["data"] == expected
    assert "data_encoding" not in reply
    assert reply["result_size"] == 1


@pytest.mark.parametrize("form", ["string", "object", "raw"])
@pytest.mark.parametrize("mode", ["Sync", "Async"])
def test_a_result_that_is_no_text_comes_in_base64(client: Client, mode: str, form: str) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3
    reply = right(submitted(client, form, script(body=picture, type="image/png"), mode))
    if mode == "Async":
        reply = client.ended(reply["task_id"])
    assert reply["data_encoding"] == "base64"
    assert base64.b64decode(reply["data"], validate=True) == picture


def submitted(client: Client, form: str, url: str, mode: str) -> requests.Response:
    query = {"paramUrl": url, "taskMode": mode}
    if form == "raw":
        return client.ask("POST", "/user/schedulingTask", params=query, data=b"\xff", headers={"BtcAddress": ""})
    return client.send(url, {"an": "object"} if form == "object" else "text", params=query)


def test_without_parameters_the_workspaces_path_and_first_port_serve(client: Client, rig: Rig) -> None:
    client.ended(client.submit())
    assert rig.worker.call("default").target == "/by/default?marker=default"


def test_param_port_is_a_declared_port(client: Client, rig: Rig) -> None:
    sync(client, script(marker="elsewhere"), params={"paramPort": OTHER_PORT})
    assert rig.workers[1].call("elsewhere").method == "POST"
    assert "elsewhere" not in rig.worker.markers()


@pytest.mark.parametrize("port", ["7860", "0", "99999", "-1", "80a", "٣", "8080.0", "99999999999999999999"])
def test_a_port_that_is_not_declared_is_refused(client: Client, port: str) -> None:
    before = client.listed()
    refused(client.send(script(), params={"paramPort": port}), 400)
    assert client.listed() == before


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "https:/x",
        "//127.0.0.1/x",
        "/%2f/evil",
        "file:///etc/passwd",
        "a/../../b",
        "a/%2e%2e/b",
        "a/%252e%252e/b",
        "..",
        "a\\b",
        "a%5cb",
        "a/..;/b",
        "a\r\nHost: evil",
        "a%0d%0aHost:%20evil",
        "a%00b",
        "a#b",
        "a%zz",
        "x" * 9000,
    ],
)
def test_a_param_url_that_is_no_path_is_refused(client: Client, url: str) -> None:
    before = client.listed()
    response = client.send(url)
    refused(response, 414 if len(url) > 8000 else 400)
    assert client.listed() == before


def test_a_path_goes_out_with_its_query_and_escapes(client: Client, rig: Rig) -> None:
    told = echo(sync(client, "v1/a%20b/猫?x=1&y=%26&marker=escapes"))
    assert told["target"] == "/v1/a%20b/%E7%8C%AB?x=1&y=%26&marker=escapes"


@pytest.mark.parametrize("mode", ["now", "Asynchronous", "1"])
def test_an_unknown_mode_is_refused(client: Client, mode: str) -> None:
    refused(client.send(script(), params={"taskMode": mode}), 400)


def test_sync_answers_with_id_and_data_and_stays_queryable(client: Client, rig: Rig) -> None:
    reply = sync(client, script(body=b"answer"))
    assert reply["data"] == "answer" and reply["result_code"] == 200
    assert reply["taskID"] == reply["taskId"] == reply["task_id"]
    again = rig.client().query(reply["taskID"])
    assert again["data"] == "answer" and again["status"] == "finished"
    assert reply["taskID"] in client.listed()


@pytest.mark.parametrize(
    "credential, mode, prefer, delay, carries",
    [
        (ID, None, None, 0.6, False),
        (ID, "Async", None, 0.6, False),
        (ID, "Sync", None, 0.6, True),
        (ID, None, "wait=20", 0.6, True),
        (ID, None, "respond-async, wait=20", 0.2, True),
        (ID, None, "wait=1", 2, False),
        (ID, "Async", "wait=20", 0.6, False),
        (ID, "Sync", "wait=1", 1.5, True),
        ("patient", None, None, 0.6, True),
        ("patient", "Async", None, 0.6, False),
        ("patient", None, "wait=0", 0.6, False),
    ],
)
def test_who_waits_for_the_result(
    rig: Rig, credential: str, mode: str | None, prefer: str | None, delay: float, carries: bool
) -> None:
    """taskMode rules; without it Prefer: wait, and without that the workspace's inline_wait."""
    client = rig.client(credential)
    headers = {} if prefer is None else {"Prefer": prefer}
    response = client.send(script(delay=delay, body=b"result"), params={"taskMode": mode}, headers=headers)
    reply = right(response)
    assert (reply["result_size"] > 0) == carries
    assert (reply.get("data") == "result") == carries
    if prefer is not None and mode is None:
        assert response.headers["Preference-Applied"] == prefer.split(", ")[-1]
    assert client.ended(reply["taskID"])["data"] == "result"


def test_a_wait_that_runs_out_says_where_the_task_stands(rig: Rig) -> None:
    client = rig.client(ID)
    reply = right(client.send(script(delay=30), headers={"Prefer": "wait=1"}))
    assert reply["status"] in ("queued", "running") and reply["result_size"] == 0
    right(client.ask("POST", f"/user/cancelTask?taskID={reply['taskID']}"))


def test_a_queued_task_knows_its_place(rig: Rig) -> None:
    client = rig.client("busy")
    client.ended(client.submit(script(delay=0.2)))
    first, second, third = (client.submit(script(delay=delay)) for delay in (30, 0.1, 0.1))
    eventually(lambda: client.status(first) == "running", "the first runs")
    replies = [client.query(task_id) for task_id in (second, third)]
    assert [reply["queue_position"] for reply in replies] == [1, 2]
    assert all(type(reply["wait_estimate"]) is int for reply in replies)
    assert replies[0]["wait_estimate"] <= replies[1]["wait_estimate"]
    assert "queue_position" not in client.query(first)
    right(client.ask("POST", f"/user/cancelTask?taskID={first}"))
    assert client.ended(third)["status"] == "finished"


def test_a_sync_app_needs_no_credential_and_answers_with_the_upstreams_body(rig: Rig) -> None:
    reply = right(rig.client().ask("POST", "/user/img2img", json={"btc_address": "", "data": {"prompt": "cat"}}))
    assert reply["result_code"] == 200 and isinstance(reply["msg"], str)
    assert reply["data"]["target"] == "/sdapi/v1/img2img"
    assert json.loads(reply["data"]["body"]) == {"prompt": "cat"}


def test_an_async_app_goes_to_its_port_and_is_polled_under_its_name(rig: Rig) -> None:
    visitor = rig.client()
    reply = right(visitor.ask("POST", "/user/later", json={"data": "x"}))
    assert reply["result_size"] == 0

    def polled() -> dict[str, Any] | None:
        told = visitor.get("/user/later", taskID=reply["task_id"])
        return told if told["result_size"] else None

    assert echo(eventually(polled, "the app's task ends"))["target"] == "/on/another"
    assert [call.path for call in rig.workers[1].calls].count("/on/another") == 1


def test_an_apps_authorization_overrides_its_workspace(rig: Rig) -> None:
    patient = rig.client("Bearer patient")
    reply = right(patient.ask("POST", "/user/img2img", json={"data": "x"}))
    assert reply["taskID"] in patient.listed()
    assert reply["taskID"] not in rig.client(ID).listed()


def test_what_is_no_call_and_no_app_is_404_and_the_wrong_method_405(client: Client) -> None:
    refused(client.ask("POST", "/user/nobody", json={"data": "x"}), 404)
    refused(client.ask("GET", "/user/nobody?taskID=1"), 404)
    refused(client.ask("GET", "/"), 404)
    for method, path in [("GET", "/user/schedulingTask"), ("POST", "/user/queryTask"), ("POST", "/user/getImage")]:
        response = client.ask(method, path)
        refused(response, 405)
        assert response.headers["Allow"]


def test_the_worker_never_sees_two_bodies(rig: Rig) -> None:
    """Every call that came had one Content-Length and no Transfer-Encoding."""
    calls: list[Call] = [*rig.worker.calls, *rig.workers[1].calls]
    assert calls
    for call in calls:
        assert call.header("transfer-encoding") is None
        assert int(call.header("content-length") or 0) == len(call.body)


@pytest.mark.parametrize("url", ["taken", "/taken", "taken/too", "/taken/too"])
def test_an_app_takes_a_path_over_with_and_without_its_slash(rig: Rig, client: Client, url: str) -> None:
    """On both sides: in what a client sends, and in the workspace's ``apps``."""
    reply = sync(client, url)
    assert echo(reply)["target"] == "/on/another"
    assert rig.workers[1].calls[-1].path == "/on/another"
