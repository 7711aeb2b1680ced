"""A worker that speaks raw bytes: a TCP server each of whose connections runs a script of the test's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Gone(Exception):
    """The gateway closed the connection while the script was waiting."""


class Peer(Protocol):
    """One connection, from the worker's side.

    `received` is what came and was not read; with `only_count` set, it is counted and dropped.
    """

    transport: Any

    def __init__(self, worker: RawWorker) -> None:
        self.received = bytearray()
        self.count = 0
        self.only_count = False
        self.gone = False
        self.gone_by_reset = False
        self._worker = worker
        self._waiting: Deferred[None] | None = None
        self._drained: Deferred[None] | None = None

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._worker.peers.append(self)
        self._worker.running.append(Deferred.fromCoroutine(self._run()))

    async def _run(self) -> None:
        with suppress(Gone, CancelledError):
            await self._worker.script(self)

    def dataReceived(self, data: bytes) -> None:
        self.count += len(data)
        if not self.only_count:
            self.received += data
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True
        self.gone_by_reset = "non-clean" in reason.getErrorMessage()
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Until something has arrived that makes `condition` true."""
        while not condition():
            if self.gone:
                raise Gone
            self._waiting = Deferred()
            await self._waiting

    async def until_gone(self) -> None:
        while not self.gone:
            self._waiting = Deferred()
            await self._waiting

    async def head(self) -> bytes:
        """The next request's head."""
        await self.until(lambda: b"\r\n\r\n" in self.received)
        return self.take(self.received.index(b"\r\n\r\n") + 4)

    async def request(self) -> bytes:
        """The next request, whole."""
        head = await self.head()
        lengths = [line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        length = int(lengths[0]) if lengths else 0
        await self.until(lambda: len(self.received) >= length)
        return head + self.take(length)

    def take(self, count: int) -> bytes:
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def write_many(self, piece: bytes, times: int) -> None:
        """Write `piece` again and again, as fast as it is taken."""
        self.transport.registerProducer(self, False)
        for _ in range(times):
            self._drained = Deferred()
            self.transport.write(piece)
            await self._drained
        self.transport.unregisterProducer()

    def resumeProducing(self) -> None:
        if self._drained is not None:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def stopProducing(self) -> None:
        if self._drained is not None:
            self._drained.cancel()

    def close(self) -> None:
        self.transport.loseConnection()

    def reset(self) -> None:
        self.transport.abortConnection()


Script = Callable[[Peer], Awaitable[None]]


class RawWorker:
    """Listens on `port` of `interface`, a free one by default, from `start` to `stop`."""

    def __init__(self, reactor: Any, script: Script, interface: str = "127.0.0.1", port: int = 0) -> None:
        self.script = script
        self.peers: list[Peer] = []
        self.running: list[Deferred[None]] = []
        factory = Factory.forProtocol(Peer)
        factory.noisy = False
        factory.buildProtocol = lambda _: Peer(self)  # type: ignore[method-assign]
        self._port = reactor.listenTCP(port, factory, interface=interface)
        self.host = interface
        self.port: int = self._port.getHost().port

    async def stop(self) -> None:
        """Close everything; an assertion that failed in a script fails here."""
        if (stopping := self._port.stopListening()) is not None:  # else it was stopped before
            await stopping
        for peer in self.peers:
            if not peer.gone:
                peer.reset()
        for peer, run in zip(self.peers, self.running, strict=True):
            await peer.until_gone()
            run.cancel()
            await run


def says(*pieces: bytes, then: str = "stay") -> Script:
    """Read one request, answer it with `pieces`, and then `stay`, `close` or `reset`."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(b"".join(pieces))
        if then == "close":
            peer.close()
        elif then == "reset":
            peer.transport.doWrite()
            peer.reset()

    return script


async def answers(peer: Peer) -> None:
    """Answer every request."""
    while True:
        await peer.request()
        peer.write(OK)
