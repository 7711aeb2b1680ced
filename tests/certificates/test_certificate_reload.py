"""A gateway of two processes whose certificate is renewed while it serves; what OpenSSL's client makes of its TLS."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from certificate_files import DAY, Authority, expiry
from h2_client import client_context
from processes import Gateway, find_free_port, running
from redis_server import block

PATIENCE = 20.0


class Served:
    """The gateway, and its files."""

    def __init__(self, folder: Path, authority: Authority, gateway: Gateway, port: int) -> None:
        self.folder = folder
        self.authority = authority
        self.gateway = gateway
        self.port = port
        self.context = client_context(str(authority.file), "http/1.1")

    def connect(self) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", self.port), 10)
        return self.context.wrap_socket(raw, server_hostname="127.0.0.1")

    def ask(self, wire: ssl.SSLSocket) -> None:
        wire.sendall(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.recv(65536).startswith(b"HTTP/1.1 404")

    def shown(self) -> float:
        """The end of the certificate that a new connection gets."""
        with self.connect() as wire:
            told = wire.getpeercert()
            assert told is not None
            return ssl.cert_time_to_seconds(str(told["notAfter"]))

    def metric(self, name: str) -> list[float]:
        text = requests.get(self.gateway.admin + "/metrics", timeout=10).text
        return [float(each) for each in re.findall(rf"^{name}\{{.*fullchain\.pem.*\}} (\S+)$", text, re.MULTILINE)]

    def openssl(self, *more: str) -> subprocess.CompletedProcess[str]:
        line = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-CAfile", str(self.authority.file), *more]
        return subprocess.run(line, input="", capture_output=True, encoding="latin-1", timeout=20, check=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("reload")
    authority, port = Authority(folder), find_free_port()
    write(folder, *authority.issue())
    files = f"privateKey={folder}/privkey.pem:certKey={folder}/fullchain.pem"
    config = {
        "listen": [f"tcp:{find_free_port()}:interface=127.0.0.1", f"ssl:{port}:{files}:interface=127.0.0.1"],
        "admin": {"listen": [f"tcp:{find_free_port()}:interface=127.0.0.1"], "open_metrics": True},
        "store": block(),
        "processes": 2,
    }
    with running(folder) as processes:
        gateway = processes.start_gateway(config, folder)
        eventually(lambda: "2 workers serve" in gateway.log.read_text(), "both are there")
        yield Served(folder, authority, gateway, port)
        assert "Traceback" not in gateway.log.read_text(), gateway.tail()


def write(folder: Path, chain: bytes, key: bytes) -> None:
    for name, data in (("fullchain.pem", chain), ("privkey.pem", key)):
        (folder / f"{name}.new").write_bytes(data)
        (folder / f"{name}.new").replace(folder / name)  # nobody reads an empty one


def eventually(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_a_renewal_under_load_loses_no_request_and_a_broken_one_changes_nothing(served: Served) -> None:
    old = served.shown()
    kept = served.connect()
    served.ask(kept)
    stop, failed, count = threading.Event(), [], [0]

    def load() -> None:
        while not stop.is_set():
            try:
                with served.connect() as wire:
                    served.ask(wire)
                    served.ask(wire)
                count[0] += 1
            except Exception as error:
                failed.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    chain, key = served.authority.issue(DAY * 40)
    write(served.folder, chain, key[:50])
    eventually(lambda: served.metric("ngpu_certificate_refused") == [1, 1], "both say that it is broken")
    assert served.metric("ngpu_certificate_expiry_timestamp_seconds") == [old, old]
    assert served.shown() == old
    write(served.folder, chain, key)
    eventually(lambda: served.metric("ngpu_certificate_expiry_timestamp_seconds") == [expiry(chain)] * 2, "renewed")
    assert served.metric("ngpu_certificate_refused") == [0, 0]
    assert {served.shown() for _ in range(6)} == {expiry(chain)}
    stop.set()
    for thread in threads:
        thread.join(10)
    served.ask(kept)
    kept.close()
    assert failed == []
    assert count[0] > 5
    log = served.gateway.log.read_text()
    assert log.count("holds no private key in PEM: connections still get the certificate from before") == 2
    assert log.count("is renewed: new connections get SHA-256") == 2


def test_what_openssl_says(served: Served) -> None:
    """The intermediate is sent; TLS 1.2 and 1.3 with forward secrecy only; HTTP/2 is agreed on."""
    modern = served.openssl("-alpn", "h2,http/1.1", "-showcerts")
    assert "Verify return code: 0 (ok)" in modern.stdout
    assert "ALPN protocol: h2" in modern.stdout
    assert "Protocol  : TLSv1.3" in modern.stdout or "TLSv1.3" in modern.stdout
    assert modern.stdout.count("BEGIN CERTIFICATE") == 2
    older = served.openssl("-tls1_2", "-alpn", "http/1.1")
    assert re.search(r"Cipher is ECDHE-ECDSA-(AES256-GCM-SHA384|CHACHA20-POLY1305)", older.stdout)
    assert "ALPN protocol: http/1.1" in older.stdout
    assert "Verify return code: 0 (ok)" in older.stdout
    for weak in (
        ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"],
        ["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
    ):
        assert "Cipher is (NONE)" in served.openssl(*weak).stdout, weak
    assert served.openssl("-alpn", "h3").returncode != 0 or "No ALPN negotiated" in served.openssl("-alpn", "h3").stdout
