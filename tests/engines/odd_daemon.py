"""A server that is no Docker engine: it answers each connection with bytes of a test's own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet import reactor

from ngpu.interfaces import PluginContext
from ngpu.plugins.docker import docker

VERSION = b'HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n{"ApiVersion":"1.41","MinAPIVersion":"1.12"}'


def ok(body: bytes) -> bytes:
    """A reply with a body."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class OddDaemon:
    """Sends ``replies`` one after another, the last one again and again; ``None`` says nothing for ever.

    :ivar asked: the requests' heads.
    """

    def __init__(self, *replies: bytes | None, endless: bytes = b"") -> None:
        self.asked: list[bytes] = []
        self._replies, self._endless = replies, endless
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._number = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                self._open.append(stream)
                threading.Thread(target=self._answer, args=(stream,), daemon=True).start()

    def _answer(self, stream: socket.socket) -> None:
        with suppress(OSError):
            head = b""
            while piece := stream.recv(65536):
                head += piece
                if b"\r\n\r\n" not in head:
                    continue
                self.asked.append(head)
                head = b""
                reply = self._replies[min(self._number, len(self._replies) - 1)]
                self._number += 1
                if reply is not None:
                    stream.sendall(reply)
                while reply is not None and self._endless and self._number >= len(self._replies):
                    stream.sendall(self._endless)

    def close(self) -> None:
        """End it and its connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for stream in self._open:
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
            stream.close()


@contextmanager
def odd_daemon(*replies: bytes | None, endless: bytes = b"") -> Iterator[OddDaemon]:
    """One for a test."""
    daemon = OddDaemon(*replies, endless=endless)
    try:
        yield daemon
    finally:
        daemon.close()


def at_port(port: int, **options: Any) -> Any:
    """What the plugin makes for an engine at a port, without TLS."""
    options = {"url": f"tcp://127.0.0.1:{port}", "timeout": "1s", **options}
    return docker.from_options(options, PluginContext(reactor, None, "."))
