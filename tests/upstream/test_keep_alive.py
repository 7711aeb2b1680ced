"""Connections between calls: used again while they are good, and never the reason why a call fails."""

from __future__ import annotations

import pytest
import pytest_twisted
from raw_worker import OK, Peer, answers
from twisted.internet.defer import gatherResults
from upstream_rig import Kept, Rig

from ngpu.forward import make_forwarder
from ngpu.upstream.pool import Pool


async def closes_after_each(peer: Peer) -> None:
    await peer.request()
    peer.write(OK)
    peer.close()


@pytest_twisted.ensureDeferred
async def test_a_worker_that_closes_after_each_reply(rig: Rig) -> None:
    """It never says so beforehand; 500 calls in a row, none of which meets the closed connection."""
    worker = rig.worker(closes_after_each)
    for number in range(500):
        sink = Kept()
        await rig.send(worker, "POST", body=b"%d" % number, sink=sink)
        assert sink.data == b"ok"
    assert len(worker.peers) == 500


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("told", [True, False])
async def test_a_worker_that_closes_what_rests_gets_a_connection_for_each_call(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """A call could cross its next FIN. Whether the reactor was told of the first one, or a call has found it."""
    monkeypatch.setattr("ngpu.upstream.pool.HASTY", 0.5)
    worker = rig.worker(answers)
    await rig.send(worker)
    if told:
        worker.peers[0].close()
        await worker.peers[0].until_gone()
    else:
        worker.peers[0].transport.getHandle().shutdown(1)
    for count in (2, 3):
        await rig.send(worker)
        assert len(worker.peers) == count
    await rig.sleep(0.6)
    for _ in range(3):
        await rig.send(worker)
    assert len(worker.peers) == 4, "it is tried again after a while"


@pytest_twisted.ensureDeferred
async def test_closed_or_reset_while_the_reactor_was_busy(rig: Rig) -> None:
    """The kernel knows what the reactor was not told yet: the call looks there before it sends."""
    worker = rig.worker(answers)
    for end in ("shut down", "reset", "unasked bytes"):
        await rig.send(worker)
        peer = worker.peers[-1]
        handle = peer.transport.getHandle()
        if end == "shut down":
            handle.shutdown(1)
        elif end == "reset":
            peer.reset()
            peer.transport.connectionLost(_aborted())
        else:
            handle.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        sink = Kept()
        await rig.send(worker, "POST", body=b"x", sink=sink)  # no turn of the reactor between the two
        assert sink.data == b"ok"
        assert worker.peers[-1] is not peer


def _aborted():  # type: ignore[no-untyped-def]
    from twisted.internet.error import ConnectionAborted
    from twisted.python.failure import Failure

    return Failure(ConnectionAborted())


@pytest_twisted.ensureDeferred
async def test_replies_that_end_their_connection(rig: Rig) -> None:
    """HTTP/1.0 and `Connection: close` are not used again, and we close them ourselves."""
    replies = [
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ]

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(replies[len(worker.peers) - 1])

    worker = rig.worker(script)
    for _ in replies:
        await rig.send(worker)
    assert len(worker.peers) == 3
    for peer in worker.peers:
        await peer.until_gone()


@pytest_twisted.ensureDeferred
async def test_resting_connections_are_closed_in_time(rig: Rig) -> None:
    """Before the worker closes them, so that a call does not cross its FIN."""
    rig.pool = Pool(rig.reactor, idle=0.4)
    rig.forwarder = make_forwarder(rig.reactor, rig.pool)
    worker = rig.worker(answers)
    began = rig.reactor.seconds()
    await gatherResults([rig.send(worker) for _ in range(3)])
    for peer in worker.peers:
        await peer.until_gone()
    assert 0.2 < rig.reactor.seconds() - began < 3
    assert not rig.reactor.getDelayedCalls()
    await rig.send(worker)
    assert len(worker.peers) == 4


@pytest_twisted.ensureDeferred
async def test_how_many_rest_is_limited(rig: Rig) -> None:
    """For each worker, and in total; those past it are closed after their call."""
    rig.pool = Pool(rig.reactor, per_origin=2, total=3)
    rig.forwarder = make_forwarder(rig.reactor, rig.pool)
    workers = [rig.worker(answers), rig.worker(answers)]
    await gatherResults([rig.send(worker) for worker in workers * 5])
    while sum(not peer.gone for worker in workers for peer in worker.peers) > 3:
        await rig.sleep(0.01)
    await rig.sleep(0.05)
    left = [sum(not peer.gone for peer in worker.peers) for worker in workers]
    assert sorted(left) == [1, 2]


@pytest_twisted.ensureDeferred
async def test_calls_at_once_do_not_share_a_connection(rig: Rig) -> None:
    """And each gets its own reply."""

    async def echo(peer: Peer) -> None:
        while True:
            body = (await peer.request()).partition(b"\r\n\r\n")[2]
            await rig.sleep(0.001)
            peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    worker = rig.worker(echo)
    for _ in range(5):
        sinks = [Kept() for _ in range(20)]
        await gatherResults([rig.send(worker, "POST", body=b"%d" % n, sink=sink) for n, sink in enumerate(sinks)])
        assert [bytes(sink.data) for sink in sinks] == [b"%d" % n for n in range(20)]
    assert len(worker.peers) == 20
