"""Gateways behind TLS: who vouches for them, and how they are found."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from command_rig import typed
from tls_files import write_certificate

from ngpu.cli.finding import url_of


class Answer(BaseHTTPRequestHandler):
    """An admin listener without nodes."""

    def do_GET(self) -> None:
        body = json.dumps({"result_code": 200, "msg": "success", "nodes": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Its URL, and its certificate."""
    file = write_certificate(tmp_path, "127.0.0.1", timedelta(days=1))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}", file
    server.shutdown()
    thread.join()
    server.server_close()


def test_who_vouches_for_a_gateway_is_named_by_the_environment(listener: tuple[str, Path], tmp_path: Path) -> None:
    url, certificate = listener
    token = tmp_path / "token"
    token.write_text("token\n")
    named = ("nodes", "--admin", url, "--token-file", str(token))
    stranger = typed(*named)
    assert stranger.code == 3 and "certificate verify failed" in stranger.err
    assert typed(*named, SSL_CERT_FILE=str(certificate)).out == "no nodes are configured\n"
    # it answers, and is no public listener
    known = typed("wait", "x", "--url", url, SSL_CERT_FILE=str(certificate))
    assert known.code == 3 and "certificate" not in known.err


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("tcp:8081:interface=127.0.0.1", "http://127.0.0.1:8081"),
        ("tcp6:port=8081:interface=\\:\\:1", "http://[::1]:8081"),
        ("ssl:8443:interface=0.0.0.0:privateKey=k:certKey=c", "https://localhost:8443"),
        ("unix:/run/ngpu.sock", None),
    ],
)
def test_the_url_of_an_endpoint(endpoint: str, url: str | None) -> None:
    assert url_of((endpoint,)) == url
