"""A worker that does what the call's own query says, in a thread of its own, and keeps a journal of its calls.

By default it echoes a call as JSON. The query (of ``paramUrl``) may say otherwise:

==================  ====================================================================================
``marker``          names the call in the journal
``delay``           seconds before it answers
``status``          the reply's status; default 200
``type``            its Content-Type; default application/json; empty: none
``body``            its body in base64url, in place of the echo
``size``            a body of so many bytes of letters; with ``object=1`` as the one string of a JSON object,
                    with ``binary=1`` in bytes of every value instead
``location``        a Location field
``cut``             ``reset``: resets the connection in place of a reply; ``close``: closes it; ``middle``: closes it
                    in the middle of the reply's body; ``head``: in the middle of its head
``once``            only the first call of this marker at any worker of the process is cut
``pace``            seconds between the pieces of the body
==================  ====================================================================================

``GET /`` is its health check.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import httptools

T = TypeVar("T")
PIECE = 64 * 1024
LETTERS = bytes(range(ord("a"), ord("z") + 1))
EVERY_BYTE = bytes(range(256))
STARTED, ENDED, CUT = "start", "end", "cut"


def filled(size: int, pattern: bytes = LETTERS) -> bytes:
    """What a body of ``size`` holds."""
    return (pattern * (size // len(pattern) + 1))[:size]


def script(path: str = "act", **what: object) -> str:
    """A ``paramUrl`` that tells the worker what to do."""
    body = what.get("body")
    if isinstance(body, bytes):
        what["body"] = base64.urlsafe_b64encode(body).decode()
    return f"{path}?{urlencode(what, quote_via=quote)}"  # type: ignore[type-var]


@dataclass(frozen=True)
class Line:
    """One line of the journal: ``event`` is start, end or cut; ``at_once`` counts the calls in work after it."""

    event: str
    marker: str
    at: float
    at_once: int


@dataclass
class Call:
    """A request as it came."""

    method: str = ""
    target: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def orders(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    def header(self, name: str) -> str | None:
        """The one field of that name; two of them are an error."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} came twice"
        return values[0] if values else None


class ScriptedWorker:
    """Listens from ``start`` to ``stop``; ``refuse`` and ``listen`` turn connections away and let them in again.

    ``healthy`` is what health checks are told; ``defaults`` stand for what a call does not say itself.
    """

    cut_once: ClassVar[set[str]] = set()

    def __init__(self) -> None:
        self.journal: list[Line] = []
        self.calls: list[Call] = []
        self.checks = 0
        self.healthy = True
        self.defaults: dict[str, str] = {}
        self.at_once = 0
        self.port = 0
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted worker", daemon=True)

    def start(self) -> ScriptedWorker:
        self._thread.start()
        self.listen()
        return self

    def stop(self) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def listen(self) -> None:
        """Take connections; always at the same port."""
        self._do(self._listen)

    def refuse(self) -> None:
        """Close the port and every connection, as a killed process does."""
        self._do(self._refuse)

    def stop_listening(self) -> None:
        """Close the port, and each connection after its next reply, which says so.

        One on which nothing comes stays open: a request may be on its way there.
        """
        self._do(self._stop_listening)

    @property
    def listening(self) -> bool:
        return self._server is not None

    @property
    def most_at_once(self) -> int:
        return max((line.at_once for line in self.journal), default=0)

    def markers(self, event: str = STARTED) -> list[str]:
        """The markers of calls that have begun, ended or lost their caller, in that order."""
        return [line.marker for line in tuple(self.journal) if line.event == event]

    def call(self, marker: str) -> Call:
        """The one call of that marker."""
        (found,) = [call for call in self.calls if call.orders.get("marker") == marker]
        return found

    def note(self, event: str, marker: str) -> None:
        self.at_once += {STARTED: 1, ENDED: -1, CUT: -1}[event]
        self.journal.append(Line(event, marker, time.monotonic(), self.at_once))

    def _do(self, work: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        for _ in "ab":
            await asyncio.sleep(0)  # connections that are there already are taken: to close would reset them
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _refuse(self) -> None:
        await self._stop_listening()
        for connection in tuple(self.connections):
            connection.reset()
        await asyncio.sleep(0)


class _Connection(asyncio.Protocol):
    """One connection: requests in, one at a time, and replies out."""

    transport: asyncio.Transport

    def __init__(self, worker: ScriptedWorker) -> None:
        self._worker = worker
        self._parser = httptools.HttpRequestParser(self)
        self._call = Call()
        self._running: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._worker.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._worker.connections.discard(self)
        if self._running is not None:
            self._running.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._call = Call()

    def on_url(self, url: bytes) -> None:
        self._call.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._call.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, data: bytes) -> None:
        self._call.body += data

    def on_message_complete(self) -> None:
        self._call.method = self._parser.get_method().decode()
        self._running = asyncio.get_running_loop().create_task(self._serve(self._call))

    def reset(self) -> None:
        """End the connection with a RST."""
        sock: socket.socket = self.transport.get_extra_info("socket")
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def _serve(self, call: Call) -> None:
        if call.method == "GET" and call.target == "/":
            self._worker.checks += 1
            await self._reply(200 if self._worker.healthy else 503, b"{}", "application/json", {})
            return
        orders = {**self._worker.defaults, **call.orders}
        marker = orders.get("marker", "")
        if "once" in orders and marker in self._worker.cut_once:
            del orders["cut"]
        self._worker.cut_once.add(marker)
        self._worker.calls.append(call)
        self._worker.note(STARTED, marker)
        event = CUT
        try:
            await asyncio.sleep(float(orders.get("delay", 0)))
            if orders.get("cut") == "reset":
                self.reset()
            elif orders.get("cut") == "close":
                self.transport.close()
            else:
                status = int(orders.get("status", 200))
                await self._reply(status, _body(call, orders), orders.get("type", "application/json"), orders)
            event = ENDED
        finally:
            self._worker.note(event, marker)

    async def _reply(self, status: int, body: bytes, content_type: str, orders: dict[str, str]) -> None:
        head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        if not self._worker.listening:
            head.append("Connection: close")
        if content_type:
            head.append(f"Content-Type: {content_type}")
        if "location" in orders:
            head.append(f"Location: {orders['location']}")
        raw = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        if orders.get("cut") == "head":
            self.transport.write(raw[: len(raw) // 2])
            self.transport.close()
            return
        self.transport.write(raw)
        end = len(body) // 2 if orders.get("cut") == "middle" else len(body)
        pace = float(orders.get("pace", 0))
        for start in range(0, end, PIECE):
            await self._writable.wait()
            self.transport.write(body[start : min(start + PIECE, end)])
            if pace:
                await asyncio.sleep(pace)
        await self._writable.wait()
        if end < len(body) or not self._worker.listening:
            self.transport.close()


def _body(call: Call, orders: dict[str, str]) -> bytes:
    if "body" in orders:
        return base64.urlsafe_b64decode(orders["body"])
    if "size" in orders:
        body = filled(int(orders["size"]), EVERY_BYTE if orders.get("binary") else LETTERS)
        return b'{"image":"' + body + b'"}' if orders.get("object") else body
    echo = {
        "method": call.method,
        "target": call.target,
        "headers": call.headers,
        "body": bytes(call.body).decode("latin-1"),
    }
    return json.dumps(echo).encode()
