"""Large requests pass by within the kernel, or are copied where it cannot do that; nobody can tell which."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from raw_rig import CHUNKED, ID, OK, OTHER, Wire, chunk, eventually, request
from relay_rig import BODY_WINDOW, DATA, HUGE, IDLE, MIB, WAYS, RelayRig, drain, fill, in_thread, relay_rig
from stopwatch import Stopwatch


@pytest.fixture(scope="module", params=WAYS)
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayRig]:
    with relay_rig(tmp_path_factory.mktemp("up"), request.param) as one:
        yield one


def put(length: int, target: str = "/proxy/x", credential: str = ID) -> bytes:
    return request(target, f"Content-Length: {length}", method="PUT", credential=credential)


def begun(rig: RelayRig, credential: str = ID, length: int = HUGE) -> tuple[Wire, Wire]:
    """An upload of which a MiB has reached the worker: the client and the worker."""
    client = rig.connect()
    client.send(put(length, credential=credential))
    sending = in_thread(lambda: client.send(DATA[:MIB]))
    worker, _ = rig.worker.take()
    assert worker.exactly(MIB) == DATA[:MIB]
    sending.join(10)
    rig.passes()
    return client, worker


def running(rig: RelayRig) -> str:
    """The id of the call that runs."""
    return rig.listed()[-1]


def test_it_comes_whole_and_both_connections_are_kept(rig: RelayRig) -> None:
    with rig.connect() as client:
        ports = []
        for _ in range(2):
            head = put(len(DATA))
            sending = in_thread(lambda head=head: client.send(head + DATA))
            worker, asked = rig.worker.take()
            ports.append(worker.sock.getpeername())
            assert worker.body(asked) == DATA
            sending.join(10)
            worker.send(OK)
            rig.worker.keep(worker)
            reply = client.head()
            assert client.body(reply) == b"ok" and reply.field("connection") is None
            rig.passed()
            assert rig.line(reply)["bytes_in"] == len(head) + len(DATA)
        assert ports[0] == ports[1]


def test_a_large_reply_to_it_passes_by_too(rig: RelayRig) -> None:
    client, worker = begun(rig, length=MIB + 1)
    client.send(b"x")
    assert worker.exactly(1) == b"x"
    worker.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA))
    sending = in_thread(lambda: worker.send(DATA[:-2]))
    head = client.head()
    assert client.exactly(len(DATA) - 2) == DATA[:-2]
    sending.join(10)
    rig.passes()
    worker.send(DATA[-2:])
    assert client.exactly(2) == DATA[-2:]
    rig.worker.keep(worker)
    client.send(request("/proxy/2"))
    worker, _ = rig.worker.take()
    worker.send(OK)
    rig.worker.keep(worker)
    assert client.body(client.head()) == b"ok"
    client.close()
    rig.passed()
    line = rig.line(head)
    assert line["bytes_out"] == len(head.raw) + len(DATA) and line["bytes_in"] > MIB


def test_a_request_behind_the_body_is_a_request_and_none_of_the_body(rig: RelayRig) -> None:
    with rig.connect() as client:
        sending = in_thread(lambda: client.send(put(len(DATA)) + DATA + request("/proxy/2")))
        worker, asked = rig.worker.take()
        assert worker.body(asked) == DATA
        assert worker.is_silent(0.1)
        sending.join(10)
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.body(client.head()) == b"ok"
        worker, head = rig.worker.take()
        assert head.line.startswith("GET /2 ")
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.body(client.head()) == b"ok"


def test_the_worker_may_answer_while_it_comes_(rig: RelayRig) -> None:
    client, worker = begun(rig, length=len(DATA))
    worker.send(CHUNKED + chunk(b"one"))
    assert client.head().status == 200 and client.chunk() == b"one"
    sending = in_thread(lambda: client.send(DATA[MIB:-1]))
    assert worker.exactly(len(DATA) - MIB - 1) == DATA[MIB:-1]
    sending.join(10)
    worker.send(chunk(b"two"))
    assert client.chunk() == b"two"
    client.send(DATA[-1:])
    assert worker.exactly(1) == DATA[-1:]
    worker.send(chunk(b"end") + chunk(b""))
    assert client.chunk() == b"end" and client.chunk() == b""
    rig.worker.keep(worker)
    assert client.rest() == b""  # as it was told: its reply began before all of its request was there
    rig.passed()


@pytest.mark.parametrize("status", [200, 413])
def test_a_worker_that_answers_before_it_has_all_gets_no_more(rig: RelayRig, status: int) -> None:
    client, worker = begun(rig)
    sending = in_thread(lambda: client.send(DATA))
    worker.send(b"HTTP/1.1 %d X\r\nContent-Length: 4\r\n\r\ndone" % status)
    head = client.head()
    assert (head.status, client.body(head), head.field("connection")) == (status, b"done", "close")
    assert worker.gone(), "the upload was not stopped"
    sending.join(10)
    client.close()
    rig.passed()
    assert MIB < rig.line(head)["bytes_in"] < 64 * MIB


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("full", [False, True], ids=["", "and reads nothing"])
def test_a_worker_that_ends_early_is_told_and_no_other_gets_half_a_body(rig: RelayRig, full: bool, reset: bool) -> None:
    client, worker = begun(rig)
    if full:
        fill(client)
    if reset or full:
        worker.reset()
    else:
        worker.close()
    reason = rig.refused(client, 502)
    assert "before it answered" in reason
    rig.passed()
    assert rig.worker.idle(), "what was sent already cannot be sent again"


def test_a_worker_that_refuses_and_resets_at_once_is_heard(rig: RelayRig) -> None:
    """Twisted does not read what came before a connection on which it could not write."""
    client, worker = begun(rig)
    fill(client)
    worker.send(b"HTTP/1.1 413 X\r\nContent-Length: 4\r\n\r\nless")
    worker.close()  # which resets it: much of the upload was not read
    head = client.head()
    assert (head.status, client.body(head)) == (413, b"less")
    client.close()
    rig.passed()


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("full", [False, True], ids=["", "while nobody reads"])
def test_a_client_that_leaves_ends_the_workers_call_within_a_second(rig: RelayRig, full: bool, reset: bool) -> None:
    client, worker = begun(rig)
    task = running(rig)
    if full:
        fill(client)
    if reset:
        client.reset()
    else:
        client.close()
    watch = Stopwatch()
    if full and reset:  # and nobody reads now; a FIN would wait behind what the client has sent
        assert rig.ended(task)["status"] == "cancelled"
        assert watch.seconds() < 1.0
    assert worker.gone()
    assert watch.seconds() < 1.0
    assert rig.ended(task)["status"] == "cancelled"
    rig.passed()


def test_urgent_data_among_it_stops_nothing(rig: RelayRig) -> None:
    client, worker = begun(rig, length=MIB + 3)
    client.sock.send(b"!", socket.MSG_OOB)
    client.send(b"abc")
    assert worker.exactly(3) == b"abc"
    worker.send(OK)
    rig.worker.keep(worker)
    assert client.body(client.head()) == b"ok"
    client.close()
    rig.passed()


def test_a_slow_worker_slows_the_client_down_and_gets_all(rig: RelayRig) -> None:
    client, worker = begun(rig)
    for _ in range(2):
        drain(worker, fill(client))
    client.close()
    assert worker.gone()
    rig.passed()


def test_who_stands_still_is_told_apart(rig: RelayRig) -> None:
    client, worker = begun(rig, OTHER)
    for _ in range(16):  # longer than IDLE, and never idle for nearly as long
        time.sleep(IDLE * 0.1)
        client.send(b"x" * 100_000)
        assert worker.exactly(100_000) == b"x" * 100_000
    assert "The client sent" in rig.refused(client, 408)
    assert worker.gone()
    client, worker = begun(rig, OTHER)
    fill(client)
    began = time.monotonic()
    assert "did not begin its reply, and nothing moved" in rig.refused(client, 504)
    assert time.monotonic() - began < IDLE + 1.5
    rig.passed()


def test_a_body_that_only_trickles_is_cut_and_one_that_nobody_reads_is_not(rig: RelayRig) -> None:
    client, worker = begun(rig, length=len(DATA))
    time.sleep(0.1)
    sent, began = MIB, time.monotonic()
    client.sock.settimeout(0.1)
    while time.monotonic() - began < 3 * BODY_WINDOW and not client.received:
        client.sock.sendall(DATA[sent : sent + 1000])
        sent += 1000
        try:
            client.received += client.sock.recv(MIB)
        except TimeoutError:
            continue
    client.sock.settimeout(10)
    assert "slower than" in rig.refused(client, 408)
    assert worker.gone()
    client, worker = begun(rig)
    sent = fill(client)
    time.sleep(2.4 * BODY_WINDOW)  # the first window had bytes
    drain(worker, sent)
    client.send(b"more")
    assert worker.exactly(4) == b"more"
    client.close()
    assert worker.gone()
    rig.passed()


def test_a_body_over_the_limit_is_refused_before_a_byte_of_it_passes(rig: RelayRig) -> None:
    with rig.connect() as client:
        client.send(put(HUGE + 1))
        rig.refused(client, 413)
    eventually(rig.worker.idle, "no call")


def test_a_chunked_body_goes_the_ordinary_way(rig: RelayRig) -> None:
    with rig.connect() as client:
        client.send(request("/proxy/x", "Transfer-Encoding: chunked", method="PUT"))
        sending = in_thread(lambda: client.send(chunk(DATA[:MIB]) + chunk(b"")))
        worker, _ = rig.worker.take()
        got = b""
        while piece := worker.chunk():
            got += piece
            assert rig.relays() == 0
        assert got == DATA[:MIB]
        sending.join(10)
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.body(client.head()) == b"ok"
