"""A read that was full makes the next one larger, and one that was not makes it small again."""

from __future__ import annotations

import pytest_twisted
from raw_worker import Peer
from upstream_rig import Rig

from ngpu.reads import LARGE, SMALL, size_next

SIZE = 8 * 1024 * 1024


class Transport:
    bufferSize = SMALL


def test_reads_follow_what_comes() -> None:
    transport = Transport()
    for came, size in ((1, SMALL), (SMALL - 1, SMALL), (SMALL, LARGE), (LARGE, LARGE), (SMALL - 1, SMALL)):
        size_next(transport, came)
        assert transport.bufferSize == size
    size_next(object(), LARGE)


@pytest_twisted.ensureDeferred
async def test_a_large_reply_comes_in_large_pieces(rig: Rig) -> None:
    async def large(peer: Peer) -> None:
        await peer.request()
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        await peer.write_many(b"d" * 65536, SIZE // 65536)

    class Sizes:
        """A sink that lets the kernel gather more than one small read."""

        def __init__(self) -> None:
            self.sizes: list[int] = []

        def start(self, head: object) -> None: ...

        def write(self, data: bytes):  # type: ignore[no-untyped-def]
            self.sizes.append(len(data))
            from twisted.internet.task import deferLater

            return deferLater(rig.reactor, 0.005)

    sink = Sizes()
    await rig.send(rig.worker(large), sink=sink)
    assert sum(sink.sizes) == SIZE
    assert SMALL < max(sink.sizes) <= LARGE
