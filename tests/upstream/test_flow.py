"""Bodies at the pace of the slower side, in memory that does not grow with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import pytest_twisted
from raw_worker import OK, Peer
from twisted.internet.defer import Deferred
from upstream_rig import Kept, Rig

from ngpu.model import CHUNK
from ngpu.upstream.agent import UpstreamAgent
from ngpu.upstream.client import UpstreamClient

MB = 1024 * 1024
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Generated:
    """A body out of nothing, that notes how far it was read and how much memory there was."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.read = 0
        self.peak = 0

    async def chunks(self):  # type: ignore[no-untyped-def]
        while self.read < self.length:
            piece = b"u" * min(CHUNK, self.length - self.read)
            self.read += len(piece)
            self.peak = max(self.peak, resident())
            yield piece


class Measured:
    """A sink that counts."""

    def __init__(self) -> None:
        self.size = 0
        self.peak = 0

    def start(self, head: object) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self.peak = max(self.peak, resident())


async def in_chunks(peer: Peer) -> None:
    await peer.request()
    peer.write(CHUNKED)
    await peer.write_many(b"10000\r\n" + b"d" * 65536 + b"\r\n", 4096)
    peer.write(b"0\r\n\r\n")


async def with_length(peer: Peer) -> None:
    await peer.request()
    peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 * MB))
    await peer.write_many(b"d" * 65536, 4096)


async def until_close(peer: Peer) -> None:
    await peer.request()
    peer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await peer.write_many(b"d" * 65536, 4096)
    peer.close()


@pytest.mark.parametrize("script", [in_chunks, with_length, until_close])
@pytest_twisted.ensureDeferred
async def test_256_mb_down_in_flat_memory(rig: Rig, script) -> None:  # type: ignore[no-untyped-def]
    """Nothing of a reply is kept on its way."""
    sink, before = Measured(), resident()
    await rig.send(rig.worker(script), sink=sink, timeout=60)
    assert sink.size == 256 * MB
    assert sink.peak - before < 32 * MB


@pytest_twisted.ensureDeferred
async def test_64_mib_up_in_flat_memory(rig: Rig) -> None:
    """Nothing of a request is kept either."""

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.only_count = True
        await peer.until(lambda: peer.count >= 64 * MB)
        peer.write(OK)

    body, before = Generated(64 * MB), resident()
    worker = rig.worker(script)
    await rig.send(worker, "POST", body=body, timeout=60)
    assert body.read == 64 * MB
    assert worker.peers[0].count == 64 * MB + len(
        b"POST / HTTP/1.1\r\nHost: \r\nContent-Length: 67108864\r\n\r\n"
    ) + len(f"127.0.0.1:{worker.port}")
    assert body.peak - before < 32 * MB


@pytest_twisted.ensureDeferred
async def test_a_worker_that_does_not_read_is_not_written_to(rig: Rig) -> None:
    """What is in flight is bounded by the kernel's buffers and one piece of ours; then it goes on where it stood."""
    reading: Deferred[None] = Deferred()

    async def script(peer: Peer) -> None:
        peer.transport.pauseProducing()
        await reading
        peer.transport.resumeProducing()
        await peer.request()
        peer.write(OK)

    body, sink = Generated(32 * MB), Kept()
    call = rig.send(rig.worker(script), "POST", body=body, sink=sink, timeout=60)
    read = -1
    while body.read != read or not body.read:
        read = body.read
        await rig.sleep(0.1)
    assert body.read < 16 * MB
    reading.callback(None)
    await call
    assert (body.read, sink.data) == (32 * MB, b"ok")


@pytest_twisted.ensureDeferred
async def test_a_sink_that_is_busy_is_not_written_to(rig: Rig) -> None:
    """While its Deferred has not fired nothing more comes, and the worker's writes come to a stop."""
    written = 0

    async def script(peer: Peer) -> None:
        nonlocal written
        await peer.request()
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (32 * MB))
        for _ in range(512):
            await peer.write_many(b"d" * 65536, 1)
            written += 65536

    busy: list[Deferred[None]] = []

    def on_write(data: bytes) -> Deferred[None]:
        busy.append(Deferred())
        return busy[-1]

    sink = Kept(on_write)
    call = rig.send(rig.worker(script), sink=sink, timeout=60)
    before = -1
    while written != before or not written:
        before = written
        await rig.sleep(0.1)
    assert len(busy) == 1
    assert written < 16 * MB
    while not call.called:
        waiting, sink._on_write = busy.pop(), on_write
        waiting.callback(None)
        while not busy and not call.called:
            await rig.sleep(0)
    await call
    assert len(sink.data) == 32 * MB


@pytest_twisted.ensureDeferred
async def test_a_reply_that_nobody_reads_yet_waits_at_the_worker(rig: Rig) -> None:
    """Between its head and `deliverBody` no more than one read of it is kept."""
    written = 0

    async def script(peer: Peer) -> None:
        nonlocal written
        await peer.request()
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (32 * MB))
        for _ in range(512):
            await peer.write_many(b"d" * 65536, 1)
            written += 65536

    client = UpstreamClient(UpstreamAgent(rig.pool))
    response = await client.get(f"http://127.0.0.1:{rig.worker(script).port}/")
    before = -1
    while written != before or not written:
        before = written
        await rig.sleep(0.1)
    assert written < 16 * MB
    assert len(await response.content()) == 32 * MB


@pytest_twisted.ensureDeferred
async def test_a_call_is_over_when_its_sink_is(rig: Rig) -> None:
    """Also where the whole reply came at once: the last write's Deferred is waited for."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            peer.write(OK)

    last: Deferred[None] = Deferred()
    worker = rig.worker(script)
    call = rig.send(worker, sink=Kept(lambda _: last))
    while not worker.peers:
        await rig.sleep(0.01)
    await rig.sleep(0.05)
    assert not call.called
    await rig.send(worker)  # over the connection that the first one has done with
    assert len(worker.peers) == 1
    last.callback(None)
    assert (await call).status == 200
