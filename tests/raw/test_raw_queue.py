"""Raw calls wait, are retried, recorded, cancelled and drained as all calls are, and never sent twice by surprise."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_rig import CHUNKED, ID, OK, OTHER, Rig, chunk, configuration, eventually, request, rig_of, workspace

from ngpu.direct import START_AFTER
from ngpu.direct.frames import HEADER
from ngpu.relay import LEAST

SMALL, LARGE = b"s" * (256 * 1024), b"l" * (256 * 1024 + 1)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        one = workspace(ID, ports[0], slots=1, timeout="5s", queue={"limit": 1})
        two = workspace(OTHER, *ports, retry="idempotent", selection={"policy": "round_robin"})
        return configuration(one, two)

    with rig_of(tmp_path_factory.mktemp("queue"), 2, make) as one:
        yield one


def test_a_call_waits_for_its_turn_and_no_longer_than_the_timeout(rig: Rig) -> None:
    first = rig.ask("/proxy/first")
    worker, _ = rig.worker.take()
    worker.send(CHUNKED)  # it has begun, and goes on
    first.head()
    second = rig.ask("/proxy/second")
    eventually(lambda: rig.metric("ngpu_line_waiting") == 1, "the second call waits")
    assert rig.worker.idle()
    third = rig.ask("/proxy/third")
    head = third.head()
    assert head.status == 429 and head.field("Retry-After") == "5"
    third.close()
    worker.send(chunk(b""))
    assert first.chunk() == b""
    rig.worker.keep(worker)
    worker, head = rig.worker.take()
    assert head.line == "GET /second HTTP/1.1"
    worker.send(CHUNKED)
    second.head()
    began = time.monotonic()
    fourth = rig.ask("/proxy/fourth")
    head = fourth.head()
    assert 4.5 < time.monotonic() - began < 9.0
    assert head.status == 503 and head.field("Retry-After") and head.field("Ngpu-Status") == "gateway"
    worker.send(chunk(b""))
    assert second.chunk() == b""
    rig.worker.keep(worker)
    record = rig.record(rig.listed()[-1])
    assert (record["status"], record["requrl"], record["nodeaddr"]) == ("failed", "/proxy/fourth", "")
    for wire in (first, second, fourth):
        wire.close()


def test_a_client_that_leaves_the_line_leaves_it(rig: Rig) -> None:
    first = rig.ask("/proxy/first")
    worker, _ = rig.worker.take()
    second = rig.ask("/proxy/second")
    eventually(lambda: rig.metric("ngpu_line_waiting") == 1, "the second call waits")
    second.close()
    eventually(lambda: rig.metric("ngpu_line_waiting") == 0, "nobody waits", 3.0)  # its timeout is 5 s
    worker.send(OK)
    rig.worker.keep(worker)
    assert first.head().status == 200
    first.close()
    assert rig.worker.idle()


def test_cancel_task_aborts_a_raw_call(rig: Rig) -> None:
    client = rig.ask()
    worker, _ = rig.worker.take()
    worker.send(CHUNKED + chunk(b"1"))
    head = client.head()
    assert client.chunk() == b"1"
    task_id = str(head.field("Ngpu-Task"))
    assert rig.record(task_id)["status"] == "running"
    assert rig.call(f"/user/cancelTask?taskID={task_id}", method="POST")["result_code"] == 200
    assert client.rest() == b"" and worker.gone()
    assert rig.record(task_id)["status"] == "cancelled"

    client = rig.ask()
    worker, _ = rig.worker.take()
    task_id = eventually(lambda: next((one for one in rig.listed()[-1:] if one != task_id), ""), "its record")
    assert rig.call(f"/user/cancelTask?taskID={task_id}", credential=OTHER, method="POST")["result_code"] == 404
    assert rig.call(f"/user/cancelTask?taskID={task_id}", method="POST")["result_code"] == 200
    assert "cancelled" in rig.refused(client, 409)
    assert worker.gone()
    eventually(lambda: rig.in_flight() == 0, "a free slot")


def test_the_record_says_who_where_when_and_how_long_and_not_what(rig: Rig) -> None:
    with rig.ask("/proxy/8080/secret?prompt=x", "Cookie: secret", method="POST", body=b"secret body") as client:
        worker, head = rig.worker.take()
        worker.body(head)
        time.sleep(1.1)  # what is to be measured
        worker.send(b"HTTP/1.1 201 Created\r\nContent-Length: 6\r\n\r\nsecret")
        rig.worker.keep(worker)
        head = client.head()
    record = rig.ended(str(head.field("Ngpu-Task")))
    assert record["requrl"] == "/proxy/8080/secret?prompt=x" and record["method"] == "proxy"
    assert (record["status"], record["state"], record["attempts"]) == ("finished", 3, 1)
    assert record["userip"] == record["nodeip"] == "127.0.0.1" and record["userkey"].startswith("key-")
    assert record["recordDursion"] >= 1 and record["gpudursion"] >= 1
    assert (record["request"], record["response"]) == ("", "")
    assert record["reason"] == "passed through; the bodies were not kept"
    told = rig.call(f"/user/queryTask?taskID={head.field('Ngpu-Task')}", None)
    assert (told["result_code"], told["status"], told["data"]) == (200, "finished", "")
    for file in rig.gateway.config_file.parent.glob("ngpu.sqlite*"):
        assert b"secret body" not in file.read_bytes()


@pytest.mark.parametrize(("status", "state"), [(404, -1), (500, -1), (302, 3)])
def test_the_record_has_the_workers_status(rig: Rig, status: int, state: int) -> None:
    with rig.ask() as client:
        worker, _ = rig.worker.take()
        worker.send(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
        rig.worker.keep(worker)
        head = client.head()
        assert head.status == status
    record = rig.ended(str(head.field("Ngpu-Task")))
    assert record["state"] == state
    assert state == 3 or f"HTTP {status}" in record["reason"]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_small_body_is_sent_again_where_the_workspace_says_so(rig: Rig, framing: str) -> None:
    with rig.connect() as client:
        if framing == "length":
            client.send(request("/proxy/x", method="POST", body=SMALL, credential=OTHER))
        else:
            client.send(request("/proxy/x", "Transfer-Encoding: chunked", method="POST", credential=OTHER))
            client.send(chunk(SMALL) + chunk(b""))
        first, second = taken(rig)
        assert first[1].line == "POST /x HTTP/1.1"
        assert body(*first) == SMALL
        first[0].reset()
        other = second()
        assert body(*other) == SMALL
        other[0].send(OK)
        head = client.head()
        assert head.status == 200
    assert rig.ended(str(head.field("Ngpu-Task")))["attempts"] == 2
    other[0].close()


def test_a_large_body_and_a_reply_that_has_begun_are_not_sent_again(rig: Rig) -> None:
    with rig.connect() as client:
        client.send(request("/proxy/x", method="POST", body=LARGE, credential=OTHER))
        first, _ = taken(rig)
        assert body(*first) == LARGE
        first[0].reset()
        assert client.head().status == 502
    with rig.ask(credential=OTHER) as client:
        first, _ = taken(rig)
        first[0].send(CHUNKED + chunk(b"1"))
        client.head()
        first[0].reset()
        assert client.rest() in (b"", b"1\r\n1\r\n")
    assert all(worker.idle() for worker in rig.workers)


def test_with_retry_connect_nothing_is_sent_twice(rig: Rig) -> None:
    client = rig.ask()
    worker, _ = rig.worker.take()
    worker.reset()
    rig.refused(client, 502)
    assert rig.worker.idle()


def taken(rig: Rig) -> tuple[Any, Any]:
    """The call at whichever worker has it, and what takes it at the other one."""
    worker = eventually(lambda: next((each for each in rig.workers if not each.idle()), None), "a call")
    (other,) = (each for each in rig.workers if each is not worker)
    return worker.take(), other.take


def body(wire: Any, head: Any) -> bytes:
    got: bytes = wire.body(head)
    return got


def test_a_replica_that_cannot_be_reached_costs_nobody_a_call(tmp_path: Path) -> None:
    def make(ports: list[int]) -> dict[str, Any]:
        late = {"path": "/healthz", "interval": "1h", "timeout": "2s"}
        return configuration({**workspace(ID, *ports, selection={"policy": "round_robin"}), "health": late})

    with rig_of(tmp_path, 2, make) as rig:
        eventually(lambda: rig.metric("ngpu_replica_up") == 2, "both replicas are up")
        rig.workers[1].stop()
        for _ in range(2):  # in turns: one of them goes to the one that is not there
            with rig.ask(method="POST", body=LARGE) as client:
                worker, head = rig.worker.take()
                assert worker.body(head) == LARGE
                worker.send(OK)
                rig.worker.keep(worker)
                assert client.head().status == 200
        assert rig.metric('ngpu_upstream_calls_total{result="unreached"') == 1


def test_a_gateway_that_stops_lets_raw_calls_end_and_a_start_settles_those_that_it_cut(tmp_path: Path) -> None:
    with rig_of(tmp_path, 1, lambda ports: configuration(workspace(ID, *ports))) as rig:
        client = rig.ask()
        worker, _ = rig.worker.take()
        held = rig.ask("/proxy/waits")
        still, _ = rig.worker.take()
        for each in (worker, still):
            each.send(CHUNKED + chunk(b"1"))
        heads = [client.head(), held.head()]
        for each in (client, held):
            assert each.chunk() == b"1"
        stopping = threading.Thread(target=lambda: rig.gateway.stop(40), daemon=True)
        stopping.start()
        eventually(lambda: refuses(rig), "the port is closed")
        worker.send(chunk(b"2") + chunk(b""))
        assert client.chunk() == b"2" and client.chunk() == b""
        assert client.rest() == b"", "the connection ends with its reply"
        assert held.is_silent(0.2), "it still has its grace"
        held.sock.settimeout(30)
        assert held.rest() == b""
        assert still.gone()
        stopping.join(30)
        assert not stopping.is_alive()
        rig.gateway.start()
        statuses = [rig.ended(str(head.field("Ngpu-Task")))["status"] for head in heads]
        assert statuses[0] == "finished"
        assert statuses[1] in ("cancelled", "failed")


def test_a_gateway_that_is_killed_leaves_no_call_that_runs_for_ever(tmp_path: Path) -> None:
    with rig_of(tmp_path, 1, lambda ports: configuration(workspace(ID, *ports, retry="idempotent"))) as rig:
        client = rig.ask()
        worker, _ = rig.worker.take()
        worker.send(CHUNKED)
        task_id = str(client.head().field("Ngpu-Task"))
        rig.gateway.kill9()
        assert client.gone() and worker.gone()
        rig.gateway.start()
        record = rig.ended(task_id)
        assert record["status"] == "failed" and "outcome is unknown" in record["reason"]
        assert rig.worker.idle(), "it was sent again, and nobody waits for it"


WAYS = {
    "in pieces": (OK[:-1], OK[-1:]),
    "in chunks": (CHUNKED, chunk(b"ok") + chunk(b"")),
    "past us": (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (2 * LEAST, LARGE[:9]), bytes(2 * LEAST - 9)),
}


@pytest.mark.parametrize("way", ["at once", "slowly", "in pieces", "in chunks", "past us", "while somebody looked"])
def test_a_gateway_that_is_killed_keeps_the_record_of_each_call_that_was_answered(tmp_path: Path, way: str) -> None:
    with rig_of(tmp_path, 1, lambda ports: configuration(workspace(ID, *ports))) as rig:
        answered = []
        for _ in range(5):
            client = rig.ask()
            worker, _ = rig.worker.take()
            if way == "while somebody looked":
                rig.listed()
            elif way == "slowly":
                time.sleep(START_AFTER * 1.2)
            first, rest = WAYS.get(way, (b"", OK))
            worker.send(first)
            head = client.head() if first else None
            worker.send(rest)
            rig.worker.keep(worker)
            head = head or client.head()
            answered.append(str(head.field("Ngpu-Task")))
            client.body(head)
            rig.gateway.kill9()
            client.close()
            rig.gateway.start()
            eventually(lambda: rig.metric("ngpu_replica_up") >= 1, "a replica that is up")
        assert rig.listed() == answered
        assert {rig.record(task_id)["status"] for task_id in answered} == {"finished"}
        spool = rig.gateway.config_file.parent / "var/spool"
        assert [file.stat().st_size for file in spool.iterdir()] == [len(HEADER)]
        rig.gateway.stop()
        assert list(spool.iterdir()) == []


def refuses(rig: Rig) -> bool:
    try:
        rig.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_raw_call_counts_like_a_submission(tmp_path: Path) -> None:
    """Else a workspace would get past its quota by another door."""

    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(
            workspace(ID, ports[0], quota={"per_day": 2}), workspace(OTHER, ports[0], rate={"per_second": 0.01})
        )

    with rig_of(tmp_path, 1, make) as one:
        for credential, allowed in ((ID, 2), (OTHER, 1)):
            for _ in range(allowed):
                wire = one.ask("/proxy/page", credential=credential)
                worker, _ = one.worker.take()
                worker.send(OK)
                one.worker.keep(worker)
                assert wire.head().status == 200
                wire.close()
            refused = one.ask("/proxy/page", credential=credential)
            head = refused.head()
            assert head.status == 429 and head.field("Retry-After") and head.field("Ngpu-Status") == "gateway"
            refused.close()
            assert one.worker.idle()
