"""Raw calls over TLS, whose transport closes as a whole."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import find_free_port
from raw_rig import CHUNKED, ID, OK, Rig, Wire, chunk, configuration, eventually, request, rig_of, workspace
from stopwatch import Stopwatch
from wss import refusal

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Served:
    """A rig whose gateway listens with TLS, too."""

    def __init__(self, rig: Rig, port: int) -> None:
        self.rig = rig
        self.port = port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def ask(self, *fields: str, **more: Any) -> Wire:
        raw = socket.create_connection(("127.0.0.1", self.port), 10)
        wire = Wire(self.context.wrap_socket(raw))
        wire.send(request("/proxy/x", *fields, **more))
        return wire


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    make_certificate(key, certificate)
    plain, port = find_free_port(), find_free_port()
    listen = [
        f"tcp:{plain}:interface=127.0.0.1",
        f"ssl:{port}:privateKey={key}:certKey={certificate}:interface=127.0.0.1",
    ]
    with rig_of(folder, 1, lambda ports: configuration(workspace(ID, *ports), listen=listen)) as rig:
        yield Served(rig, port)


def make_certificate(key: Path, certificate: Path) -> None:
    subject = ["-subj", "/CN=localhost", "-days", "2"]
    kind = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *subject, *kind], check=True, capture_output=True, timeout=60)


def test_the_worker_is_told_that_it_was_https(served: Served) -> None:
    with served.ask(method="POST", body=b"body") as client:
        worker, head = served.rig.worker.take()
        assert head.field("X-Forwarded-Proto") == "https"
        assert worker.body(head) == b"body"
        worker.send(OK)
        served.rig.worker.keep(worker)
        assert client.head().status == 200


def test_events_come_one_by_one_and_a_client_that_leaves_ends_the_call(served: Served) -> None:
    client = served.ask()
    worker, _ = served.rig.worker.take()
    worker.send(CHUNKED)
    client.head()
    for number in range(10):
        worker.send(chunk(b"%d" % number))
        assert client.chunk() == b"%d" % number
    watch = Stopwatch()
    client.close()
    assert worker.gone()
    assert watch.seconds() < 1.0


def test_a_client_that_leaves_while_nobody_reads_its_upload(served: Served) -> None:
    client = served.ask("Content-Length: 268435456", method="POST")
    client.sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        while True:
            client.sock.sendall(b"x" * 65536)
    _, head = served.rig.worker.take()
    assert head.line == "POST /x HTTP/1.1"
    task_id = served.rig.listed()[-1]
    client.reset()
    watch = Stopwatch()
    assert served.rig.ended(task_id)["status"] == "cancelled"
    assert watch.seconds() < 1.5


def test_a_websocket_and_its_ends(served: Served) -> None:
    asked = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")
    for first in ("client", "worker"):
        client = served.ask(*asked)
        worker, _ = served.rig.worker.take()
        worker.send(SWITCH)
        task_id = str(client.head().field("Ngpu-Task"))
        client.send(b"there")
        assert worker.exactly(5) == b"there"
        worker.send(b"back" * 100_000)
        assert client.exactly(400_000) == b"back" * 100_000
        if first == "client":
            assert isinstance(client.sock, ssl.SSLSocket)
            client.sock.unwrap().close()  # with a close_notify; without one it counts as broken off
            assert worker.gone()
        else:
            worker.close()
            assert client.gone()
            client.close()
        assert served.rig.ended(task_id)["status"] == "finished"
    eventually(lambda: served.rig.in_flight() == 0, "free slots")


def test_wss_refused_by_the_gateway(served: Served) -> None:
    assert refusal(served.port, served.context) == 401
