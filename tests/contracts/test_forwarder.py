"""What every `IForwarder` does: the real one over sockets, and the fake that plugins' authors test with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from raw_worker import Peer, RawWorker, Script
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from ngpu.errors import BadReply, CallCut, CallTimeout, DialFailed, PayloadTooLarge
from ngpu.forward import make_forwarder
from ngpu.interfaces import IForwarder
from ngpu.model import CHUNK, BytesBody, ReplyHead, UpstreamRequest
from ngpu.testing.forwarder import FakeCall, FakeForwarder, FakeReply
from ngpu.upstream.pool import Pool

POST = UpstreamRequest("POST", "/work?a=b", 8080, ((b"X-A", b"1"),))
PIECES = (b"x" * 1000, b"y" * 70_000, b"z")


class Sink:
    def __init__(self, returns: Any = None, error: Exception | None = None) -> None:
        self.events: list[Any] = []
        self._returns = returns
        self._error = error

    def start(self, head: ReplyHead) -> None:
        self.events.append(head)

    def write(self, data: bytes) -> Any:
        self.events.append(data)
        if self._error is not None:
            raise self._error
        return self._returns

    @property
    def body(self) -> bytes:
        return b"".join(self.events[1:])


class RealWorkers:
    """Sockets."""

    def __init__(self, reactor: Any, free_port: int) -> None:
        self.reactor = reactor
        self.nobody = free_port
        self.pool = Pool(reactor)
        self.forwarder = make_forwarder(reactor, self.pool)
        self.seen: list[tuple[str, str, bytes]] = []
        self._workers: list[RawWorker] = []

    def replies(self, status: int = 200, pieces: tuple[bytes, ...] = (), headers: Any = (), end: str = "") -> int:
        length = sum(map(len, pieces)) + (1 if end else 0)
        fields = b"".join(name + b": " + value + b"\r\n" for name, value in headers)

        async def script(peer: Peer) -> None:
            while True:
                head, _, body = (await peer.request()).partition(b"\r\n\r\n")
                method, target, _ = head.decode().split("\r\n")[0].split(" ")
                self.seen.append((method, target, body))
                peer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%b\r\n" % (status, length, fields))
                for piece in pieces:
                    peer.write(piece)
                if end == "cut":
                    peer.close()
                    return

        return self._listen(script)

    def hangs(self) -> int:
        async def script(peer: Peer) -> None:
            await peer.until_gone()

        return self._listen(script)

    def babbles(self) -> int:
        async def script(peer: Peer) -> None:
            peer.write(b"SSH-2.0-OpenSSH\r\n")

        return self._listen(script)

    def _listen(self, script: Script) -> int:
        self._workers.append(RawWorker(self.reactor, script))
        return self._workers[-1].port

    async def stop(self) -> None:
        await self.pool.close()
        for worker in self._workers:
            await worker.stop()


class FakeWorkers:
    """A script."""

    nobody = 1

    def __init__(self, reactor: Any, free_port: int) -> None:
        self.forwarder = FakeForwarder(reactor)

    @property
    def seen(self) -> list[tuple[str, str, bytes]]:
        return [(call.request.method, call.request.target, call.body) for call in self.forwarder.calls]

    def replies(self, status: int = 200, pieces: tuple[bytes, ...] = (), headers: Any = (), end: str = "") -> int:
        return self._answer(FakeReply(status, pieces, headers, error=CallCut("it broke off") if end else None))

    def hangs(self) -> int:
        return self._answer(FakeReply(wait=Deferred()))

    def babbles(self) -> int:
        return self._answer(BadReply("it babbles"))

    def _answer(self, answer: Any) -> int:
        port = 8000 + len(self.forwarder.answers)
        self.forwarder.answers[port] = answer
        return port

    async def stop(self) -> None:
        pass


@pytest_twisted.async_yield_fixture(params=[RealWorkers, FakeWorkers])
async def workers(request: pytest.FixtureRequest, free_port: int) -> AsyncIterator[Any]:
    from twisted.internet import reactor

    made = request.param(reactor, free_port)
    yield made
    await made.stop()


def send(workers: Any, port: int, sink: Sink, body: bytes = b"", timeout: float = 10.0) -> Deferred[ReplyHead]:
    return Deferred.fromCoroutine(workers.forwarder.send("127.0.0.1", port, POST, BytesBody(body), sink, timeout))


@pytest_twisted.ensureDeferred
async def test_it_provides_the_interface(workers: Any) -> None:
    """Names and parameters are the port's."""
    assert verifyObject(IForwarder, workers.forwarder)


@pytest.mark.parametrize("body", [b"", b"small", b"large" * CHUNK])
@pytest_twisted.ensureDeferred
async def test_the_request_reaches_the_worker(workers: Any, body: bytes) -> None:
    """Method, target and body, whole."""
    port = workers.replies()
    await send(workers, port, Sink(), body)
    await send(workers, port, Sink())
    assert workers.seen == [("POST", "/work?a=b", body), ("POST", "/work?a=b", b"")]


@pytest.mark.parametrize("status", [200, 302, 404, 503])
@pytest_twisted.ensureDeferred
async def test_the_reply_reaches_the_sink(workers: Any, status: int) -> None:
    """The head first and once, then the body; an error's status is a reply like any other."""
    sink = Sink()
    head = await send(workers, workers.replies(status, PIECES, ((b"X-B", b"2"),)), sink)
    assert head == ReplyHead(status, ((b"X-B", b"2"),))
    assert sink.events[0] == head
    assert sink.body == b"".join(PIECES)


@pytest_twisted.ensureDeferred
async def test_a_reply_without_a_body_has_a_head(workers: Any) -> None:
    """The sink is started all the same."""
    sink = Sink()
    head = await send(workers, workers.replies(204), sink)
    assert sink.events == [head]


@pytest_twisted.ensureDeferred
async def test_nobody_there(workers: Any) -> None:
    """DialFailed, and the sink heard nothing."""
    sink = Sink()
    with pytest.raises(DialFailed):
        await send(workers, workers.nobody, sink)
    assert sink.events == []


@pytest_twisted.ensureDeferred
async def test_a_reply_that_breaks_off(workers: Any) -> None:
    """CallCut, after what had come."""
    sink = Sink()
    with pytest.raises(CallCut):
        await send(workers, workers.replies(200, PIECES, end="cut"), sink)
    assert sink.body == b"".join(PIECES)


@pytest_twisted.ensureDeferred
async def test_a_reply_that_is_none(workers: Any) -> None:
    """BadReply, and the sink heard nothing."""
    sink = Sink()
    with pytest.raises(BadReply):
        await send(workers, workers.babbles(), sink)
    assert sink.events == []


@pytest_twisted.ensureDeferred
async def test_a_worker_that_hangs(workers: Any) -> None:
    """CallTimeout."""
    with pytest.raises(CallTimeout):
        await send(workers, workers.hangs(), Sink(), timeout=0.1)


@pytest_twisted.ensureDeferred
async def test_cancelling(workers: Any) -> None:
    """Ends it at once, and is no error of the replica's."""
    from twisted.internet import reactor

    call = send(workers, workers.hangs(), Sink())
    await deferLater(reactor, 0.05)  # type: ignore[arg-type]
    call.cancel()
    with pytest.raises(CancelledError):
        await call


@pytest_twisted.ensureDeferred
async def test_a_sink_that_refuses(workers: Any) -> None:
    """Its error is the call's, and it gets nothing more."""
    sink = Sink(error=PayloadTooLarge("enough"))
    with pytest.raises(PayloadTooLarge, match="enough"):
        await send(workers, workers.replies(200, PIECES), sink)
    assert len(sink.events) == 2


@pytest_twisted.ensureDeferred
async def test_a_sink_that_is_busy(workers: Any) -> None:
    """Nothing more comes, and the call does not end, before it is free; the timeout goes on."""
    from twisted.internet import reactor

    busy: Deferred[None] = Deferred()
    sink = Sink(busy)
    call = send(workers, workers.replies(200, PIECES), sink)
    await deferLater(reactor, 0.05)  # type: ignore[arg-type]
    assert (len(sink.events), call.called) == (2, False)
    busy.callback(None)
    await call
    assert sink.body == b"".join(PIECES)
    with pytest.raises(CallTimeout):
        await send(workers, workers.replies(200, PIECES), Sink(Deferred()), timeout=0.1)


@pytest_twisted.ensureDeferred
async def test_a_fake_can_answer_by_what_it_is_asked() -> None:
    """An adapter's test plays a worker that is submitted to and polled."""
    from twisted.internet import reactor

    def answer(call: FakeCall) -> FakeReply | DialFailed:
        return FakeReply(pieces=(call.body,)) if call.request.target.startswith("/work") else DialFailed("no")

    fake, sink = FakeForwarder(reactor, {80: answer}), Sink()  # type: ignore[arg-type]
    await fake.send("h", 80, POST, BytesBody(b"echo"), sink, 1)
    with pytest.raises(DialFailed):
        await fake.send("h", 80, UpstreamRequest("GET", "/", 80), BytesBody(), sink, 1)
    assert (sink.body, fake.calls) == (b"echo", [FakeCall("h", 80, POST, b"echo", 1)])
