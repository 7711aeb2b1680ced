"""A Klein application on the server under test, a client that speaks raw bytes, and a reader of replies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from ngpu.errors import PayloadTooLarge, RequestTimeout
from ngpu.http.server import Limits, NgpuRequest, Site, error_body

LIMIT = 1024 * 1024
QUICK = Limits(linger_time=0.5)


class Reply(NamedTuple):
    status: int
    fields: dict[bytes, bytes]
    body: bytes


class App:
    """What the requests reach; it notes who came, and what became of whom."""

    klein = Klein()

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, bytes]] = []
        self.bodies: list[bytes] = []
        self.cancelled = 0
        self.waiting: list[Deferred[bytes]] = []
        self.stuck: list[Deferred[bytes]] = []
        self.requests: list[NgpuRequest] = []

    @klein.handle_errors(PayloadTooLarge)
    def too_large(self, request: NgpuRequest, failure: Failure) -> bytes:
        request.setResponseCode(413)
        return error_body(413, str(failure.value))

    @klein.handle_errors(RequestTimeout)
    def too_slow(self, request: NgpuRequest, failure: Failure) -> bytes:
        request.setResponseCode(408)
        return error_body(408, str(failure.value))

    def _note(self, request: NgpuRequest) -> None:
        self.calls.append((request.method, request.uri))
        self.requests.append(request)

    @klein.route("/early", branch=True)
    async def early(self, request: NgpuRequest) -> bytes:
        """Answers without a look at the body."""
        self._note(request)
        return b"early"

    @klein.route("/work")
    async def work(self, request: NgpuRequest) -> bytes:
        """Reads its body and then works until the test lets it go on."""
        self._note(request)
        self.bodies.append(await request.body.read(LIMIT))
        self.waiting.append(Deferred())
        try:
            return await self.waiting[-1]
        except CancelledError:
            self.cancelled += 1
            raise

    @klein.route("/stream")
    async def stream(self, request: NgpuRequest) -> None:
        """Writes what the test gives it until that is empty."""
        self._note(request)
        request.write(b"first")
        while True:
            self.waiting.append(Deferred())
            data = await self.waiting[-1]
            if not data:
                break
            request.write(data)

    @klein.route("/stuck")
    async def never_reads(self, request: NgpuRequest) -> bytes:
        """Never reads its body."""
        self._note(request)
        self.stuck.append(Deferred())
        return await self.stuck[-1]

    @klein.route("/big")
    def big(self, request: NgpuRequest) -> bytes:
        self._note(request)
        return b"x" * (4 * 1024 * 1024)

    @klein.route("/fail")
    def fail(self, request: NgpuRequest) -> bytes:
        raise ZeroDivisionError("the test wants this")

    @klein.route("/", branch=True)
    async def anything(self, request: NgpuRequest) -> bytes:
        self._note(request)
        body = await request.body.read(LIMIT)
        self.bodies.append(body)
        return b"ok " + body


class NotedSite(Site):
    """Remembers what it was told to log."""

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.ended: list[tuple[NgpuRequest, bool]] = []
        self.refused: list[int] = []

    def log_request(self, request: NgpuRequest, aborted: bool) -> None:
        self.ended.append((request, aborted))

    def log_refused(self, peer_ip: str, status: int, msg: str) -> None:
        self.refused.append(status)


def make_site(clock: Any, limits: Limits = QUICK, raw_path: Callable[[bytes], bool] | None = None) -> tuple[App, Any]:
    app = App()
    extra = {} if raw_path is None else {"raw_path": raw_path}
    return app, NotedSite(app.klein.resource(), clock, limits, **extra)


class Wire(Protocol):
    """A client's connection; `received` is all that came so far."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.closed = False
        self._waiters: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._look()

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self.closed = True
        self._look()

    def _look(self) -> None:
        for waiter in [one for one in self._waiters if one[0]() or self.closed]:
            self._waiters.remove(waiter)
            waiter[1].callback(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds or the connection is closed."""
        from twisted.internet import reactor

        if not condition() and not self.closed:
            waiter: Deferred[None] = Deferred()
            self._waiters.append((condition, waiter))
            await waiter.addTimeout(20, reactor)

    async def until_closed(self) -> bytes:
        await self.until(lambda: self.closed)
        return self.received

    async def replies(self, count: int, methods: tuple[bytes, ...] = ()) -> list[Reply]:
        """Wait for so many complete replies, which must be all that came."""
        await self.until(lambda: len(read_replies(self.received, methods, self.closed)) >= count)
        return read_replies(self.received, methods, self.closed)


class Served:
    """A site that listens on 127.0.0.1."""

    def __init__(self, limits: Limits = QUICK, raw_path: Callable[[bytes], bool] | None = None) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.app, self.site = make_site(reactor, limits, raw_path)
        self.listening: Any = self.reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.port: int = self.listening.getHost().port
        self.wires: list[Wire] = []

    async def connect(self) -> Wire:
        wire = await connectProtocol(HostnameEndpoint(self.reactor, b"127.0.0.1", self.port), Wire())
        wire.transport.setTcpNoDelay(True)
        self.wires.append(wire)
        return wire

    async def send(self, data: bytes) -> Wire:
        wire = await self.connect()
        wire.transport.write(data)
        return wire

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something on the server's side."""
        deadline = self.reactor.seconds() + 20
        while not condition():
            assert self.reactor.seconds() < deadline, "waited too long"
            turned: Deferred[None] = Deferred()
            self.reactor.callLater(0.005, turned.callback, None)
            await turned

    async def stop(self) -> None:
        await self.listening.stopListening()
        for wire in self.wires:
            wire.transport.abortConnection()
        await self.until(lambda: self.site.connections == 0)


class Fake:
    """One connection without a socket, on a clock that the test turns."""

    def __init__(self, limits: Limits = QUICK, raw_path: Callable[[bytes], bool] | None = None) -> None:
        self.clock = Clock()
        self.app, self.site = make_site(self.clock, limits, raw_path)
        self.transport = Transport()
        self.channel = self.site.buildProtocol(None)
        self.channel.makeConnection(self.transport)
        self.transport.protocol = self.channel

    def feed(self, data: bytes) -> None:
        """Bytes come, unless the server does not read or the connection is closed; time stands still."""
        if not self.closed:
            self.channel.dataReceived(data)
            self.turn()

    def turn(self) -> None:
        """Let happen what is to happen now, and what comes of it at once."""
        for _ in range(200):
            self.clock.advance(0)
            if all(call.getTime() > self.clock.seconds() for call in self.clock.getDelayedCalls()):
                break

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)

    @property
    def out(self) -> bytes:
        return self.transport.value()

    @property
    def closed(self) -> bool:
        return bool(self.transport.disconnecting or self.transport.disconnected)

    def replies(self) -> list[Reply]:
        return read_replies(self.out, (), self.closed)

    def leave(self) -> None:
        """The client goes."""
        if not self.transport.disconnected:
            self.transport.disconnected = True
            self.channel.connectionLost(Failure(ConnectionLost()))


class Transport(StringTransport):
    """Tells its protocol about an abort, as real ones do; can be told to take nothing."""

    protocol: Any = None
    disconnected = False

    def abortConnection(self) -> None:
        if not self.disconnected:
            self.disconnected = True
            self.protocol.connectionLost(Failure(ConnectionAborted()))

    @property
    def reading(self) -> bool:
        return bool(self.producerState == "producing")


_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([\x20-\x7e]*)")


def read_replies(data: bytes, methods: tuple[bytes, ...] = (), ended: bool = False) -> list[Reply]:
    """The complete replies in `data`; fails on anything that a strict client would refuse.

    :param methods: of the requests, GET where there are none left.
    :param ended: the connection is closed, so a reply without a length is complete.
    """
    return list(_read(data, methods, ended))


def _read(data: bytes, methods: tuple[bytes, ...], ended: bool) -> Iterator[Reply]:
    number = 0
    while data:
        if data.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            data = data[25:]
            continue
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            return
        status_line, *lines = head.split(b"\r\n")
        match = _STATUS.fullmatch(status_line)
        assert match is not None, status_line
        fields: dict[bytes, bytes] = {}
        for line in lines:
            name, _, value = line.partition(b": ")
            assert name.lower() not in fields, f"two {name!r}"
            fields[name.lower()] = value
        status = int(match[1])
        method = methods[number] if number < len(methods) else b"GET"
        assert not (b"content-length" in fields and b"transfer-encoding" in fields)
        if method == b"HEAD" or status in (204, 304):
            body: bytes | None = b""
        elif b"content-length" in fields:
            size = int(fields[b"content-length"])
            body, rest = (rest[:size], rest[size:]) if len(rest) >= size else (None, b"")
        elif b"transfer-encoding" in fields:
            body, rest = _read_chunked(rest)
        else:
            body, rest = (rest, b"") if ended else (None, b"")
        if body is None:
            return
        yield Reply(status, fields, body)
        data = rest
        number += 1


def _read_chunked(data: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while True:
        line, found, data = data.partition(b"\r\n")
        if not found:
            return None, b""
        size = int(line, 16)
        if len(data) < size + 2:
            return None, b""
        assert data[size : size + 2] == b"\r\n"
        body, data = body + data[:size], data[size + 2 :]
        if size == 0:
            return body, data


@contextmanager
def fake(limits: Limits = QUICK, raw_path: Callable[[bytes], bool] | None = None) -> Iterator[Fake]:
    """A `Fake` whose client goes at the end."""
    one = Fake(limits, raw_path)
    try:
        yield one
    finally:
        one.leave()
        one.turn()
        assert one.site.connections == 0
        assert one.clock.getDelayedCalls() == []
