"""A receiver of webhooks: a real HTTP server that keeps what it gets, and answers as it is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Answer = tuple[int, Mapping[str, str]]


@dataclass(frozen=True)
class Delivery:
    """What came: ``path`` with its query, ``headers`` by lower-case name, ``body`` as bytes."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def signed_with(self, secret: str) -> bool:
        """Whether the signature is right, as Standard Webhooks has it."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        right = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{right}" in self.headers["webhook-signature"].split(" ")


class Receiver:
    """Listens on a port of 127.0.0.1.

    :param answer: status and fields for a delivery and how many came before it; may block, which hangs this delivery.
    :ivar at_once: deliveries that it works on now.
    """

    def __init__(
        self, answer: Callable[[Delivery, int], Answer] | None = None, tls: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        self.deliveries: list[Delivery] = []
        self.answer = answer or (lambda delivery, before: (200, {}))
        self.at_once = self.most_at_once = 0
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.receiver = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self.url = f"http{'' if tls is None else 's'}://127.0.0.1:{self.port}/hook?a=1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def hang(self, delivery: Delivery, before: int) -> Answer:
        """An answer that does not come until the receiver ends, or is `released`."""
        self.released.wait(60)
        return 200, {}

    def of(self, task_id: str) -> list[Delivery]:
        """What came about a task."""
        return [each for each in tuple(self.deliveries) if each.json["taskID"] == task_id]

    def take(self, delivery: Delivery) -> Answer:
        with self._lock:
            before = len(self.deliveries)
            self.deliveries.append(delivery)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return self.answer(delivery, before)
        finally:
            with self._lock:
                self.at_once -= 1


class _Server(ThreadingHTTPServer):
    receiver: Receiver
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up, or is not believed to be who he is, is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, fields = self.server.receiver.take(Delivery(self.path, headers, body))
        self.send_response(status)
        for name, value in {"Content-Length": "2", **fields}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: Any) -> None:
        """Nothing is printed."""
