"""The access log and the admin listener: one line of JSON a request, and nothing in it that is nobody's business."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from api_rig import NO_HOLDER, NODES, Rig, configuration, eventually, key_hash, refused, rig_of, right, workspace
from scripted_worker import script

OPEN, KEYED, KEY = "367614711220405248", "367614711220405249", "sk-never-in-the-log"
SECRETS = {
    "body": "a-body-that-nobody-may-read",
    "query": "a-query-that-nobody-may-read",
    "credential": "a-wrong-credential",
    "field": "a-field-that-nobody-may-read",
    "result": "a-result-that-nobody-may-read",
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(
            workspace(OPEN, *ports, slots=8, name="open one", gate="ainn"),
            workspace(KEYED, *ports, slots=8, name="keyed one", keys=[key_hash(KEY)]),
            apps={"app": {"adapter": "passthrough", "workspace": OPEN, "mode": "sync"}},
        )

    with rig_of(tmp_path_factory.mktemp("log"), 1, make) as one:
        yield one


def line_of(rig: Rig, path: str) -> dict[str, Any]:
    """The one line about a path."""
    found = eventually(lambda: [line for line in rig.log_lines() if line.get("path") == path], f"a line about {path}")
    assert len(found) == 1, found
    return dict(found[0])


def test_a_line_says_who_what_and_how_long(rig: Rig) -> None:
    reply = right(rig.client(OPEN).ask("POST", "/user/app", json={"data": "x"}))
    line = line_of(rig, "/user/app")
    assert line["listener"] == "public" and line["method"] == "POST" and line["status"] == 200
    assert line["route"] == "/user/<name>" and line["client"] == "127.0.0.1"
    assert line["task_id"] == reply["taskID"] and line["node"] == NODES[0]
    assert line["bytes_in"] > 0 and line["bytes_out"] > 0 and line["seconds"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert "open one" in line["workspace"]


def test_each_request_has_one_line_also_on_one_connection(rig: Rig) -> None:
    with requests.Session() as session:
        for number in range(5):
            session.get(f"{rig.gateway.url}/one/{number}")
    for number in range(5):
        assert line_of(rig, f"/one/{number}")["status"] == 404


def test_one_that_goes_before_its_reply_is_a_499(rig: Rig) -> None:
    body = b'{"data": "x"}'
    target = "/user/schedulingTask?taskMode=Sync&paramUrl=" + script(delay=30, marker="gone").replace("&", "%26")
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: {OPEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(rig.address, 10) as sock:
        sock.sendall(head.encode() + body)
        eventually(lambda: "gone" in rig.worker.markers(), "it runs")
    eventually(lambda: [line for line in rig.log_lines() if line["status"] == 499], "its line")


HOSTILE = [
    b"GET /%0d%0a%7b%22time%22:1%7d HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%1b%5b31mred%7f HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\x1b[31mraw HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /a\rb HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /a\x00b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\xe2\x80\xa8 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%e2%80%a8%c2%85 HTTP/1.1\r\nHost: x\r\n\r\n",
    b'GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\x0b{"a":1}\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: "},{"client":"evil\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: "quoted\r\n\r\n',
    b"G\x7fT / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 100 + b"\r\n\r\n",
    b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b'GET /"},{"status":200 HTTP/1.1\r\nHost: x\r\n\r\n',
]


def test_hostile_bytes_make_one_plain_line_each(rig: Rig) -> None:
    before = len(rig.log_lines())
    for bytes_sent in HOSTILE:
        with socket.create_connection(rig.address, 10) as sock:
            sock.sendall(bytes_sent)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
    lines = eventually(lambda: longer(rig, before + len(HOSTILE) - 1), "their lines")[before:]
    assert len(lines) <= len(HOSTILE)
    assert all(line["client"] == "127.0.0.1" and line.get("status", 0) >= 400 for line in lines), lines


def longer(rig: Rig, count: int) -> list[dict[str, Any]] | None:
    lines = rig.log_lines()
    return lines if len(lines) >= count else None


def test_the_whole_log_is_plain_and_keeps_every_secret(rig: Rig) -> None:
    """After calls of every kind: no credential, no query string, no body, no control character, all lines JSON."""
    secret = SECRETS
    visitor, client, keyed = rig.client(), rig.client(OPEN), rig.client(KEY)
    headers = {"X-Mine": secret["field"], "Cookie": secret["field"]}
    url = script(path="act", secret=secret["query"], body=secret["result"].encode())
    for mode in ("Sync", "Async"):
        for caller in (client, keyed):
            reply = right(caller.send(url, secret["body"], params={"taskMode": mode}, headers=headers))
            caller.ended(reply["taskID"])
            caller.detailed(reply["taskID"])
            visitor.ask("GET", f"/user/queryTask&taskID={reply['taskID']}&secret={secret['query']}")
    client.send(url, secret["body"], address=NO_HOLDER)
    client.send(script(status=500, body=secret["result"].encode(), secret=secret["query"]), secret["body"])
    client.send(script(cut="close", secret=secret["query"]), secret["body"], params={"taskMode": "Sync"})
    client.send("http://" + secret["query"])
    client.ask("POST", f"/user/app?{secret['query']}", data=secret["body"])
    client.ask("POST", f"/user/app&{secret['query']}=1", data=b'{"' + secret["body"].encode() + b'": NaN}')
    for scheme in ("Bearer ", "ngpu_", ""):
        rig.client(scheme + secret["credential"]).ask("GET", "/user/queryTaskList")
    rig.client(KEYED).ask("GET", "/user/queryTaskList")
    rig.raw(f"GET /?{secret['query']} HTTP/1.1\r\nHost: {secret['field']}:x\r\n\r\n".encode())
    rig.raw(f"NONE /?{secret['query']} HTTP/9.9\r\nHost: x\r\n\r\n".encode())
    rig.admin("/metrics?" + secret["query"], rig.token)
    rig.admin("/metrics", secret["credential"])
    rig.gateway.stop()
    text = rig.gateway.log.read_bytes()
    rig.gateway.start()
    for name, value in {**secret, "id": OPEN, "keyed id": KEYED, "key": KEY, "token": rig.token}.items():
        assert value.encode() not in text, f"the log holds the {name}"
    assert not re.search(rb"[^\n\t\x20-\x7e]", text)
    access = [line for line in text.splitlines() if line.startswith(b"{")]
    assert len(access) > 30
    for line in access:
        parsed = json.loads(line)
        assert "?" not in parsed.get("path", "") and "&" not in parsed.get("path", "")


def test_health_is_open_and_metrics_are_not(rig: Rig) -> None:
    for path in ("/healthz", "/readyz"):
        assert right(rig.admin(path))["result_code"] == 200
    refused(rig.admin("/metrics"), 401)
    refused(rig.admin("/metrics", rig.token[:-1]), 401)
    refused(rig.admin("/metrics", OPEN), 401)
    refused(rig.admin("/metrics", KEY), 401)
    refused(rig.admin("/nothing"), 404)
    refused(rig.admin("/nothing", rig.token), 404)


def test_the_admins_calls_are_not_on_the_public_side_nor_the_other_way_round(rig: Rig) -> None:
    for path in ("/metrics", "/healthz", "/readyz"):
        refused(rig.client(rig.token).ask("GET", path), 404)
    refused(rig.admin("/user/queryTaskList", rig.token), 404)
    refused(rig.client(rig.token).ask("GET", "/user/queryTaskList"), 401)


def test_the_token_is_for_its_owner_only(rig: Rig) -> None:
    file = rig.gateway.config_file.parent / "var/admin.token"
    assert file.stat().st_mode & 0o077 == 0
    assert len(rig.token) >= 32


def test_metrics_count_and_name_no_credential(rig: Rig) -> None:
    client = rig.client(OPEN)
    before = figure(rig, "ngpu_tasks_accepted_total")
    for _ in range(3):
        client.ended(client.submit(script()))
    response = rig.admin("/metrics", rig.token)
    assert response.status_code == 200 and response.headers["Content-Type"].startswith("text/plain")
    assert figure(rig, "ngpu_tasks_accepted_total") == before + 3
    for secret in (OPEN, KEYED, KEY, rig.token):
        assert secret not in response.text


def figure(rig: Rig, name: str) -> float:
    """The sum of a figure over its labels."""
    text = rig.admin("/metrics", rig.token).text
    return sum(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith((name + "{", name + " "))
    )


def test_ready_means_that_work_is_taken_in(rig: Rig) -> None:
    assert rig.admin("/readyz").status_code == 200
    assert right(rig.client(OPEN).send(script()))["status"] == "queued"
