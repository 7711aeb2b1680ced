"""Bodies of requests: limits, pace, Expect, and what they cost in memory."""

from __future__ import annotations

import socket
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from server_rig import LIMIT, QUICK, Fake, Served, fake, read_replies
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from ngpu.errors import PayloadTooLarge
from ngpu.http.server import Limits, RequestBody
from ngpu.http.server.body import BOUND
from ngpu.http.server.chunked import ChunkedDecoder
from ngpu.http.server.refusal import Refused

CHUNKED = b"POST /work HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(length: int, *fields: bytes, path: bytes = b"/work") -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: a", b"Content-Length: %d" % length, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@pytest.fixture
def one() -> Iterator[Fake]:
    with fake() as made:
        yield made


def test_the_application_is_called_as_soon_as_the_head_is_complete(one: Fake) -> None:
    one.feed(post(5))
    assert one.app.calls == [(b"POST", b"/work")]
    assert one.app.bodies == []
    one.feed(b"hello")
    assert one.app.bodies == [b"hello"]


@pytest_twisted.ensureDeferred
async def test_413_comes_before_the_body_is_sent_and_survives_its_sending(served: Served) -> None:
    """The reply needs no byte of the body; a client that sends on regardless gets it too, and no reset."""
    wire = await served.send(post(64 * LIMIT, path=b"/"))
    (reply,) = await wire.replies(1)
    assert (reply.status, reply.fields[b"connection"]) == (413, b"close")

    def send_all_then_read() -> bytes:
        with socket.create_connection(("127.0.0.1", served.port), 10) as client:
            client.sendall(post(8 * LIMIT, path=b"/") + bytes(8 * LIMIT))
            return b"".join(iter(lambda: client.recv(65536), b""))

    assert [reply.status for reply in read_replies(await deferToThread(send_all_then_read))] == [413]
    assert served.app.bodies == []


@pytest_twisted.ensureDeferred
async def test_a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not(served: Served) -> None:
    for size, status in [(LIMIT, 200), (LIMIT + 1, 413)]:
        wire = await served.send(post(size, path=b"/") + bytes(size))
        assert [reply.status for reply in await wire.replies(1)] == [status]
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size))
        wire = await served.send(CHUNKED.replace(b"/work", b"/") + chunk)
        assert [reply.status for reply in await wire.replies(1)] == [status]


def test_an_endless_chunked_body_ends_at_the_limit(one: Fake) -> None:
    one.feed(CHUNKED)
    for _ in range(100):
        one.feed(b"10000\r\n" + bytes(65536) + b"\r\n")
    assert [reply.status for reply in one.replies()] == [413]
    assert one.closed


def test_a_slow_body_is_408(one: Fake) -> None:
    """Less than body_rate over a window of waiting."""
    one.feed(post(100_000))
    for _ in range(31):
        one.feed(b"x" * 100)
        one.pass_time(1)
    assert [reply.status for reply in one.replies()] == [408]
    assert one.closed
    assert one.app.cancelled == 0


def test_a_body_that_is_fast_enough_is_not_408(one: Fake) -> None:
    one.feed(post(100 * 1100))
    for _ in range(100):
        one.feed(b"x" * 1100)
        one.pass_time(1)
    assert len(one.app.bodies) == 1


def test_a_body_that_stalls_after_a_good_start_is_408(one: Fake) -> None:
    one.feed(post(LIMIT))
    one.feed(bytes(LIMIT // 2))
    one.pass_time(62)
    assert [reply.status for reply in one.replies()] == [408]


def test_time_in_which_nobody_wants_bytes_does_not_count() -> None:
    clock = Clock()
    body = RequestBody(10, Limits(), clock, lambda: None)
    for _ in range(100):
        clock.advance(10)
        body.check(clock.seconds())
    got: list[bytes] = []
    ensureDeferred(body.read(10)).addCallback(got.append)
    clock.advance(29)
    body.check(clock.seconds())
    body.feed(b"0123456789", complete=True)
    assert got == [b"0123456789"]


def test_expect_is_answered_when_reading_begins(one: Fake) -> None:
    one.feed(post(5, b"Expect: 100-continue"))
    assert one.out == b"HTTP/1.1 100 Continue\r\n\r\n"
    one.feed(b"hello")
    assert one.out == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert one.app.bodies == [b"hello"]


def test_expect_is_not_answered_when_the_body_is_on_its_way(one: Fake) -> None:
    one.feed(post(5, b"Expect: 100-continue") + b"he")
    assert one.out == b""
    one.feed(b"llo")
    assert one.app.bodies == [b"hello"]


def test_expect_is_not_answered_by_who_does_not_read(one: Fake) -> None:
    """And the connection closes: nobody knows whether the body will be sent."""
    one.feed(post(5, b"Expect: 100-continue", path=b"/early"))
    assert b"100 Continue" not in one.out
    assert [reply.status for reply in one.replies()] == [200]
    assert one.closed


def test_expect_is_not_answered_by_who_refuses_the_length(one: Fake) -> None:
    one.feed(post(LIMIT + 1, b"Expect: 100-continue"))
    assert b"100 Continue" not in one.out
    assert [reply.status for reply in one.replies()] == [413]


def test_expect_from_http_1_0_is_ignored(one: Fake) -> None:
    one.feed(post(5, b"Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert one.out == b""


def test_a_reply_without_reading_closes_and_what_comes_is_dropped(one: Fake) -> None:
    """The rest of the body must never be taken for a request."""
    one.feed(post(60, path=b"/early"))
    (reply,) = one.replies()
    assert (reply.body, reply.fields[b"connection"]) == (b"early", b"close")
    one.channel.dataReceived(b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
    assert one.app.calls == [(b"POST", b"/early")]


def test_a_reply_without_reading_keeps_the_connection_when_the_body_is_here(one: Fake) -> None:
    one.feed(post(5, path=b"/early") + b"hello" + post(0))
    assert one.replies()[0].fields.get(b"connection") is None
    assert len(one.app.calls) == 2


def test_a_bad_chunk_cancels_the_application_and_is_400(one: Fake) -> None:
    one.feed(CHUNKED)
    assert len(one.app.calls) == 1
    one.feed(b"zz\r\n")
    assert [reply.status for reply in one.replies()] == [400]
    assert one.app.bodies == []
    assert [aborted for _, aborted in one.site.ended] == [True]
    assert one.app.requests[0].code == 400


def test_nobody_asks_so_nothing_more_is_read() -> None:
    """What is kept is BOUND and one read, until somebody asks; then reading goes on."""
    clock = Clock()
    wanted: list[bool] = []
    body = RequestBody(None, Limits(), clock, lambda: wanted.append(True))
    while body.hungry:
        body.feed(bytes(1000), complete=False)
    assert BOUND <= body.received < BOUND + 1000
    chunks = body.chunks()
    got: list[bytes] = []
    ensureDeferred(chunks.__anext__()).addCallback(got.append)
    assert len(got[0]) == body.received
    assert wanted == []
    assert body.hungry
    ensureDeferred(chunks.__anext__()).addCallback(got.append)
    assert wanted == [True]
    body.feed(b"more", complete=False)
    assert got[1] == b"more"


@pytest_twisted.ensureDeferred
async def test_backpressure_reaches_the_client(served: Served) -> None:
    """A client cannot push more than the bound (and the kernel's buffers) at somebody who does not read."""
    wire = await served.send(b"POST /stuck HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
    await served.until(lambda: bool(served.app.stuck))
    wire.transport.write(bytes(30_000_000))
    request = served.app.requests[0]
    await served.until(lambda: not request.body.hungry)
    assert request.body.received < 1_000_000
    served.app.stuck[0].callback(b"done")
    assert [reply.body for reply in await wire.replies(1)] == [b"done"]


def test_two_readers_are_a_mistake() -> None:
    body = RequestBody(10, Limits(), Clock(), lambda: None)
    first = ensureDeferred(body.read(10))
    second = ensureDeferred(body.read(10))
    failed: list[Any] = []
    second.addErrback(failed.append)
    assert failed[0].check(RuntimeError)
    body.feed(bytes(10), complete=True)
    assert first.result == bytes(10)


def test_a_reader_learns_that_the_client_went() -> None:
    body = RequestBody(10, Limits(), Clock(), lambda: None)
    failed: list[Any] = []
    ensureDeferred(body.read(10)).addErrback(failed.append)
    body.fail(ConnectionLost())
    assert failed[0].check(ConnectionLost)
    ensureDeferred(body.read(10)).addErrback(failed.append)
    assert failed[1].check(ConnectionLost)


def test_a_reader_that_nobody_cancels_learns_it_too(one: Fake) -> None:
    """One that works apart from the request's own Deferred."""
    one.feed(post(5, path=b"/stuck"))
    failed: list[Any] = []
    ensureDeferred(one.app.requests[0].body.read(10)).addErrback(failed.append)
    one.leave()
    assert failed[0].check(ConnectionLost)


def test_readers_leave_nothing_with_the_error_that_twisted_has_for_all_clients_that_go() -> None:
    """A traceback there would grow with each of them, and hold what their frames hold."""
    reason = Failure(ConnectionLost())
    failed: list[Any] = []
    for _ in range(2):
        with fake() as one:
            one.feed(post(5, path=b"/stuck"))
            ensureDeferred(one.app.requests[0].body.read(10)).addErrback(failed.append)
            one.transport.disconnected = True
            one.channel.connectionLost(reason)
    assert all(each.check(ConnectionLost) for each in failed) and len(failed) == 2
    assert reason.value is not None and reason.value.__traceback__ is None


def test_a_reader_can_be_cancelled_and_another_goes_on() -> None:
    body = RequestBody(4, Limits(), Clock(), lambda: None)
    first = ensureDeferred(body.read(10))
    first.addErrback(lambda _: None)
    first.cancel()
    second = ensureDeferred(body.read(10))
    body.feed(b"four", complete=True)
    assert second.result == b"four"


def test_413_by_length_is_known_without_waiting() -> None:
    failed: list[Any] = []
    ensureDeferred(RequestBody(11, Limits(), Clock(), lambda: None).read(10)).addErrback(failed.append)
    assert failed[0].check(PayloadTooLarge)


@pytest.mark.parametrize("size", [256 * 1024, 7])
def test_a_large_body_is_held_once(size: int) -> None:
    """64 MiB in large pieces; 256 KiB in tiny ones, which must not cost forty times their bytes."""
    total = 64 * LIMIT if size > 1000 else LIMIT // 4
    body = RequestBody(None, Limits(), Clock(), lambda: None)
    read: Deferred[bytes] = ensureDeferred(body.read(total))
    tracemalloc.start()
    for _ in range(total // size):
        body.feed(bytes(size), complete=False)
    held, _ = tracemalloc.get_traced_memory()
    body.feed(bytes(total % size), complete=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(read.result) == total  # type: ignore[arg-type]
    assert held < total * 1.3 + 100_000
    assert peak < total * 1.3 + 100_000


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.binary(min_size=1, max_size=50)), after=st.binary(max_size=20), data=st.data())
def test_chunks_come_out_as_they_went_in(pieces: list[bytes], after: bytes, data: st.DataObject) -> None:
    """However they are split; and what is behind the body is given back."""
    raw = b"".join(b"%X;e=f\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nX-T: r\r\n\r\n" + after
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    decoder = ChunkedDecoder(QUICK)
    out, rest = b"", b""
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        body, behind = decoder.feed(raw[start:end])
        out += body
        rest += behind
    assert decoder.ended
    assert (out, rest) == (b"".join(pieces), after)


class Sizes:
    """Takes a body from llhttp."""

    def __init__(self) -> None:
        self.body = b""
        self.ended = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.ended = True


@settings(max_examples=500, deadline=None)
@given(
    parts=st.lists(
        st.sampled_from([b"0", b"1", b"3", b"a", b"F", b"\r\n", b"\r", b"\n", b";", b" ", b"x", b"X: y", b'"', b"="]),
        max_size=16,
    )
)
def test_what_we_take_for_a_chunked_body_llhttp_does_too(parts: list[bytes]) -> None:
    """Two readers of the same bytes must not disagree: whatever ours accepts, an independent one reads the same."""
    from httptools import HttpRequestParser

    raw = b"".join(parts) + b"0\r\n\r\n"
    decoder = ChunkedDecoder(QUICK)
    try:
        ours, rest = decoder.feed(raw)
    except Refused:
        return
    if decoder.ended and not rest:
        theirs = Sizes()
        HttpRequestParser(theirs).feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
        assert theirs.ended
        assert theirs.body == ours


def test_limits_say_how_late_a_time_may_be_noticed() -> None:
    assert Limits().tick == 0.5
    assert replace(Limits(), head_timeout=0.4).tick == 0.1
