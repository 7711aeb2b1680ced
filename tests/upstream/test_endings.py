"""How calls end that do not end well: what is raised, what it says, and what becomes of the connection."""

from __future__ import annotations

import time
from typing import Any

import pytest
import pytest_twisted
from raw_worker import Peer, RawWorker, answers, says
from stopwatch import Stopwatch
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.task import Clock
from upstream_rig import EMPTY, Kept, Rig
from zope.interface import implementer

from ngpu.errors import CallCut, CallTimeout, DialFailed, NotFound, PayloadTooLarge
from ngpu.forward import make_forwarder
from ngpu.model import BytesBody, UpstreamRequest
from ngpu.upstream.pool import Pool

H = b"HTTP/1.1 200 OK\r\n"
GET = UpstreamRequest("GET", "/", 8080)


@pytest_twisted.ensureDeferred
async def test_nobody_listens(rig: Rig, free_port: int) -> None:
    """Refused: nothing was sent, another replica can be tried."""
    with pytest.raises(
        DialFailed, match=rf"^the replica at 127.0.0.1:{free_port} cannot be reached: connection refused$"
    ):
        await rig.forwarder.send("127.0.0.1", free_port, GET, EMPTY, Kept(), 5)


@pytest.mark.parametrize(
    "host", ["no-such-host.invalid", "no host", "x" * 70 + ".y", "a..b", "ho\udc80st", "", "a/b", "u@h"]
)
@pytest_twisted.ensureDeferred
async def test_a_host_that_cannot_be_looked_up(rig: Rig, host: str) -> None:
    """Nothing was sent, so this too is a failed dial, and the sentence names the host."""
    with pytest.raises(DialFailed, match=r"host|resolver|reached"):
        await rig.forwarder.send(host, 80, GET, EMPTY, Kept(), 5)


@implementer(IReactorPluggableNameResolver)
class Unanswered:
    """A reactor with a name resolver that never answers, and time of its own."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.callLater, self.seconds = self.clock.callLater, self.clock.seconds
        self.nameResolver = self

    def resolveHostName(self, *args: Any, **kwargs: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("timeout", "after", "says"), [(60.0, 5, "within 5 s"), (2.0, 2, "within 2 s"), (5.0, 5, "5 s")]
)
@pytest_twisted.ensureDeferred
async def test_connecting_has_a_limit_of_its_own(timeout: float, after: float, says: str) -> None:
    """5 s, or the call's timeout if that is shorter; it is a failed dial in both cases, name lookup included."""
    reactor = Unanswered()
    forwarder = make_forwarder(reactor, Pool(reactor))
    call = Deferred.fromCoroutine(forwarder.send("a.name", 80, GET, EMPTY, Kept(), timeout))
    reactor.clock.advance(after - 0.01)
    assert not call.called
    reactor.clock.advance(0.02)
    with pytest.raises(DialFailed, match=says):
        await call
    assert not reactor.clock.getDelayedCalls()


@pytest_twisted.ensureDeferred
async def test_cancelled_while_connecting() -> None:
    """Cancelling is no failure of the replica."""
    reactor = Unanswered()
    forwarder = make_forwarder(reactor, Pool(reactor))
    call = Deferred.fromCoroutine(forwarder.send("a.name", 80, GET, EMPTY, Kept(), 60))
    call.cancel()
    with pytest.raises(CancelledError):
        await call
    assert not reactor.clock.getDelayedCalls()


async def hangs(peer: Peer) -> None:
    await peer.until_gone()


async def drips(peer: Peer) -> None:
    peer.write(H + b"Content-Length: 1000\r\n\r\n")
    while not peer.gone:
        peer.write(b".")
        await _pause(0.01)


async def drips_head(peer: Peer) -> None:
    peer.write(H)
    while not peer.gone:
        peer.write(b"X")
        await _pause(0.01)


async def _pause(seconds: float) -> None:
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    await deferLater(reactor, seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize("script", [hangs, drips, drips_head])
@pytest_twisted.ensureDeferred
async def test_the_whole_call_has_one_timeout(rig: Rig, script: Any) -> None:
    """Silence and dripping end it alike, and the worker sees that its client is gone."""
    worker = rig.worker(script)
    began = time.monotonic()
    with pytest.raises(CallTimeout, match=rf"^the replica at 127.0.0.1:{worker.port} did not finish .* 0.2 s$"):
        await rig.send(worker, timeout=0.2)
    assert time.monotonic() - began < 3
    await worker.peers[0].until_gone()


@pytest.mark.parametrize("script", [hangs, drips, drips_head])
@pytest_twisted.ensureDeferred
async def test_a_cancelled_call_frees_its_worker_at_once(rig: Rig, script: Any) -> None:
    """The GPU must not go on computing for somebody who has left."""
    worker = rig.worker(script)
    sink = Kept()
    call = rig.send(worker, "POST", body=b"x" * 1_000_000, sink=sink)
    while not worker.peers or worker.peers[0].count < 1_000_000:
        await rig.sleep(0.01)
    watch = Stopwatch()
    call.cancel()
    with pytest.raises(CancelledError):
        await call
    await worker.peers[0].until_gone()
    assert watch.seconds() < 1
    assert worker.peers[0].gone_by_reset
    written = len(sink.data)
    await rig.sleep(0.05)
    assert len(sink.data) == written


@pytest_twisted.ensureDeferred
async def test_a_sink_that_refuses_ends_the_call(rig: Rig) -> None:
    """From `start`, from `write` and from what `write` returned: its error is the call's, and the worker is let go."""

    class NoStart(Kept):
        def start(self, head: Any) -> None:
            raise PayloadTooLarge("start")

    async def fails() -> None:
        await rig.sleep(0)
        raise PayloadTooLarge("later")

    def refuse(data: bytes) -> None:
        raise PayloadTooLarge("write")

    sinks = {"start": NoStart(), "write": Kept(refuse), "later": Kept(lambda _: Deferred.fromCoroutine(fails()))}
    for word, sink in sinks.items():
        worker = rig.worker(drips)
        with pytest.raises(PayloadTooLarge, match=word):
            await rig.send(worker, sink=sink)
        await worker.peers[0].until_gone()
        assert len(sink.data) <= 1 + (word != "start")
    worker = rig.worker(answers)  # whole at once: the connection is not the call's any more when the sink refuses
    with pytest.raises(PayloadTooLarge):
        await rig.send(worker, sink=Kept(refuse))
    await rig.send(worker)


class Lying:
    """A body that is not as long as it says."""

    def __init__(self, length: int, *pieces: bytes, error: Exception | None = None) -> None:
        self.length = length
        self._pieces = pieces
        self._error = error
        self.closed = False

    async def chunks(self):  # type: ignore[no-untyped-def]
        try:
            for piece in self._pieces:
                yield piece
            if self._error:
                raise self._error
        finally:
            self.closed = True


async def answers_slowly(peer: Peer) -> None:
    await peer.request()
    await peer.until_gone()


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        (Lying(10, b"abcde"), CallCut, "ended after 5 of 10 bytes"),
        (Lying(10), CallCut, "ended after 0 of 10 bytes"),
        (Lying(4, b"abc", b"df"), CallCut, "went on after the 4 bytes"),
        (Lying(4, b"abcdef"), CallCut, "went on after the 4 bytes"),
        (Lying(10, b"abcde", error=NotFound("purged")), NotFound, "purged"),
        (Lying(10, b"abcde", error=KeyError("bug")), KeyError, "bug"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_body_that_is_not_what_it_said(rig: Rig, body: Lying, error: type[Exception], says: str) -> None:
    """Padding or cutting it would change a customer's request: the worker never gets a whole one."""
    worker = rig.worker(answers_slowly)
    with pytest.raises(error, match=says):
        await rig.send(worker, "POST", body=body)
    await worker.peers[0].until_gone()
    assert body.closed
    assert b"f" not in worker.peers[0].received.partition(b"\r\n\r\n")[2]


@pytest_twisted.ensureDeferred
async def test_an_early_refusal_is_the_reply(rig: Rig) -> None:
    """A 413 before the body was sent: the rest stays here, the reply counts, the connection is not used again."""

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.transport.pauseProducing()
        peer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")

    worker, sink = rig.worker(script), Kept()
    read = []

    class Big:
        length = 64 * 1024 * 1024

        async def chunks(self):  # type: ignore[no-untyped-def]
            for _ in range(256):
                read.append(1)
                yield b"x" * (256 * 1024)

    head = await rig.send(worker, "POST", body=Big(), sink=sink)
    assert (head.status, bytes(sink.data)) == (413, b"large")
    assert len(read) < 100
    await rig.send(worker, sink=sink)
    assert len(worker.peers) == 2
    worker.peers[0].transport.resumeProducing()
    await worker.peers[0].until_gone()


@pytest_twisted.ensureDeferred
async def test_a_refusal_stops_the_upload_before_its_body_is_there(rig: Rig) -> None:
    """A 4xx says enough with its head; a worker that goes on reading must not get the other gigabytes."""

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.only_count = True
        peer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\n")
        count = -1
        while peer.count != count:
            count = peer.count
            await rig.sleep(0.1)
        peer.write(b"large")

    worker, sink = rig.worker(script), Kept()
    body = Lying(64 * 1024 * 1024, *[b"x" * (256 * 1024)] * 256)
    assert (await rig.send(worker, "POST", body=body, sink=sink)).status == 413
    assert sink.data == b"large"
    assert worker.peers[0].count < 32 * 1024 * 1024
    assert body.closed


@pytest_twisted.ensureDeferred
async def test_a_worker_may_answer_while_it_reads(rig: Rig) -> None:
    """A 200 that streams back what it gets: the rest of the request has to follow, or both would wait for ever."""

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.write(H + b"Content-Length: 2000000\r\n\r\n")
        echoed = 0
        while echoed < 2_000_000:
            await peer.until(lambda: bool(peer.received))
            data = peer.take(len(peer.received))
            echoed += len(data)
            peer.write(data)

    sink = Kept()
    await rig.send(rig.worker(script), "POST", body=b"abcd" * 500_000, sink=sink)
    assert sink.data == b"abcd" * 500_000


@pytest_twisted.ensureDeferred
async def test_a_worker_that_closes_unread_is_cut_or_heard(rig: Rig) -> None:
    """Closing on a request that is still coming resets the connection; what the reply said before that is kept."""

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.write(b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        peer.close()

    for _ in range(20):
        assert (await rig.send(rig.worker(script), "POST", body=b"x" * 3_000_000)).status == 503


@pytest_twisted.ensureDeferred
async def test_errors_do_not_show_twisteds_inside(rig: Rig, free_port: int) -> None:
    """Messages go to operators and, in records, to customers."""

    async def message(worker: RawWorker) -> str:
        try:
            await rig.send(worker, timeout=0.2)
        except Exception as error:
            return str(error)
        raise AssertionError("it was to fail")

    for script in (says(b"", then="close"), says(b"", then="reset"), says(b"x"), hangs):
        text = await message(rig.worker(script))
        assert not any(word in text.lower() for word in ("twisted", "<", "object at", "failure", "errno"))


@pytest_twisted.ensureDeferred
async def test_a_pool_that_closes_ends_what_runs(rig: Rig) -> None:
    """Closing waits for the sockets, fails running calls, and refuses new ones."""
    worker = rig.worker(hangs)
    call = rig.send(worker)
    while not worker.peers:
        await rig.sleep(0.01)
    await rig.pool.close()
    with pytest.raises(CallCut, match="cut off by the gateway"):
        await call
    with pytest.raises(DialFailed, match="stopping"):
        await rig.send(worker)
    await rig.pool.close()


@pytest_twisted.ensureDeferred
async def test_a_pool_that_closes_gives_up_dialling() -> None:
    """Without it a stop would wait for a name server."""
    reactor = Unanswered()
    pool = Pool(reactor)
    call = Deferred.fromCoroutine(make_forwarder(reactor, pool).send("a.name", 80, GET, BytesBody(), Kept(), 60))
    await pool.close()
    with pytest.raises(DialFailed, match="stopping"):
        await call
    assert not reactor.clock.getDelayedCalls()
