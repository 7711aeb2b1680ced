"""Raw calls over HTTP/2: streams in both directions, each at the pace of who reads it, and clients that people use."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests
from h2_client import Fields, H2Client, client_context, head
from processes import find_free_port
from raw_rig import CHUNKED, ID, OK, Rig, Wire, chunk, configuration, eventually, rig_of, workspace
from stopwatch import Stopwatch
from wss import refusal

MIB = 1024 * 1024
KEYED = (b"authorization", b"Bearer " + ID.encode())


class Served:
    """A rig whose gateway listens with TLS."""

    def __init__(self, rig: Rig, port: int, pem: Path) -> None:
        self.rig = rig
        self.port = port
        self.pem = pem
        self.url = f"https://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("http2")
    pem, port = folder / "server.pem", find_free_port()
    subject = ["-subj", "/CN=localhost", "-days", "2", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(pem), "-out", str(pem)]
    subprocess.run(["openssl", "req", "-x509", *subject, *kind], check=True, capture_output=True, timeout=60)
    plain = f"tcp:{find_free_port()}:interface=127.0.0.1"
    listen = [plain, f"ssl:{port}:privateKey={pem}:interface=127.0.0.1"]
    with rig_of(folder, 1, lambda ports: configuration(workspace(ID, *ports), listen=listen)) as rig:
        yield Served(rig, port, pem)


def asked(method: bytes = b"GET", *more: tuple[bytes, bytes]) -> Fields:
    return head(method, b"/proxy/x?a=1", KEYED, *more)


def iter_body(wire: Wire, size: int) -> Iterator[bytes]:
    """So many bytes, without the copies of `Wire.exactly`."""
    size -= len(wire.received)
    yield wire.take(len(wire.received))
    while size:
        piece = wire.sock.recv(min(size, 65536))
        assert piece
        size -= len(piece)
        yield piece


def test_the_worker_gets_plain_http_1_and_the_client_its_reply(served: Served) -> None:
    with H2Client(served.port) as client:
        fields = (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"te", b"trailers"), (b"x-own", b"one")
        number = client.ask(asked(b"POST", *fields), body=b"body")
        worker, sent = served.rig.worker.take()
        assert sent.line == "POST /x?a=1 HTTP/1.1"
        assert worker.body(sent) == b"body"
        assert sent.field("Host") == "gw.test"
        assert sent.field("Cookie") == "a=1; b=2"
        assert sent.field("X-Own") == "one"
        assert sent.field("X-Forwarded-Proto") == "https"
        assert sent.names.isdisjoint({"te", "authorization", ":authority", "connection"})
        worker.send(b"HTTP/1.1 201 Created\r\nX-Theirs: a\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nback")
        reply = client.reply(number)
        served.rig.worker.keep(worker)
    assert (reply.status, bytes(reply.body)) == (201, b"back")
    assert reply.fields[b"x-theirs"] == b"a"
    assert reply.fields[b"content-length"] == b"4"
    assert reply.fields[b"ngpu-status"] == b"worker"
    assert reply.fields.keys().isdisjoint({b"connection", b"transfer-encoding", b"keep-alive"})


def test_events_come_one_by_one_and_a_reset_ends_the_call_and_nothing_else(served: Served) -> None:
    with H2Client(served.port) as client:
        number, other = client.ask(asked()), client.ask(asked())
        (worker, _), (second, _) = served.rig.worker.take(), served.rig.worker.take()
        for wire in (worker, second):
            wire.send(CHUNKED)
        replies = client.replies
        for count in range(1, 6):
            worker.send(chunk(b"%d" % count))
            second.send(chunk(b"-"))
            client.until(lambda wanted=count: all(len(each.body) == wanted for each in replies.values()))
        mine, theirs = (worker, second) if replies[number].body == b"12345" else (second, worker)
        client.frames.reset_stream(number, 8)
        client.flush()
        watch = Stopwatch()
        assert mine.gone()
        assert watch.seconds() < 1.0
        theirs.send(chunk(b"last") + b"0\r\n\r\n")
        assert client.reply(other).ended
        served.rig.worker.keep(theirs)
    eventually(lambda: served.rig.in_flight() == 0, "free slots")


def test_an_upload_goes_on_only_as_the_worker_reads_and_a_download_as_the_client_does(served: Served) -> None:
    """16 MiB each way past someone who stands still for a while: the gateway does not take them in meanwhile."""
    size = 16 * MIB
    with H2Client(served.port, greedy=False) as client:
        number = client.ask(asked(b"PUT", (b"content-length", b"%d" % size)), ended=False)
        worker, _ = served.rig.worker.take()
        before = served.rig.memory("VmRSS")
        done = threading.Event()

        def upload() -> None:
            client.send(number, b"x" * size, True)
            done.set()

        thread = threading.Thread(target=upload)
        thread.start()
        time.sleep(0.5)
        assert not done.is_set()
        assert served.rig.memory("VmRSS") - before < 8 * MIB
        assert b"".join(iter_body(worker, size)) == b"x" * size
        thread.join(20)
        assert done.is_set()
        worker.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        worker.sock.settimeout(0.5)
        taken = 0
        with pytest.raises(TimeoutError):  # until the sockets and the gateway are full
            while taken < size:
                taken += worker.sock.send(b"y" * 65536)
        reply = client.replies[number]
        client.until(lambda: len(reply.body) == 65535)
        assert served.rig.memory("VmRSS") - before < 16 * MIB
        assert taken < size - 4 * MIB
        client.greedy = True
        client.frames.acknowledge_received_data(65535, number)
        worker.sock.settimeout(10)
        thread = threading.Thread(target=worker.send, args=(b"y" * (size - taken),))
        thread.start()
        client.reply(number)
        thread.join(20)
        served.rig.worker.keep(worker)
    assert reply.body == b"y" * size
    assert reply.ended


def test_a_client_of_httpx_has_many_calls_on_one_connection(served: Served) -> None:
    with httpx.Client(http2=True, verify=client_context(str(served.pem)), timeout=10) as client:
        done: list[str] = []

        def call(number: int) -> None:
            reply = client.post(f"{served.url}/proxy/{number}", headers={"Authorization": ID}, content=b"%d" % number)
            done.append(f"{reply.http_version} {reply.text}")

        threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        wires = [served.rig.worker.take() for _ in threads]  # all at once: nobody was answered yet
        for worker, sent in wires:
            body = worker.body(sent)
            worker.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            served.rig.worker.keep(worker)
        for thread in threads:
            thread.join(10)
        assert sorted(done) == [f"HTTP/2 {number}" for number in range(4)]
        refused = client.get(f"{served.url}/proxy/x", headers={"Authorization": "wrong"})
        assert (refused.status_code, refused.http_version) == (401, "HTTP/2")
        listed = client.get(f"{served.url}/user/queryTaskList?limit=1", headers={"Authorization": ID})
        assert listed.status_code == 200


def test_curl(served: Served, tmp_path: Path) -> None:
    """Uploads, HEAD, `Expect`, and HTTP/1.1 for who wants that."""
    body = tmp_path / "body"
    body.write_bytes(b"z" * MIB)

    def curl(*more: str) -> subprocess.Popen[bytes]:
        form = ["-w", "%{http_version} %{http_code}", "-m", "10", "-H", f"Authorization: {ID}"]
        line = ["curl", "-s", "--cacert", str(served.pem), *form, *more, f"{served.url}/proxy/y"]
        return subprocess.Popen(line, stdout=subprocess.PIPE)

    for more, expected in (
        (["-T", str(body)], b"2 200"),
        (["-T", str(body), "-H", "Expect: 100-continue"], b"2 200"),
        (["--http1.1"], b"1.1 200"),
        (["-I"], b"2 200"),
    ):
        with curl(*more) as running:
            worker, sent = served.rig.worker.take()
            if "Expect: 100-continue" in more:
                worker.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert worker.body(sent) == (b"z" * MIB if "-T" in more else b"")
            worker.send(OK if "-I" not in more else OK[:-2])
            served.rig.worker.keep(worker)
            out, _ = running.communicate(timeout=10)
            assert out.endswith(expected), out


def test_a_websocket_is_for_http_1(served: Served) -> None:
    """RFC 8441 is not offered: clients fall back by themselves, as they do not offer h2 for one."""
    with H2Client(served.port) as client:
        fields = head(b"CONNECT", b"/proxy/ws", (b":protocol", b"websocket"))
        client.until(lambda: client.frames.remote_settings)
        number = client.ask([fields[0], fields[4], *fields[1:4]])
        assert client.reply(number).reset == 1
    assert refusal(served.port, client_context()) == 401


def test_what_is_written_of_a_call(served: Served) -> None:
    with H2Client(served.port) as client:
        number = client.ask(head(b"GET", b"/none"))
        assert client.reply(number).status == 404
    line = eventually(
        lambda: next((each for each in served.rig.log_lines() if each.get("path") == "/none"), None), "its line"
    )
    assert (line["status"], line["method"]) == (404, "GET")
    assert line["bytes_in"] > 20
    assert line["bytes_out"] > 100
    assert json.dumps(line)
    assert requests.get(served.rig.gateway.url + "/none", timeout=5).status_code == 404
