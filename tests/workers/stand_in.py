"""What the stand-ins of workers share: a listener that can be killed and started again, and a journal of its calls.

They are written from the facts of the wire contract (§5, §6) and know nothing of ngpu. What the real programs do in
seconds they do in hundredths.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit


class Answer(NamedTuple):
    """A reply: JSON, or bytes of a type."""

    document: Any
    status: int = 200
    type: str = "application/json"


class Line(NamedTuple):
    """A call that came: method, path, the task id of its query, its JSON."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


def missing(*fields: str) -> Answer:
    """FastAPI's answer to a body without these."""
    return Answer(
        {"detail": [{"type": "missing", "loc": ["body", name], "msg": "Field required"} for name in fields]}, 422
    )


class Listener:
    """An HTTP server in threads of its own, always at the same port."""

    def __init__(self, answer: Callable[[Line], Answer]) -> None:
        self.port = 0
        self._answer = answer
        self._server: ThreadingHTTPServer | None = None
        self._connections: set[socket.socket] = set()

    def start(self) -> Self:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                parts = urlsplit(self.path)
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    body = json.loads(data) if data else None
                except ValueError:
                    body = data.decode("latin-1")
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                told = answer(Line(self.command, parts.path, query, body, dict(self.headers)))
                out = told.document if isinstance(told.document, bytes) else json.dumps(told.document).encode()
                self.send_response(told.status)
                self.send_header("Content-Type", told.type)
                self.send_header("Content-Length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)

            do_GET = do_POST = do_PUT = do_DELETE = do

            def log_message(self, *_: Any) -> None:
                pass

        connections = self._connections

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def process_request(self, request: Any, client_address: Any) -> None:
                connections.add(request)
                super().process_request(request, client_address)

            def shutdown_request(self, request: Any) -> None:
                connections.discard(request)
                super().shutdown_request(request)

            def handle_error(self, *_: Any) -> None:
                """A gateway that is killed leaves its calls; that is no news."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            for connection in tuple(self._connections):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class StandIn:
    """A worker: its API on one port, its files on a second one. ``GET /`` is its health check."""

    def __init__(self) -> None:
        self.journal: list[Line] = []
        self.api = Listener(self._serve)
        self.files = Listener(self._file)
        self.kept: dict[str, tuple[bytes, str]] = {}

    @property
    def port(self) -> int:
        return self.api.port

    def start(self) -> Self:
        self.api.start()
        self.files.start()
        return self

    def stop(self) -> None:
        self.api.stop()
        self.files.stop()

    def calls(self, method: str, path: str) -> list[Line]:
        return [line for line in tuple(self.journal) if (line.method, line.path) == (method, path)]

    def keep(self, name: str, data: bytes, kind: str) -> str:
        """Keep a file, and tell its URL."""
        self.kept["/" + name] = data, kind
        return f"http://127.0.0.1:{self.files.port}/{name}"

    def answer(self, line: Line) -> Answer:
        """What the worker says; its own business."""
        raise NotImplementedError

    def _serve(self, line: Line) -> Answer:
        if (line.method, line.path) == ("GET", "/"):
            return Answer({"status": "ok"})
        self.journal.append(line)
        return self.answer(line)

    def _file(self, line: Line) -> Answer:
        found = self.kept.get(line.path)
        return Answer({"detail": "Not Found"}, 404) if found is None else Answer(found[0], 200, found[1])


def wait_for(true: Callable[[], Any], within: float = 15.0) -> Any:
    deadline = time.monotonic() + within
    while not (found := true()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)
    return found
