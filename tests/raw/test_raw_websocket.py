"""WebSockets: the handshake passes through, then bytes both ways, until either end goes; a slot is held meanwhile."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from raw_rig import ID, OK, OTHER, Rig, Wire, configuration, eventually, request, rig_of, workspace
from stopwatch import Stopwatch

from ngpu.errors import BadReply, BadRequest
from ngpu.model import ReplyHead
from ngpu.raw.websocket import asked_for, check_accepted

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3
ASKED = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: WebSocket",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
)
SWITCH = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
).encode()
MIB = 1 << 20
HASTY = "hasty-workspace"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        quick = workspace(OTHER, *ports, raw={"idle_timeout": "1s"}, timeout="9s", slots=1)
        return configuration(workspace(ID, *ports), quick, workspace(HASTY, *ports, timeout="1s"))

    with rig_of(tmp_path_factory.mktemp("websocket"), 1, make) as one:
        yield one


def opened(rig: Rig, credential: str = ID, early: bytes = b"") -> tuple[Wire, Wire, str]:
    """The two ends of a WebSocket, and the id of its record."""
    client = rig.ask("/proxy/9090/ws?x=1", *ASKED, "Sec-WebSocket-Protocol: chat", credential=credential)
    worker, head = rig.worker.take()
    assert head.line == "GET /ws?x=1 HTTP/1.1"
    assert (head.field("upgrade"), head.field("connection")) == ("websocket", "Upgrade")
    assert head.field("sec-websocket-key") == KEY and head.field("sec-websocket-protocol") == "chat"
    assert not {"content-length", "transfer-encoding", "authorization"} & head.names
    worker.send(SWITCH + early)
    head = client.head()
    assert head.line == "HTTP/1.1 101 Switching Protocols"
    assert (head.field("upgrade"), head.field("connection")) == ("websocket", "Upgrade")
    assert head.field("sec-websocket-accept") == ACCEPT and head.field("sec-websocket-protocol") == "chat"
    return client, worker, str(head.field("Ngpu-Task"))


def test_bytes_go_both_ways_as_they_come(rig: Rig) -> None:
    client, worker, task_id = opened(rig, early=b"hello before anything was asked")
    assert client.exactly(31) == b"hello before anything was asked"
    for number in range(50):
        sent = os.urandom(1 + number * 100)
        client.send(sent)
        assert worker.exactly(len(sent)) == sent
        worker.send(sent[::-1])
        assert client.exactly(len(sent)) == sent[::-1]
    assert rig.record(task_id)["status"] == "running"
    client.close()
    assert worker.gone()
    assert rig.ended(task_id)["status"] == "finished"


def test_what_the_client_sends_before_the_switch_waits_for_it(rig: Rig) -> None:
    client = rig.connect()
    client.send(request("/proxy/ws", *ASKED) + b"early frames")
    worker, _ = rig.worker.take()
    assert worker.is_silent(0.2)
    worker.send(SWITCH)
    client.head()
    assert worker.exactly(12) == b"early frames"
    client.close()
    assert worker.gone()


def test_much_both_ways_at_once_in_bounded_memory(rig: Rig) -> None:
    client, worker, _ = opened(rig)
    before = rig.memory("VmRSS")
    client.sock.settimeout(0.3)
    worker.sock.settimeout(0.3)
    for wire in (client, worker):  # nobody reads, until everything on the way is full
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 256 * MIB:
                sent += wire.sock.send(b"x" * MIB)
        assert sent < 64 * MIB
    grown = rig.memory("VmRSS") - before
    print(f"\na tunnel that is full both ways holds {grown / MIB:.1f} MiB")
    assert grown < 4 * MIB
    client.close()
    worker.close()


def test_the_end_of_either_end_is_the_others(rig: Rig) -> None:
    client, worker, task_id = opened(rig)
    worker.send(b"last words")
    worker.close()
    assert client.rest() == b"last words"
    client.close()
    assert rig.ended(task_id)["status"] == "finished"

    client, worker, task_id = opened(rig)
    client.send(b"bye")
    client.close()
    assert worker.rest() == b"bye"
    assert rig.ended(task_id)["status"] == "finished"


def test_a_reset_of_either_end_is_the_others(rig: Rig) -> None:
    client, worker, task_id = opened(rig)
    client.reset()
    watch = Stopwatch()
    assert worker.gone()
    assert watch.seconds() < 1.0
    assert rig.ended(task_id)["status"] == "cancelled"

    client, worker, task_id = opened(rig)
    worker.reset()
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)
    assert rig.ended(task_id)["status"] == "failed"
    eventually(lambda: rig.in_flight() == 0, "free slots")


def test_a_slot_is_held_for_as_long_as_it_is_open_and_an_idle_one_is_closed(rig: Rig) -> None:
    broke = rig.metric('ngpu_upstream_calls_total{result="broke"')
    client, worker, task_id = opened(rig, OTHER)
    waiting = rig.ask(credential=OTHER)
    for _ in range(12):  # longer than idle_timeout, and never idle for nearly as long
        assert waiting.is_silent(0.1) and rig.worker.idle()
        client.send(b"tick")
        assert worker.exactly(4) == b"tick"
    assert rig.metric("ngpu_line_waiting") == 1
    began = time.monotonic()
    assert client.rest() == b"" and worker.rest() == b""
    assert 0.5 < time.monotonic() - began < 3.0
    second, _ = rig.worker.take()
    second.send(OK)
    rig.worker.keep(second)
    assert waiting.head().status == 200
    assert rig.ended(task_id)["status"] == "finished"
    assert rig.metric('ngpu_upstream_calls_total{result="broke"') == broke, "silence is no fault of the replica's"


def test_it_is_counted_and_logged(rig: Rig) -> None:
    name = 'ngpu_upstream_calls_total{result="switched"'
    before = rig.metric(name)
    client, worker, task_id = opened(rig)
    client.send(b"12345")
    assert worker.exactly(5)
    worker.send(b"123")
    assert client.exactly(3)
    client.close()
    assert worker.gone()
    line = eventually(
        lambda: next((one for one in rig.log_lines() if one.get("task_id") == task_id and "status" in one), None),
        "a line",
    )
    assert line["status"] == 101 and line["route"] == "/proxy"
    assert line["bytes_in"] > 5 and line["bytes_out"] > 3
    assert rig.metric(name) == before + 1
    record = rig.ended(task_id)
    assert record["method"] == "websocket" and record["requrl"] == "/proxy/9090/ws?x=1"


def test_a_worker_that_never_answers_is_given_up(rig: Rig) -> None:
    client = rig.ask("/proxy/ws", *ASKED, credential=HASTY)
    worker, _ = rig.worker.take()
    rig.refused(client, 504)
    assert worker.gone()


def test_a_worker_that_refuses_answers_as_to_any_other_request(rig: Rig) -> None:
    with rig.ask("/proxy/ws", *ASKED) as client:
        worker, _ = rig.worker.take()
        worker.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
        rig.worker.keep(worker)
        head = client.head()
        assert head.status == 403 and client.body(head) == b"no"
        client.send(request("/proxy/next"))  # on both connections another request can follow
        worker, head = rig.worker.take()
        assert head.line == "GET /next HTTP/1.1"
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.head().status == 200


@pytest.mark.parametrize(
    "reply",
    [
        SWITCH.replace(ACCEPT.encode(), b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        SWITCH.replace(b"Sec-WebSocket-Accept", b"X-Accept"),
        SWITCH.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        SWITCH.replace(b"Connection: Upgrade\r\n", b""),
    ],
    ids=["wrong accept", "no accept", "another protocol", "no connection"],
)
def test_a_worker_that_did_not_understand_gets_no_tunnel(rig: Rig, reply: bytes) -> None:
    client = rig.connect()
    client.send(request("/proxy/ws", *ASKED) + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    worker, _ = rig.worker.take()
    worker.send(reply)
    rig.refused(client, 502)
    assert worker.rest() == b""


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        (("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"), {}),
        ((*ASKED, f"Sec-WebSocket-Key: {KEY}"), {}),
        (("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: c2hvcnQ="), {}),
        ((*ASKED[:1], "Upgrade: websocket, h2c", *ASKED[2:]), {}),
        (ASKED, {"method": "POST"}),
        (ASKED, {"body": b"body"}),
    ],
)
def test_handshakes_that_nobody_may_send(rig: Rig, fields: tuple[str, ...], more: dict[str, Any]) -> None:
    rig.refused(rig.ask("/proxy/ws", *fields, **more), 400)
    assert rig.worker.idle()


@pytest.mark.parametrize(
    "fields",
    [
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        ("Connection: Upgrade", "Upgrade: TLS/1.0"),
        ("Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}"),
        ("Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}"),
    ],
)
def test_no_other_upgrade_is_made_or_passed_on(rig: Rig, fields: tuple[str, ...]) -> None:
    with rig.ask("/proxy/x", *fields) as client:
        worker, head = rig.worker.take()
        assert not {"upgrade", "connection", "http2-settings"} & head.names
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.head().status == 200


def test_websockets_of_other_addresses_are_not_opened(rig: Rig) -> None:
    with rig.ask("/user/queryNodes", *ASKED) as client:
        assert client.head().status == 200


def test_the_handshake_in_pure_words() -> None:
    fields = [(b"connection", b"Upgrade"), (b"UPGRADE", b"websocket"), (b"Sec-WebSocket-Key", KEY.encode())]
    assert asked_for(b"GET", b"HTTP/1.1", fields, False) == KEY.encode()
    assert asked_for(b"GET", b"HTTP/1.0", fields, False) is None
    with pytest.raises(BadRequest):
        asked_for(b"GET", b"HTTP/1.1", fields, True)
    key = base64.b64encode(os.urandom(16))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    check_accepted(ReplyHead(101, ((b"Sec-WebSocket-Accept", accept),)), key)
    with pytest.raises(BadReply):
        check_accepted(ReplyHead(101, ((b"Sec-WebSocket-Accept", accept),) * 2), key)
