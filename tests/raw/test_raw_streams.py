"""Both bodies of a raw call pass by piece by piece, at the pace of whoever reads them, and end together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_rig import CHUNKED, ID, OK, OTHER, Rig, Wire, chunk, configuration, eventually, request, rig_of, workspace
from stopwatch import Stopwatch

MIB = 1 << 20
LARGE = 256 * MIB
PIECE = bytes(range(256)) * 1024
MOST_GROWTH = 8 * MIB


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        quick = workspace(OTHER, *ports, raw={"idle_timeout": "1s"}, timeout="2s")
        return configuration(workspace(ID, *ports), quick)

    with rig_of(tmp_path_factory.mktemp("streams"), 1, make) as one:
        yield one


def test_the_client_has_each_event_before_the_worker_sends_the_next(rig: Rig) -> None:
    with rig.ask(method="POST", body=b"{}") as client:
        worker, head = rig.worker.take()
        worker.body(head)
        worker.send(CHUNKED)
        assert client.head().status == 200  # before the first event
        took = []
        for number in range(100):
            event = b"data: %d\n\n" % number
            began = time.perf_counter()
            worker.send(chunk(event))
            assert client.chunk() == event
            took.append(time.perf_counter() - began)
        worker.send(chunk(b""))
        assert client.chunk() == b""
        rig.worker.keep(worker)
    took.sort()
    print(f"\n100 events from worker to client: half within {took[50] * 1e3:.1f} ms, all in {took[-1] * 1e3:.1f} ms")
    assert took[50] < 0.1, "each of them is held back"


def test_lines_of_a_body_without_a_length_come_one_by_one_too(rig: Rig) -> None:
    with rig.ask() as client:
        worker, _ = rig.worker.take()
        worker.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n")
        client.head()
        for line in (b'{"token": 1}\n', b'{"token": 2}\n'):
            worker.send(line)
            assert client.chunk() == line
        worker.close()
        assert client.chunk() == b""


def test_pieces_of_an_upload_reach_the_worker_one_by_one_and_it_may_answer_meanwhile(rig: Rig) -> None:
    with rig.connect() as client:
        client.send(request("/proxy/x", "Content-Length: 9", method="POST"))
        client.send(b"one")
        worker, _ = rig.worker.take()
        assert worker.exactly(3) == b"one"
        worker.send(CHUNKED + chunk(b"ONE"))
        assert client.head().status == 200 and client.chunk() == b"ONE"
        client.send(b"two")
        assert worker.exactly(3) == b"two"
        worker.send(chunk(b"TWO"))
        assert client.chunk() == b"TWO"
        client.send(b"end")
        assert worker.exactly(3) == b"end"
        worker.send(chunk(b""))
        assert client.chunk() == b""
        rig.worker.keep(worker)


def measured(rig: Rig, transfer: Callable[[], None], what: str) -> None:
    """Run a transfer, and see how much memory it took."""
    before = rig.memory("VmRSS")
    Path(f"/proc/{rig.gateway.pid}/clear_refs").write_text("5")  # the peak counts from here
    began = time.perf_counter()
    transfer()
    seconds = time.perf_counter() - began
    grown = rig.memory("VmHWM") - before
    print(f"\n{LARGE // MIB} MiB {what}: {LARGE / MIB / seconds:.0f} MiB/s, memory grew by {grown / MIB:.1f} MiB")
    assert grown <= MOST_GROWTH


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def counted(wire: Wire, count: int) -> int:
    """Read so many bytes, and keep none."""
    got = len(wire.take(len(wire.received)))
    buffer = bytearray(MIB)
    while got < count:
        read = wire.sock.recv_into(buffer)
        assert read, f"closed after {got} of {count}"
        got += read
    return got


@pytest.fixture
def warm(rig: Rig) -> None:
    """What the first call of a process takes is not what a transfer takes."""
    for _ in range(20):
        with rig.ask(method="POST", body=PIECE) as client:
            worker, head = rig.worker.take()
            worker.body(head)
            worker.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PIECE) + PIECE)
            rig.worker.keep(worker)
            client.body(client.head())


@pytest.mark.parametrize("slow", [False, True], ids=["", "slow reader"])
def test_256_mib_down_in_bounded_memory(rig: Rig, warm: None, slow: bool) -> None:
    def transfer() -> None:
        with rig.ask() as client:
            worker, _ = rig.worker.take()
            worker.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
            sending = in_thread(lambda: [worker.send(PIECE) for _ in range(LARGE // len(PIECE))] and None)
            client.head()
            if slow:
                sending.join(1.0)
                assert sending.is_alive(), "all of it went somewhere, and nobody reads"
            assert counted(client, LARGE) == LARGE
            sending.join(10)
            rig.worker.keep(worker)

    measured(rig, transfer, "down" + " to a slow reader" * slow)


@pytest.mark.parametrize("chunked", [False, True], ids=["", "chunked"])
@pytest.mark.parametrize("slow", [False, True], ids=["", "slow worker"])
def test_256_mib_up_in_bounded_memory(rig: Rig, warm: None, slow: bool, chunked: bool) -> None:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {LARGE}"
    piece = chunk(PIECE) if chunked else PIECE

    def transfer() -> None:
        with rig.connect() as client:
            client.send(request("/proxy/x", framing, method="PUT"))

            def send() -> None:
                for _ in range(LARGE // len(PIECE)):
                    client.send(piece)
                client.send(chunk(b"") if chunked else b"")

            sending = in_thread(send)
            worker, _ = rig.worker.take()
            if slow:
                sending.join(1.0)
                assert sending.is_alive(), "all of it went somewhere, and the worker does not read"
            if chunked:
                received = 0
                while got := worker.chunk():
                    received += len(got)
                assert received == LARGE
            else:
                assert counted(worker, LARGE) == LARGE
            worker.send(OK)
            rig.worker.keep(worker)
            assert client.head().status == 200
            sending.join(10)

    measured(rig, transfer, "up" + ", chunked" * chunked + " to a slow worker" * slow)


def test_100_continue_comes_once_the_worker_asks_for_the_body(rig: Rig) -> None:
    with rig.connect() as client:
        client.send(request("/proxy/x", "Expect: 100-continue", "Content-Length: 4", method="POST"))
        worker, head = rig.worker.take()
        assert head.field("expect") == "100-continue"
        assert client.is_silent(0.3), "the worker has not asked for it"
        worker.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"body")
        assert worker.exactly(4) == b"body"
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.head().status == 200


def test_a_worker_that_knows_no_expect_is_given_a_moment(rig: Rig) -> None:
    with rig.connect() as client:
        began = time.monotonic()
        client.send(request("/proxy/x", "Expect: 100-continue", "Transfer-Encoding: chunked", method="POST"))
        worker, _ = rig.worker.take()
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert 0.9 < time.monotonic() - began < 3.0
        client.send(b"4\r\nbody\r\n0\r\n\r\n")
        assert worker.chunk() == b"body" and worker.chunk() == b""
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.head().status == 200


def test_a_worker_that_refuses_before_the_body_is_never_sent_it(rig: Rig) -> None:
    with rig.connect() as client:
        client.send(request("/proxy/x", "Expect: 100-continue", "Content-Length: 4", method="POST"))
        worker, _ = rig.worker.take()
        worker.send(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
        head = client.head()
        assert head.status == 401 and client.body(head) == b"no"
        assert head.field("connection") == "close"
        assert worker.gone()


def test_an_early_refusal_reaches_a_client_that_still_sends(rig: Rig) -> None:
    with rig.connect() as client:
        client.send(request("/proxy/x", f"Content-Length: {LARGE}", method="POST") + PIECE)
        worker, _ = rig.worker.take()
        worker.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nless")
        head = client.head()
        assert head.status == 413 and client.body(head) == b"less"
        assert worker.gone(), "the upload was not stopped"
    assert rig.ended(str(head.field("Ngpu-Task")))["status"] == "failed"


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("when", ["before the reply", "in its middle", "in the upload", "in an upload nobody reads"])
def test_a_client_that_leaves_ends_the_workers_call_within_a_second(rig: Rig, when: str, reset: bool) -> None:
    client = rig.connect()
    if "upload" in when:
        client.send(request("/proxy/x", f"Content-Length: {LARGE}", method="POST"))
        if "nobody" in when:  # until everything on the way is full
            client.sock.settimeout(0.5)
            with pytest.raises(TimeoutError):
                while True:
                    client.sock.sendall(PIECE)
    else:
        client.send(request("/proxy/x"))
    worker, _ = rig.worker.take()
    if when == "in its middle":
        worker.send(CHUNKED + chunk(b"1"))
        client.head()
        assert client.chunk() == b"1"
    before = rig.listed()[-1]
    if reset:
        client.reset()
    else:
        client.close()
    watch = Stopwatch()
    if "nobody" in when and reset:  # and nobody reads now; a FIN would wait behind what the client has sent
        assert rig.ended(before)["status"] == "cancelled"
    else:
        assert worker.gone()
    assert watch.seconds() < 1.0
    assert worker.gone()
    assert rig.ended(before)["status"] == "cancelled"
    eventually(lambda: rig.in_flight() == 0, "a free slot")


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_worker_that_dies_in_the_middle_leaves_no_reply_that_looks_whole(rig: Rig, framing: str, reset: bool) -> None:
    with rig.ask() as client:
        worker, _ = rig.worker.take()
        worker.send(
            CHUNKED + chunk(b"some") if framing == "chunked" else b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsome"
        )
        head = client.head()
        assert (client.chunk() if framing == "chunked" else client.exactly(4)) == b"some"
        if reset:
            worker.reset()
        else:
            worker.close()
        assert client.rest() == b"", "the end of a body, or another reply"
    record = rig.ended(str(head.field("Ngpu-Task")))
    assert record["status"] == "failed" and "in the middle of its reply" in record["reason"]
    line = eventually(
        lambda: next((one for one in rig.log_lines() if one.get("task_id") == head.field("Ngpu-Task")), None),
        "a line in the log",
    )
    assert line["status"] == 499


def test_a_truncated_reply_to_http_1_0_is_reset(rig: Rig) -> None:
    with rig.ask(version="1.0") as client:
        worker, _ = rig.worker.take()
        worker.send(CHUNKED + chunk(b"some"))
        client.head()
        assert client.exactly(4) == b"some"
        worker.reset()
        with pytest.raises(ConnectionResetError):
            client.sock.recv(1)


def test_a_call_on_which_nothing_moves_is_cut(rig: Rig) -> None:
    client = rig.ask(credential=OTHER)
    worker, _ = rig.worker.take()
    assert "did not begin its reply" in rig.refused(client, 504)  # after its timeout
    assert worker.gone()
    with rig.ask(credential=OTHER) as client:
        worker, _ = rig.worker.take()
        worker.send(CHUNKED)
        client.head()
        for _ in range(14):  # longer than idle_timeout, and never idle for nearly as long
            assert client.is_silent(0.1)
            worker.send(chunk(b"tick"))
            assert client.chunk() == b"tick"
        assert client.rest() == b""
        assert worker.gone()


def test_a_client_that_stands_still_is_not_the_replicas_fault(rig: Rig) -> None:
    broke = rig.metric('ngpu_upstream_calls_total{result="broke"')
    client = rig.connect()
    client.send(request("/proxy/x", "Content-Length: 4", method="POST", credential=OTHER) + b"b")
    worker, _ = rig.worker.take()
    assert "The client sent" in rig.refused(client, 408)
    assert worker.rest() == b"b"
    client = rig.connect(SO_RCVBUF=4096)
    client.send(request("/proxy/x", credential=OTHER))
    worker, _ = rig.worker.take()
    worker.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
    with pytest.raises(OSError, match=r"reset|pipe"):
        for _ in range(LARGE // len(PIECE)):
            worker.send(PIECE)
    assert rig.metric('ngpu_upstream_calls_total{result="broke"') == broke
    client.close()


def test_a_client_with_a_small_window_slows_the_worker_down(rig: Rig) -> None:
    client = rig.connect(SO_RCVBUF=4096)
    client.send(request("/proxy/x"))
    worker, _ = rig.worker.take()
    worker.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
    worker.sock.settimeout(1.0)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < LARGE:
            sent += worker.sock.send(PIECE)
    assert sent < 32 * MIB
    client.close()
    assert worker.gone()
