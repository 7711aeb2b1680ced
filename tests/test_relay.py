"""Bytes between two transports, within the kernel, and what becomes of them where it cannot do that."""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from ngpu import relay
from ngpu.relay import LEAST, MACHINE, MOST_AT_ONCE, Relay, relay_between

DATA = random.Random(5).randbytes(2 * 1024 * 1024)


class End(Protocol):
    """The gateway's end of a connection; `plain` is the other one."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.lost = False
        self.plain = socket.socket()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True


class Two:
    """A connection that bytes come from, and one that they go to."""

    def __init__(self, source: End, sink: End, reactor: Any) -> None:
        self.source, self.sink, self.reactor = source, sink, reactor
        self.ended: list[Relay] = []
        self.got = b""

    def relay(self, count: int) -> Relay | None:
        return relay_between(self.source.transport, self.sink.transport, count, self.ended.append)

    def begin(self, count: int) -> Relay:
        made = self.relay(count)
        assert made is not None
        return made

    async def pump(self, data: bytes, until: Callable[[], bool], reads: bool = True) -> None:
        """Send this, and read what comes out, until something holds."""
        deadline = self.reactor.seconds() + 10
        while not until():
            assert self.reactor.seconds() < deadline, "waited too long"
            with suppress(BlockingIOError):
                data = data[self.source.plain.send(data) :] if data else data
            with suppress(BlockingIOError):
                self.got += self.sink.plain.recv(1 << 20) if reads else b""
            await deferLater(self.reactor, 0.001)


async def connected(reactor: Any) -> End:
    made: Deferred[End] = Deferred()
    factory = Factory.forProtocol(End)
    factory.noisy = False
    build = factory.buildProtocol

    def built(address: Any) -> Any:
        end = build(address)
        reactor.callLater(0, made.callback, end)
        return end

    factory.buildProtocol = built  # type: ignore[method-assign]
    listening = reactor.listenTCP(0, factory, interface="127.0.0.1")
    plain = socket.create_connection(("127.0.0.1", listening.getHost().port))
    plain.setblocking(False)
    end = await made
    end.plain.close()
    end.plain = plain
    await listening.stopListening()
    return end


@pytest_twisted.async_yield_fixture
async def two() -> AsyncIterator[Two]:
    from twisted.internet import reactor

    both = Two(await connected(reactor), await connected(reactor), reactor)
    try:
        yield both
    finally:
        for end in (both.source, both.sink):
            if not end.lost:
                end.transport.abortConnection()
            end.plain.close()
        while not (both.source.lost and both.sink.lost):
            await deferLater(reactor, 0.001)
        assert MACHINE.can and MACHINE.relays == 0


@pytest_twisted.ensureDeferred
async def test_so_many_bytes_pass_and_the_next_are_the_protocols(two: Two) -> None:
    one = two.begin(len(DATA))
    await two.pump(DATA + b"next", lambda: two.got == DATA and two.source.received == b"next")
    assert two.ended == [one] and one.done
    assert (one.taken, one.given, one.left) == (len(DATA), len(DATA), 0)
    two.sink.transport.write(b"after")
    await two.pump(b"", lambda: two.got == DATA + b"after")


@pytest_twisted.ensureDeferred
async def test_what_was_written_before_goes_out_first(two: Two) -> None:
    two.sink.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    two.sink.transport.write(DATA)
    one = two.begin(len(DATA))
    assert one.waiting
    await two.pump(DATA[::-1], lambda: one.over)
    await two.pump(b"", lambda: len(two.got) == 2 * len(DATA))
    assert two.got == DATA + DATA[::-1]


@pytest_twisted.ensureDeferred
async def test_one_that_is_stopped_takes_no_more(two: Two) -> None:
    one = two.begin(len(DATA))
    await two.pump(DATA[:LEAST], lambda: len(two.got) == LEAST)
    one.stop()
    one.stop()
    assert two.ended == [one] and one.stopped and not one.done
    await two.pump(b"more", lambda: two.source.received == b"more")
    assert len(two.got) == LEAST


@pytest_twisted.ensureDeferred
async def test_the_source_is_not_read_while_the_sink_takes_nothing(two: Two) -> None:
    one = two.begin(1 << 30)
    sent = 0
    quiet = 0
    while quiet < 200:  # turns of the reactor, in each of which it could have been read
        try:
            sent += two.source.plain.send(DATA)
            quiet = 0
        except BlockingIOError:
            quiet += 1
        await deferLater(two.reactor, 0.001)
    assert one.waiting and 0 < one.taken - one.given <= 1 << 20
    assert sent < 64 << 20
    await two.pump(b"", lambda: len(two.got) == sent)
    assert not one.waiting and one.given == sent
    one.stop()


@pytest_twisted.ensureDeferred
async def test_urgent_data_is_left_out_and_stops_nothing(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    splice = os.splice

    def counted(source: int, sink: int, count: int, flags: int) -> int:
        calls.append(count)
        return splice(source, sink, count, flags=flags)

    monkeypatch.setattr(os, "splice", counted)
    one = two.begin(LEAST + 7)
    await two.pump(DATA[:LEAST], lambda: len(two.got) == LEAST)
    two.source.plain.send(b"!", socket.MSG_OOB)
    await deferLater(two.reactor, 0.05)
    calls.clear()
    await two.pump(b"abc", lambda: len(two.got) == LEAST + 3)
    await deferLater(two.reactor, 0.05)
    assert len(calls) <= 4, "it is called again and again"
    two.source.plain.send(b"?", socket.MSG_OOB)
    await two.pump(b"defghi", lambda: len(two.got + two.source.received) == LEAST + 9)
    assert two.got == DATA[:LEAST] + b"abcdefg" and two.source.received == b"hi"
    assert one.done and one.given == LEAST + 7


@pytest.mark.parametrize("end", ["source", "sink"])
@pytest_twisted.ensureDeferred
async def test_a_connection_that_ends_is_told_to_its_protocol(two: Two, end: str) -> None:
    one = two.begin(len(DATA))
    await two.pump(DATA[:LEAST], lambda: len(two.got) == LEAST)
    broken: End = getattr(two, end)
    broken.plain.close()
    await two.pump(b"", lambda: broken.lost, reads=end == "source")
    assert not one.over
    one.stop()
    assert (one.taken, one.left) == (LEAST, len(DATA) - LEAST)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EPERM])
@pytest.mark.parametrize("into", ["pipe", "socket"])
@pytest_twisted.ensureDeferred
async def test_a_machine_that_cannot_after_all_loses_nothing(
    two: Two, monkeypatch: pytest.MonkeyPatch, into: str, number: int
) -> None:
    splice = os.splice

    def fails(source: int, sink: int, count: int, flags: int) -> int:
        if (sink == two.sink.transport.fileno()) is (into == "socket"):
            raise OSError(number, "no")
        return splice(source, sink, count, flags=flags)

    monkeypatch.setattr(os, "splice", fails)
    monkeypatch.setattr(MACHINE, "can", True)
    one = two.begin(len(DATA))
    await two.pump(DATA, lambda: len(two.got + two.source.received) == len(DATA))
    assert two.got + two.source.received == DATA
    assert one.done and one.given == len(two.got) and one.left == len(two.source.received)
    assert not MACHINE.can and two.relay(len(DATA)) is None


@pytest_twisted.ensureDeferred
async def test_none_is_made_where_it_does_not_pay_or_cannot_be(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    assert two.relay(LEAST - 1) is None
    monkeypatch.setattr(MACHINE, "relays", MOST_AT_ONCE)
    assert two.relay(LEAST) is None
    monkeypatch.setattr(MACHINE, "relays", 0)
    monkeypatch.setattr(relay, "_ENOUGH", 1 << 30)
    before = len(os.listdir("/proc/self/fd"))
    assert two.relay(LEAST) is None
    assert len(os.listdir("/proc/self/fd")) == before
    monkeypatch.setattr(relay, "_ENOUGH", 1)
    two.sink.transport.TLS = True
    assert two.relay(LEAST) is None
    del two.sink.transport.TLS
    two.source.transport.abortConnection()
    assert two.relay(LEAST) is None
    assert two.ended == []
