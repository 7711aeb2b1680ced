"""Large replies pass by within the kernel, or are copied where it cannot do that; nobody can tell which."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from raw_rig import ID, OK, OTHER, Head, Wire, eventually, request
from relay_rig import DATA, HUGE, IDLE, MIB, WAYS, WRITE_TIMEOUT, RelayRig, drain, fill, in_thread, relay_rig
from stopwatch import Stopwatch


@pytest.fixture(scope="module", params=WAYS)
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayRig]:
    with relay_rig(tmp_path_factory.mktemp("down"), request.param) as one:
        yield one


def answer(length: int, *fields: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {length}", *fields, "", ""]).encode()


def begun(rig: RelayRig, credential: str = ID, length: int = HUGE, **options: int) -> tuple[Wire, Wire, Head]:
    """A reply of which a MiB has reached the client: the client, the worker, and the reply's head."""
    client = rig.connect(**options)
    client.send(request("/proxy/x", credential=credential))
    worker, _ = rig.worker.take()
    worker.send(answer(length))
    sending = in_thread(lambda: worker.send(DATA[:MIB]))
    head = client.head()
    assert client.exactly(MIB) == DATA[:MIB]
    sending.join(10)
    rig.passes()
    return client, worker, head


def test_it_comes_whole_and_both_connections_are_kept(rig: RelayRig) -> None:
    with rig.connect() as client:
        ports = []
        for _ in range(2):
            client.send(request("/proxy/x"))
            worker, _ = rig.worker.take()
            ports.append(worker.sock.getpeername())
            worker.send(answer(len(DATA)))
            sending = in_thread(lambda worker=worker: worker.send(DATA))
            head = client.head()
            assert client.body(head) == DATA
            sending.join(10)
            rig.worker.keep(worker)
            rig.passed()
            assert rig.line(head)["bytes_out"] == len(DATA) + len(head.raw)
            assert rig.ended(str(head.field("Ngpu-Task")))["status"] == "finished"
        assert ports[0] == ports[1]
        client.send(request("/proxy/x"))
        worker, _ = rig.worker.take()
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.body(client.head()) == b"ok"


def test_requests_that_the_client_has_sent_meanwhile_are_served_next(rig: RelayRig) -> None:
    with rig.connect() as client:
        client.send(request("/proxy/1") + request("/proxy/2"))
        worker, head = rig.worker.take()
        assert head.line.startswith("GET /1 ")
        worker.send(answer(len(DATA)))
        sending = in_thread(lambda: worker.send(DATA[:-2]))
        head = client.head()
        assert client.exactly(len(DATA) - 2) == DATA[:-2]
        sending.join(10)
        rig.passes()
        assert rig.worker.idle(), "the second request overtook the end of the first reply"
        worker.send(DATA[-2:])
        assert client.exactly(2) == DATA[-2:]
        rig.worker.keep(worker)
        worker, head = rig.worker.take()
        assert head.line.startswith("GET /2 ")
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.body(client.head()) == b"ok"


def test_bytes_behind_the_body_reach_nobody(rig: RelayRig) -> None:
    """Read as the reply to the next request they would be response splitting."""
    with rig.connect() as client:
        client.send(request("/proxy/x"))
        worker, _ = rig.worker.take()
        first = worker.sock.getpeername()
        worker.send(answer(len(DATA)))
        sending = in_thread(lambda: worker.send(DATA + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"))
        assert client.body(client.head()) == DATA
        sending.join(10)
        client.send(request("/proxy/x"))
        other, _ = rig.worker.take()
        assert other.sock.getpeername() != first
        assert worker.gone()
        other.send(OK)
        rig.worker.keep(other)
        assert client.body(client.head()) == b"ok"
        assert client.is_silent(0.1)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_worker_that_closes_after_its_reply_does_not_end_the_clients_connection(rig: RelayRig, version: str) -> None:
    with rig.connect() as client:
        client.send(request("/proxy/x"))
        worker, _ = rig.worker.take()
        reply = answer(len(DATA), "Connection: close") if version == "1.1" else answer(len(DATA))
        worker.send(reply.replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
        sending = in_thread(lambda: worker.send(DATA))
        assert client.body(client.head()) == DATA
        sending.join(10)
        client.send(request("/proxy/x"))
        other, _ = rig.worker.take()
        assert worker.gone(), "it has to be closed, by us too"
        other.send(OK)
        rig.worker.keep(other)
        assert client.body(client.head()) == b"ok"
    rig.passed()


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_a_worker_that_ends_early_leaves_a_broken_reply(rig: RelayRig, reset: bool) -> None:
    client, worker, head = begun(rig)
    if reset:
        worker.reset()
    else:
        worker.close()
    assert client.rest() == b""
    rig.passed()
    record = rig.ended(str(head.field("Ngpu-Task")))
    assert record["status"] == "failed" and "in the middle of its reply" in record["reason"]
    line = rig.line(head)
    assert (line["status"], line["bytes_out"]) == (499, MIB + len(head.raw))


def test_what_came_before_an_early_end_still_reaches_a_slow_client(rig: RelayRig) -> None:
    client, worker, _ = begun(rig)
    sent = fill(worker)
    worker.close()
    drain(client, sent)
    assert client.rest() == b""
    client.close()
    rig.passed()


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("full", [False, True], ids=["", "and does not read"])
def test_a_client_that_leaves_ends_the_workers_call_within_a_second(rig: RelayRig, full: bool, reset: bool) -> None:
    client, worker, head = begun(rig)
    if full:
        fill(worker)
    if reset:
        client.reset()
    else:
        client.close()
    watch = Stopwatch()
    assert worker.gone()
    assert watch.seconds() < 1.0
    rig.passed()
    assert rig.ended(str(head.field("Ngpu-Task")))["status"] == "cancelled"
    assert MIB <= rig.line(head)["bytes_out"] - len(head.raw) < 64 * MIB


def test_urgent_data_among_it_stops_nothing(rig: RelayRig) -> None:
    client, worker, _ = begun(rig, length=MIB + 3)
    worker.sock.send(b"!", socket.MSG_OOB)
    worker.send(b"abc")
    assert client.exactly(3) == b"abc"
    rig.worker.keep(worker)
    client.close()
    rig.passed()


def test_a_slow_client_slows_the_worker_down_and_gets_all(rig: RelayRig) -> None:
    client, worker, _ = begun(rig)
    for _ in range(2):
        drain(client, fill(worker))
    client.close()
    assert worker.gone()
    rig.passed()


def test_a_client_that_stands_still_is_cut_and_is_not_the_replicas_fault(rig: RelayRig) -> None:
    broke = rig.metric('ngpu_upstream_calls_total{result="broke"')
    client, worker, head = begun(rig, OTHER)
    fill(worker)
    began = time.monotonic()
    assert worker.gone()
    assert time.monotonic() - began < IDLE + 1.5
    rig.passed()
    assert "The client sent, and took, nothing" in rig.ended(str(head.field("Ngpu-Task")))["reason"]
    assert rig.metric('ngpu_upstream_calls_total{result="broke"') == broke
    client.close()


def test_a_client_that_takes_nothing_for_write_timeout_is_cut(rig: RelayRig) -> None:
    client, worker, head = begun(rig)
    taken = time.monotonic()
    fill(worker)
    began = time.monotonic()
    assert worker.gone()
    assert taken + WRITE_TIMEOUT * 0.9 < time.monotonic() < began + WRITE_TIMEOUT + 1.5
    rig.passed()
    assert rig.ended(str(head.field("Ngpu-Task")))["status"] == "cancelled"
    client.close()


def test_a_worker_that_stands_still_is_cut_and_one_that_is_slow_is_not(rig: RelayRig) -> None:
    client, worker, head = begun(rig, OTHER)
    began = 0.0
    for _ in range(16):  # longer than IDLE, and never idle for nearly as long
        time.sleep(IDLE * 0.1)
        began = time.monotonic()
        worker.send(b"x" * 1000)
        assert client.exactly(1000) == b"x" * 1000
    assert client.rest() == b""
    assert IDLE * 0.9 < time.monotonic() - began < IDLE + 1.5
    assert worker.gone()
    rig.passed()
    assert "stood still in its reply" in rig.ended(str(head.field("Ngpu-Task")))["reason"]


def test_bodies_that_are_none_or_have_no_length_go_the_ordinary_way(rig: RelayRig) -> None:
    with rig.connect() as client:
        client.send(request("/proxy/x", method="HEAD"))
        worker, _ = rig.worker.take()
        worker.send(answer(HUGE))
        assert client.head().field("content-length") == str(HUGE)
        rig.worker.keep(worker)
        client.send(request("/proxy/x"))
        worker, _ = rig.worker.take()
        worker.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.head()
        worker.send(b"%x\r\n" % MIB)
        sending = in_thread(lambda: worker.send(DATA[:MIB] + b"\r\n0\r\n\r\n"))
        got = b""
        while piece := client.chunk():
            assert rig.relays() == 0
            got += piece
        assert got == DATA[:MIB]
        sending.join(10)
        rig.worker.keep(worker)
        eventually(rig.worker.idle, "no further call")
