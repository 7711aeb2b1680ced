"""Connections: order, keeping and closing, times, clients that leave or never read, and the drain."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from server_rig import QUICK, Fake, Served, Transport, fake, read_replies
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from ngpu.http.server.outgoing import Outgoing

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
WORK = b"GET /work HTTP/1.1\r\nHost: a\r\n\r\n"
BAD = b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"


@pytest.fixture
def one() -> Iterator[Fake]:
    with fake() as made:
        yield made


@pytest_twisted.ensureDeferred
async def test_a_thousand_requests_in_one_write_are_answered_in_order(served: Served) -> None:
    wire = await served.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(1000)))
    replies = await wire.replies(1000)
    assert [reply.status for reply in replies] == [200] * 1000
    assert [uri for _, uri in served.app.calls] == [b"/%d" % i for i in range(1000)]
    assert not wire.closed


def test_pipelined_requests_take_turns_with_other_connections(one: Fake) -> None:
    """A write full of requests must not hold the reactor."""
    one.channel.dataReceived(GET * 100)
    assert 0 < len(one.app.calls) < 50
    one.turn()
    assert len(one.app.calls) == 100


def test_a_request_waits_for_the_one_before(one: Fake) -> None:
    one.feed(WORK + GET)
    assert [uri for _, uri in one.app.calls] == [b"/work"]
    one.app.waiting[0].callback(b"first")
    one.turn()
    assert [reply.body for reply in one.replies()] == [b"first", b"ok "]


def test_what_is_pipelined_behind_a_request_at_work_is_bounded(one: Fake) -> None:
    one.feed(WORK)
    fed = 0
    while one.transport.reading:
        one.feed(GET * 100)
        fed += 100
    assert fed * len(GET) < 2 * QUICK.pipeline_size
    one.app.waiting[0].callback(b"")
    one.turn()
    assert one.transport.reading
    assert len(one.app.calls) == fed + 1


def test_a_malformed_request_behind_a_good_one(one: Fake) -> None:
    """The good one is answered, also when it takes its time; then 400 and the end."""
    one.feed(WORK + BAD + GET)
    assert one.out == b""
    one.app.waiting[0].callback(b"good")
    one.turn()
    assert [reply.status for reply in one.replies()] == [200, 400]
    assert one.closed
    assert [uri for _, uri in one.app.calls] == [b"/work"]


def test_connection_close_is_obeyed(one: Fake) -> None:
    one.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n" + GET)
    (reply,) = one.replies()
    assert reply.fields[b"connection"] == b"close"
    assert one.closed
    assert len(one.app.calls) == 1


# clients that leave


@pytest_twisted.ensureDeferred
async def test_a_client_that_closes_cancels_its_request(served: Served) -> None:
    """Also when its body was read long ago and other requests stand behind; log_request hears of it once."""
    wire = await served.send(WORK + GET)
    await served.until(lambda: bool(served.app.waiting))
    wire.transport.loseConnection()
    await served.until(lambda: served.app.cancelled == 1)
    await served.until(lambda: served.site.connections == 0)
    assert [aborted for _, aborted in served.site.ended] == [True]
    assert len(served.app.calls) == 1


@pytest_twisted.ensureDeferred
async def test_a_client_that_resets_cancels_its_request(served: Served) -> None:
    client = socket.create_connection(("127.0.0.1", served.port))
    client.sendall(WORK)
    await served.until(lambda: bool(served.app.waiting))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    await served.until(lambda: served.app.cancelled == 1)


@pytest_twisted.ensureDeferred
async def test_a_reply_that_was_cut_off_gets_no_end_in_the_same_turn(served: Served) -> None:
    """Its client would take it for whole."""
    wire = await served.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    await wire.until(lambda: b"first" in wire.received)
    served.site.abort_all()
    served.app.waiting[0].callback(b"second")
    served.app.waiting[1].callback(b"")
    assert (await wire.until_closed()).endswith(b"first\r\n")


@pytest_twisted.ensureDeferred
async def test_a_half_closed_client_that_waits_counts_as_gone(served: Served) -> None:
    wire = await served.send(WORK)
    await served.until(lambda: bool(served.app.waiting))
    wire.transport.loseWriteConnection()
    await served.until(lambda: served.app.cancelled == 1)
    assert await wire.until_closed() == b""


@pytest_twisted.ensureDeferred
async def test_a_half_closed_client_still_gets_what_is_ready(served: Served) -> None:
    """As `printf … | nc -N` sends it: the replies were there before its end was seen."""

    def exchange() -> bytes:
        with socket.create_connection(("127.0.0.1", served.port), 10) as client:
            client.sendall(GET * 3)
            client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(65536), b""))

    assert len(read_replies(await deferToThread(exchange))) == 3


def test_a_half_closed_client_gets_what_was_about_to_run(one: Fake) -> None:
    """Requests that wait for the reactor's next turn are served before the end."""
    one.channel.dataReceived(GET * 40)
    one.channel.readConnectionLost()
    assert not one.closed
    one.turn()
    assert len(one.replies()) == 40
    assert one.closed


def test_a_client_that_leaves_in_the_middle_of_a_body(one: Fake) -> None:
    one.feed(b"POST /work HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
    one.leave()
    assert one.app.bodies == []
    assert [aborted for _, aborted in one.site.ended] == [True]


def test_writing_to_who_has_gone_is_nothing(one: Fake) -> None:
    """Neither write nor finish raises, producers are stopped, and notifyFinish has told."""
    one.feed(WORK)
    request = one.app.requests[0]
    told: list[Any] = []
    request.notifyFinish().addErrback(told.append)

    class Producer:
        stopped = 0

        def pauseProducing(self) -> None: ...

        def resumeProducing(self) -> None: ...

        def stopProducing(self) -> None:
            self.stopped += 1

    producer, late = Producer(), Producer()
    request.registerProducer(producer, True)
    one.leave()
    request.write(b"x")
    request.finish()
    request.unregisterProducer()
    request.registerProducer(late, True)
    assert (producer.stopped, late.stopped, len(told)) == (1, 1, 1)


@pytest_twisted.ensureDeferred
async def test_a_client_that_never_reads_is_aborted() -> None:
    """Its replies pile up in the kernel and a bounded piece of memory, then the next requests wait, then it is cut."""
    served = Served(replace(QUICK, write_timeout=0.5))
    client = socket.create_connection(("127.0.0.1", served.port))
    try:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        await served.until(lambda: served.site.connections == 1)
        await served.until(lambda: served.site.connections == 0)
        assert len(served.app.calls) < 10
    finally:
        client.close()
        await served.stop()


@pytest_twisted.ensureDeferred
async def test_a_slow_reader_is_not_aborted() -> None:
    """It takes something every now and then, which is enough."""
    served = Served(replace(QUICK, write_timeout=1.0))

    def read_slowly() -> int:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.settimeout(10)
            client.connect(("127.0.0.1", served.port))
            client.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            turns = Event()
            total = 0
            while data := client.recv(400_000):
                total += len(data)
                turns.wait(0.05)
            return total

    try:
        assert await deferToThread(read_slowly) > 4 * 1024 * 1024
    finally:
        await served.stop()


class Sluggish(Transport):
    """Takes what it is given a byte at a time, as a real one shows it."""

    dataBuffer = b"x" * 100
    offset = 0


def test_taking_one_byte_in_write_timeout_is_enough() -> None:
    clock, transport = Clock(), Sluggish()
    transport.protocol = Protocol()
    out = Outgoing(transport, clock, 60.0, lambda: None)
    out.pauseProducing()
    for _ in range(50):
        clock.advance(59)
        transport.offset += 1
        out.check(clock.seconds())
    assert not transport.disconnected
    clock.advance(60)
    out.check(clock.seconds())
    assert transport.disconnected


# times


def test_a_connection_that_says_nothing_is_closed_without_a_word(one: Fake) -> None:
    one.pass_time(9)
    assert not one.closed
    one.pass_time(2)
    assert one.closed
    assert one.out == b""


def test_a_head_that_comes_too_slowly_is_408(one: Fake) -> None:
    """However steadily it drips."""
    for byte in b"GET / HTTP/1.1\r\n":
        one.feed(bytes([byte]))
        one.pass_time(0.7)
    assert [reply.status for reply in one.replies()] == [408]
    assert one.closed
    assert one.site.refused == [408]


def test_a_later_head_has_its_time_from_its_first_byte(one: Fake) -> None:
    one.feed(GET)
    one.pass_time(60)
    one.feed(GET[:5])
    one.pass_time(9)
    one.feed(GET[5:])
    assert len(one.replies()) == 2
    one.feed(GET[:5])
    one.pass_time(11)
    assert [reply.status for reply in one.replies()] == [200, 200, 408]


def test_an_idle_connection_is_closed_without_a_word(one: Fake) -> None:
    one.feed(GET)
    one.pass_time(74)
    assert not one.closed
    one.pass_time(2)
    assert one.closed
    assert len(one.replies()) == 1


def test_an_empty_line_between_requests_begins_no_head(one: Fake) -> None:
    """Some clients send one behind a POST; that must not turn their idle connection into a 408."""
    one.feed(GET + b"\r\n")
    one.pass_time(60)
    assert not one.closed
    one.feed(GET)
    assert len(one.replies()) == 2


def test_a_client_that_is_busy_with_a_long_reply_is_not_idle() -> None:
    """Nor is its next request late, which is not looked at until the reply is taken."""
    with fake(replace(QUICK, write_timeout=1000)) as one:
        one.feed(GET)
        one.transport.producer.pauseProducing()
        one.feed(GET)
        one.pass_time(80)
        assert not one.closed
        one.transport.producer.resumeProducing()
        one.turn()
        assert len(one.replies()) == 2


def test_a_request_at_work_has_all_the_time(one: Fake) -> None:
    one.feed(WORK)
    one.pass_time(300)
    one.app.waiting[0].callback(b"done")
    one.turn()
    assert [reply.body for reply in one.replies()] == [b"done"]


@pytest_twisted.ensureDeferred
async def test_a_lingering_client_is_let_go_of(served: Served) -> None:
    """One that neither closes nor stops sending after an error reply holds its connection for linger_time only."""

    def send_on() -> None:
        with socket.create_connection(("127.0.0.1", served.port), 10) as client:
            client.sendall(BAD)
            with pytest.raises(OSError):
                for _ in range(500):
                    client.sendall(b"x" * 1000)
                    Event().wait(0.02)

    await deferToThread(send_on)
    await served.until(lambda: served.site.connections == 0)


# how many, and the end


@pytest_twisted.ensureDeferred
async def test_one_connection_too_many_is_503() -> None:
    served = Served(replace(QUICK, connections=2))
    try:
        first, second = await served.send(WORK), await served.connect()
        await served.until(lambda: served.site.connections == 2)
        third = await served.connect()
        await third.until_closed()
        assert [reply.status for reply in read_replies(third.received)] == [503]
        second.transport.loseConnection()
        await served.until(lambda: served.site.connections == 1)
        again = await served.send(GET)
        assert [reply.status for reply in await again.replies(1)] == [200]
        assert not first.closed
    finally:
        await served.stop()


@pytest_twisted.ensureDeferred
async def test_a_drain_closes_the_idle_and_lets_the_busy_finish(served: Served) -> None:
    idle, busy, fresh = await served.send(GET), await served.send(WORK), await served.connect()
    await idle.replies(1)
    await served.until(lambda: bool(served.app.waiting) and served.site.connections == 3)
    assert served.site.busy == 1
    served.site.close_idle()
    await idle.until_closed()
    assert await fresh.until_closed() == b""
    assert served.site.busy == 1
    served.app.waiting[0].callback(b"done")
    (reply,) = read_replies(await busy.until_closed())
    assert (reply.body, reply.fields[b"connection"]) == (b"done", b"close")
    assert served.site.busy == 0


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_drain_cuts_off_what_is_left(served: Served) -> None:
    wire = await served.send(WORK)
    await served.until(lambda: bool(served.app.waiting))
    served.site.abort_all()
    await wire.until_closed()
    await served.until(lambda: served.app.cancelled == 1)


def test_each_request_is_logged_once_with_its_counts(one: Fake) -> None:
    one.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + GET)
    (first, aborted), (_, also) = one.site.ended
    assert (aborted, also) == (False, False)
    assert first.bytes_in == 52
    assert first.bytes_out == one.out.index(b"ok hello") + 8
    assert (first.code, first.started, first.method) == (200, 0.0, b"POST")
    assert first.peer_ip == one.transport.getPeer().host


def test_a_failing_log_does_not_hurt_the_client(no_leaks: Any) -> None:
    no_leaks.expect(ZeroDivisionError)
    with fake() as one:
        one.site.log_request = lambda request, aborted: 1 / 0
        one.feed(GET + GET)
        assert len(one.replies()) == 2


# anything


FRAGMENTS = [
    *(b"GET ", b"POST ", b"/", b"/work", b"/stream", b"*", b" ", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\r\n\r\n"),
    *(b"Host: a\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"hello"),
    *(b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Upgrade: x\r\nConnection: upgrade\r\n", b"5\r\n"),
    *(b"0\r\n\r\n", b"\0", b"\xff", b":", b"%2e", b"?a=b", b"#", GET, WORK, BAD, b"\n", b"\r", b"X: y\r\n"),
]


@settings(max_examples=1000, deadline=None)
@given(pieces=st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=30)), max_size=25), work=st.booleans())
def test_whatever_comes_it_ends_or_waits(pieces: list[bytes], work: bool) -> None:
    """No bytes bring out an exception, or a reply that a strict client would refuse; in the end it is closed."""
    with fake() as one:
        for piece in pieces:
            one.feed(piece)
            if work:
                for waiting in [each for each in one.app.waiting if not each.called]:
                    waiting.callback(b"")
                one.turn()
        one.replies()
        assert one.closed or one.transport.reading or one.site.busy
        one.pass_time(80)
        one.replies()
        assert one.closed or one.site.busy


@settings(max_examples=30, deadline=None)
@given(data=st.binary(min_size=1, max_size=300))
def test_whatever_comes_over_a_socket(data: bytes) -> Deferred[None]:
    """The same with a real connection; a client that then goes leaves nothing behind."""

    async def exchange() -> None:
        served = Served()
        wire = await served.send(data)
        await served.until(lambda: wire.closed or served.site.connections == 1)
        wire.transport.loseConnection()
        await served.until(lambda: served.site.connections == 0)
        await served.stop()

    return Deferred.fromCoroutine(exchange())  # pytest-twisted waits for it, example by example
