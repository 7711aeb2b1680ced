"""Bad input at every call that takes a body: refused with a sentence, never a 500, and nothing of it recorded."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from api_rig import Client, Rig, configuration, read_reply, refused, rig_of, right, workspace
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scripted_worker import script

ID = "367614711220405248"
LIMIT = 150_000
DEEP = 20_000
POSTS = ["/user/schedulingTask?paramUrl=act", "/user/schedulingTask?paramUrl=act&taskMode=Sync", "/user/app"]

BAD_BODIES: dict[str, bytes] = {
    "empty": b"",
    "space": b"  \r\n",
    "no JSON": b"hello",
    "half": b'{"data": "x"',
    "more": b'{"data": "x"} {"data": "y"}',
    "null": b"null",
    "array": b'[{"data": "x"}]',
    "string": b'"data"',
    "number": b"1",
    "no data": b'{"btc_address": ""}',
    "data null": b'{"data": null}',
    "data number": b'{"data": 1}',
    "data array": b'{"data": ["x"]}',
    "data true": b'{"data": true}',
    "address number": b'{"btc_address": 1, "data": "x"}',
    "address null": b'{"btc_address": null, "data": "x"}',
    "address object": b'{"btc_address": {}, "data": "x"}',
    "deep array": b'{"data": {"a": ' + b"[" * DEEP + b"]" * DEEP + b"}}",
    "deep object": b'{"data": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "deep and open": b"[" * DEEP,
    "NaN": b'{"data": {"a": NaN}}',
    "Infinity": b'{"data": {"a": -Infinity}}',
    "1e400": b'{"data": {"a": 1e400}}',
    "twice": b'{"data": "x", "data": "y"}',
    "twice inside": b'{"data": {"a": 1, "a": 2}}',
    "twice by escape": b'{"data": {"a": 1, "\\u0061": 2}}',
    "not UTF-8": b'{"data": "\xff\xfe"}',
    "Latin-1": '{"data": "é"}'.encode("latin-1"),
    "UTF-16": '{"data": "x"}'.encode("utf-16"),
    "BOM": b'\xef\xbb\xbf{"data": "x"}',
    "long number": b'{"data": {"a": ' + b"9" * 5000 + b"}}",
    "lone surrogate": b'{"data": "\\ud800"}',
    "control": b'{"data": "\x01"}',
    "form": b"data=x&btc_address=",
    "single quotes": b"{'data': 'x'}",
    "comma": b'{"data": "x",}',
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(
            workspace(ID, *ports, slots=8, body_limit=f"{LIMIT}B", gate="ainn"),
            apps={"app": {"adapter": "passthrough", "workspace": ID, "mode": "sync"}},
            limits={"body_rate": "1KiB", "body_window": "1s", "head_timeout": "2s"},
        )

    with rig_of(tmp_path_factory.mktemp("bad"), 1, make) as one:
        yield one


@pytest.fixture
def client(rig: Rig) -> Client:
    return rig.client(ID)


@pytest.fixture
def nothing_happens(rig: Rig) -> Iterator[None]:
    """No task, no call, no failure in the log."""
    client = rig.client(ID)
    before, calls = client.listed(), len(rig.worker.calls)
    yield
    assert client.listed() == before
    assert len(rig.worker.calls) == calls
    assert "Traceback" not in rig.gateway.log.read_text()


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize("path", POSTS)
def test_a_bad_body_is_refused_and_leaves_no_trace(client: Client, path: str) -> None:
    wrong = {}
    for name, body in BAD_BODIES.items():
        for content_type in ("application/json", None, "application/x-www-form-urlencoded"):
            headers = {} if content_type is None else {"Content-Type": content_type}
            response = client.ask("POST", path, data=body, headers=headers)
            if response.status_code != 400:
                wrong[name] = response.status_code
            else:
                assert len(refused(response, 400)) < 300
    assert not wrong


def test_a_form_or_multipart_body_is_data_like_any_other(client: Client, rig: Rig) -> None:
    """With BtcAddress it is raw: nobody looks into it, however many parts it has."""
    part = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n"
    body = part * (LIMIT // len(part) - 1) + b"--x--\r\n"
    headers = {"BtcAddress": "", "Content-Type": "multipart/form-data; boundary=x"}
    began = time.monotonic()
    query = {"paramUrl": script(marker="multipart"), "taskMode": "Sync"}
    right(client.ask("POST", "/user/schedulingTask", params=query, data=body, headers=headers))
    assert bytes(rig.worker.call("multipart").body) == body
    assert time.monotonic() - began < 5


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize(
    "query",
    [
        "paramUrl=a&paramUrl=b",
        "paramPort=8080&paramPort=8080",
        "paramUrl=a&taskMode=Sync&taskMode=Async",
        "paramUrl=%ff",
        "paramPort=%ff",
        "taskMode=%ff",
    ],
)
def test_a_doubtful_query_is_refused(client: Client, query: str) -> None:
    refused(client.ask("POST", f"/user/schedulingTask?{query}", json={"data": "x"}), 400)
    refused(client.ask("POST", f"/user/schedulingTask&{query}", json={"data": "x"}), 400)


@pytest.mark.parametrize("query", ["taskID=a&taskID=b", "taskID=a&taskId=b", "taskID=%ff"])
def test_a_doubtful_question_is_refused(client: Client, query: str) -> None:
    for call in ("queryTask", "getDetailed", "getTask"):
        refused(client.ask("GET", f"/user/{call}?{query}"), 400)
    refused(client.ask("POST", f"/user/cancelTask?{query}"), 400)


def test_an_address_spelled_twice_over_both_ways_is_refused(client: Client) -> None:
    refused(client.ask("GET", "/user/queryTask&taskID=a?taskID=b"), 400)


def head(path: str, *fields: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: x", f"Authorization: {ID}", *fields)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("more", [[], ["BtcAddress:"], ["Expect: 100-continue"]])
def test_a_body_over_the_limit_is_refused_before_it_is_read(rig: Rig, path: str, more: list[str]) -> None:
    for length in (LIMIT + 1, 1 << 40):
        reply = rig.raw(head(path, f"Content-Length: {length}", *more))
        assert reply.startswith(b"HTTP/1.1 413 "), reply[:200]
        assert json.loads(reply.partition(b"\r\n\r\n")[2])["result_code"] == 413


@pytest.mark.usefixtures("nothing_happens")
def test_a_chunked_body_over_the_limit_is_refused_when_it_passes_it(rig: Rig) -> None:
    chunk = b"%x\r\n%s\r\n" % (LIMIT // 2, b" " * (LIMIT // 2))
    reply = rig.raw(head(POSTS[0], "Transfer-Encoding: chunked") + chunk * 2 + b"1\r\n \r\n")
    assert reply.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", POSTS)
def test_a_body_of_exactly_the_limit_passes(client: Client, path: str) -> None:
    body = b'{"data": "%s"}' % (b"x" * (LIMIT - 12))
    assert len(body) == LIMIT
    assert right(client.ask("POST", path, data=body))["result_code"] == 200
    assert right(client.ask("POST", path, data=b"x" * LIMIT, headers={"BtcAddress": ""}))["result_code"] == 200


@pytest.mark.usefixtures("nothing_happens")
def test_a_body_that_hardly_comes_is_cut_off(rig: Rig) -> None:
    with socket.create_connection(rig.address, 10) as sock:
        sock.sendall(head(POSTS[0], "Content-Length: 1000") + b'{"data": "')
        began = time.monotonic()
        reply = read_reply(sock)
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 10


@pytest.mark.usefixtures("nothing_happens")
def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing(rig: Rig) -> None:
    for _ in range(20):
        with socket.create_connection(rig.address, 10) as sock:
            sock.sendall(head(POSTS[1], "Content-Length: 1000") + b'{"data": "half')
    assert rig.admin("/healthz").status_code == 200


CALLS = ["schedulingTask", "queryTask", "queryTaskList", "getTasksFromNode", "getDetailed", "getTask", "getTasks"]
PATHS = st.sampled_from([*(f"/user/{call}" for call in CALLS), "/user/app", "/user/cancelTask", "/brc20/checkAddress"])
NAMES = st.sampled_from(
    [
        "paramUrl",
        "paramPort",
        "taskMode",
        "taskID",
        "task_id",
        "startTime",
        "endTime",
        "limit",
        "cursor",
        "nodeAddr",
        "address",
        "btcaddress",
        "x",
    ]
)
VALUES = st.one_of(
    st.text(max_size=30),
    st.binary(max_size=20),
    st.integers().map(str),
    st.sampled_from(
        ["Sync", "8080", "2024-04-11", "1970-01-01", "9999-12-31", "0001-01-01 00:00:00", "%", "\x00", ".."]
    ),
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)
BODIES = st.one_of(
    st.binary(max_size=300),
    JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries({"data": JSON_VALUES}, optional={"btc_address": JSON_VALUES}).map(
        lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ),
    st.tuples(st.sampled_from(list(BAD_BODIES.values())), st.integers(0, 200)).map(lambda cut: cut[0][: cut[1]]),
)
FIELDS = st.dictionaries(
    st.sampled_from(["BtcAddress", "Prefer", "Content-Type", "Content-Encoding", "Accept", "X-Forwarded-For"]),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30),
    max_size=3,
)
OURS = {200, 400, 401, 403, 404, 405, 408, 409, 411, 413, 414, 429, 501, 502, 503, 504}


@settings(
    max_examples=1500,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    method=st.sampled_from(["GET", "POST"]),
    path=PATHS,
    query=st.lists(st.tuples(NAMES, VALUES), max_size=4),
    body=BODIES,
    fields=FIELDS,
)
def fuzz(client: Client, until: float, method: str, path: str, query: Any, body: bytes, fields: dict[str, str]) -> None:
    if time.monotonic() > until:
        return
    response = client.ask(method, path, params=query, data=body, headers=fields)
    assert response.status_code in OURS, response.text
    told = response.json()
    assert told.get("result_code", 200) in OURS
    assert response.status_code == 200 or told["result_code"] == response.status_code


def test_whatever_comes_it_is_answered_and_never_by_a_500(rig: Rig, client: Client) -> None:
    fuzz(client, time.monotonic() + 10)
    assert "Traceback" not in rig.gateway.log.read_text()
    assert right(client.send(script(), params={"taskMode": "Sync"}))["result_code"] == 200
