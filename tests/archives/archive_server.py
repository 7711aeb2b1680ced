"""A real HTTP server for archives, whose connections break, stall, and redirect by a test's word."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Served:
    """What it does. ``cuts`` are the numbers of body bytes after which connections break, one after another.

    ``conditions``: whether it knows If-Range. ``trickle``: it sends 100 bytes every so many seconds. ``statuses``
    answer the first requests; ``redirects`` maps paths to where they lead.
    """

    data: bytes
    etag: str | None = '"1"'
    modified: str | None = None
    ranges: bool = True
    conditions: bool = True
    trickle: float = 0.0
    length: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    stall: threading.Event | None = None
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    sent: int = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        served: Served = self.server.served
        asked_range, condition = self.headers.get("Range"), self.headers.get("If-Range")
        served.asked.append((self.path, asked_range, condition))
        self.close_connection = True
        if self.path in served.redirects:
            self.send_response(302)
            self.send_header("Location", served.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if served.statuses and (status := served.statuses.pop(0)) != 200:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        found = re.fullmatch(r"bytes=(\d+)-", asked_range or "")
        if found and served.ranges and (not served.conditions or condition in (served.etag, served.modified)):
            start = int(found[1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(served.data) - 1}/{len(served.data)}")
        if served.length:
            self.send_header("Content-Length", str(len(served.data) - start))
        if served.etag:
            self.send_header("ETag", served.etag)
        if served.modified:
            self.send_header("Last-Modified", served.modified)
        self.end_headers()
        self._send(served, start)

    def _send(self, served: Served, start: int) -> None:
        cut = served.cuts.pop(0) if served.cuts else len(served.data)
        step = 100 if served.trickle else 65536
        with suppress(OSError):
            for at in range(start, min(start + cut, len(served.data)), step):
                piece = served.data[at : min(at + step, start + cut)]
                time.sleep(served.trickle)
                self.wfile.write(piece)
                served.sent += len(piece)
            if served.stall is not None:
                served.stall.wait(30)

    def log_message(self, *_: Any) -> None:
        """Not to the console."""


@contextmanager
def archive_server(served: Served, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[str]:
    """Its URL, while it serves."""
    server: Any = ThreadingHTTPServer((host, 0), _Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None
    server.served = served
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://{host}:{server.server_address[1]}"
    finally:
        if served.stall is not None:
            served.stall.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
