"""What becomes of a worker's reply: passed on as it is, or refused with a sentence."""

from __future__ import annotations

import gzip

import pytest
import pytest_twisted
import treq
from raw_worker import OK, Peer, answers, says
from treq.client import HTTPClient
from upstream_rig import Kept, Rig

from ngpu.errors import BadReply, CallCut
from ngpu.upstream.agent import UpstreamAgent
from ngpu.upstream.client import UpstreamClient

H = b"HTTP/1.1 200 OK\r\n"
CHUNKED = H + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest_twisted.ensureDeferred
async def test_redirects_cookies_and_gzip_go_through_untouched(rig: Rig) -> None:
    """A worker must not steer the gateway, tenants must not share cookies, and a bomb must not go off here."""
    packed = gzip.compress(b"x" * 1000)
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            peer.write(
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/admin\r\nSet-Cookie: a=b; Path=/\r\n"
                b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
            )

    worker = rig.worker(script)
    for _ in range(2):
        sink = Kept()
        head = await rig.send(worker, sink=sink)
        assert head.status == 302
        assert head.headers == (
            (b"Location", b"http://127.0.0.1:1/admin"),
            (b"Set-Cookie", b"a=b; Path=/"),
            (b"Content-Encoding", b"gzip"),
        )
        assert (bytes(sink.data), sink.heads) == (packed, [head])
    assert seen == [b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % worker.port] * 2


@pytest_twisted.ensureDeferred
async def test_treqs_own_functions_work_on_our_replies(rig: Rig) -> None:
    """The client is a treq client to whoever else uses it."""
    worker = rig.worker(says(H + b'Content-Type: application/json\r\nETAG: "1"\r\nContent-Length: 9\r\n\r\n{"a": 17}'))
    client = UpstreamClient(UpstreamAgent(rig.pool))
    assert isinstance(client, HTTPClient)
    response = await client.get(f"http://127.0.0.1:{worker.port}/")
    pieces: list[bytes] = []
    assert response.length == 9
    assert response.headers.hasHeader("etag")
    assert response.headers.getRawHeaders("content-type") == ["application/json"]
    assert dict(response.headers.getAllRawHeaders())[b"ETag"] == [b'"1"']
    assert response.headers.fields[1] == (b"ETAG", b'"1"')
    await treq.collect(response, pieces.append)
    assert b"".join(pieces) == b'{"a": 17}'
    with pytest.raises(RuntimeError, match="already"):
        await treq.content(response)


@pytest_twisted.ensureDeferred
async def test_a_collector_that_fails_fails_treqs_collect(rig: Rig) -> None:
    """Whether the reply was whole when it began to read, or is still on its way."""

    def fail(_: bytes) -> None:
        raise KeyError("bug")

    for wire in (OK, H + b"Content-Length: 10\r\n\r\nabc"):
        worker = rig.worker(says(wire))
        response = await UpstreamClient(UpstreamAgent(rig.pool)).get(f"http://127.0.0.1:{worker.port}/")
        await rig.sleep(0.02)  # it is held meanwhile
        with pytest.raises(KeyError):
            await treq.collect(response, fail)


@pytest.mark.parametrize(
    ("wire", "then", "status", "body"),
    [
        (OK, "stay", 200, b"ok"),
        (H + b"Content-Length: 0\r\n\r\n", "stay", 200, b""),
        (H + b"\r\nuntil the end", "close", 200, b"until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", "close", 200, b"old"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", "stay", 200, b"old"),
        (H + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", "stay", 200, b"ok"),
        (CHUNKED + b"2\r\nok\r\n1;x=y\r\n!\r\n0\r\nX-Trailer: t\r\n\r\n", "stay", 200, b"ok!"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "stay", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", "stay", 304, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK, "stay", 200, b"ok"),
        (b"HTTP/1.1 599 \xe9\r\nContent-Length: 1\r\n\r\nx", "stay", 599, b"x"),
        (OK + OK, "stay", 200, b"ok"),
        (OK + b"junk", "stay", 200, b"ok"),
        (OK, "reset", 200, b"ok"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_replies_that_are_passed_on(rig: Rig, wire: bytes, then: str, status: int, body: bytes) -> None:
    """Every framing of RFC 9112 §6.3; interim replies and trailers stay here."""
    sink = Kept()
    head = await rig.send(rig.worker(says(wire, then=then)), sink=sink)
    assert (head.status, bytes(sink.data)) == (status, body)
    assert head.headers == ()


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 0\r\n", b""]
)
@pytest_twisted.ensureDeferred
async def test_the_reply_to_head_has_no_body(rig: Rig, fields: bytes) -> None:
    """Its fields speak of the body that a GET would have brought, and the next reply is the next request's."""
    head_reply = H + fields + b"\r\n"

    async def script(peer: Peer) -> None:
        while True:
            peer.write(head_reply if (await peer.request()).startswith(b"HEAD") else OK)

    worker, sink = rig.worker(script), Kept()
    for _ in range(3):
        assert (await rig.send(worker, "HEAD")).status == 200
        await rig.send(worker, sink=sink)
        assert sink.data == b"ok"


EVIL = {
    "lengths that differ": H + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": H + b"Content-Length: 2, 2\r\n\r\nab",
    "a signed length": H + b"Content-Length: +2\r\n\r\nab",
    "a negative length": H + b"Content-Length: -2\r\n\r\nab",
    "a length of 5000 digits": H + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nab",
    "length and chunks": H + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "chunks and length": H + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "identity": H + b"Transfer-Encoding: identity\r\n\r\nab",
    "gzip, chunked": H + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "xchunked": H + b"Transfer-Encoding: xchunked\r\n\r\nab",
    "chunked twice": H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "a chunk's size with a sign": CHUNKED + b"+2\r\nab\r\n0\r\n\r\n",
    "a chunk's size in C": CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n",
    "a chunk's size past 64 bits": CHUNKED + b"f" * 17 + b"\r\nab\r\n0\r\n\r\n",
    "a chunk longer than it said": CHUNKED + b"2\r\nabc\r\n0\r\n\r\n",
    "a chunk line without CR": CHUNKED + b"2\nab\r\n0\r\n\r\n",
    "NUL in a value": H + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "bare CR in a value": H + b"X: a\rb\r\nContent-Length: 0\r\n\r\n",
    "bare LF in a value": H + b"X: a\nY: b\r\nContent-Length: 0\r\n\r\n",
    "a control character": H + b"X: \x01\r\nContent-Length: 0\r\n\r\n",
    "DEL": H + b"X: \x7f\r\nContent-Length: 0\r\n\r\n",
    "a folded line": H + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": H + b"X : a\r\nContent-Length: 0\r\n\r\n",
    "a space before the first name": H + b" X: a\r\nContent-Length: 0\r\n\r\n",
    "a name that is no token": H + b"X\xe9: a\r\nContent-Length: 0\r\n\r\n",
    "no name": H + b": a\r\nContent-Length: 0\r\n\r\n",
    "no colon": H + b"X\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
    "status 000": b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 99 OK\r\nContent-Length: 0\r\n\r\n",
    "status -20": b"HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n",
    "status 2000": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status 101": b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nxyz",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "the preface of HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no HTTP at all": b"hello\r\n\r\n",
    "bare LF lines": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "201 fields": H + b"X: y\r\n" * 201 + b"Content-Length: 0\r\n\r\n",
    "50,000 fields": H + b"X: y\r\n" * 50_000 + b"Content-Length: 0\r\n\r\n",
    "fields in interim replies": (b"HTTP/1.1 103 E\r\n" + b"X: y\r\n" * 50 + b"\r\n") * 5 + OK,
    "a head of more than 64 KiB": H + b"X: " + b"y" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "a head of more than 64 KiB in fields": H + (b"X: " + b"y" * 1000 + b"\r\n") * 70 + b"Content-Length: 0\r\n\r\n",
    "a reason that goes on for ever": b"HTTP/1.1 200 " + b"y" * 200_000,
    "a name that goes on for ever": H + b"y" * 200_000,
    "interim replies for ever": b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    "a chunk's extension for ever": CHUNKED + b"2;x=" + b"y" * 200_000,
    "a trailer for ever": CHUNKED + b"2\r\nab\r\n0\r\nX: " + b"y" * 200_000,
    "201 trailers": CHUNKED + b"2\r\nab\r\n0\r\n" + b"X: y\r\n" * 201 + b"\r\n",
}


@pytest.mark.parametrize("wire", EVIL.values(), ids=EVIL.keys())
@pytest_twisted.ensureDeferred
async def test_replies_that_are_refused(rig: Rig, wire: bytes) -> None:
    """What two readers could read in two ways, and what has no end, goes to nobody, and its connection is closed."""
    worker = rig.worker(says(wire))
    with pytest.raises(BadReply, match=rf"^the replica at 127\.0\.0\.1:{worker.port} \w+ .*[a-z)]"):
        await rig.send(worker)
    await worker.peers[0].until_gone()


CUT = {
    "nothing": b"",
    "a piece of the status line": b"HTTP/1.1 2",
    "a piece of the head": H + b"Content-Le",
    "a piece of the body": H + b"Content-Length: 10\r\n\r\nabc",
    "a piece of a chunk": CHUNKED + b"5\r\nab",
    "no last chunk": CHUNKED + b"2\r\nab\r\n",
    "no end of the trailers": CHUNKED + b"2\r\nab\r\n0\r\nX: y\r\n",
    "an interim reply only": b"HTTP/1.1 100 Continue\r\n\r\n",
}


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("wire", CUT.values(), ids=CUT.keys())
@pytest_twisted.ensureDeferred
async def test_replies_that_break_off(rig: Rig, wire: bytes, then: str) -> None:
    """A part of a reply is never taken for the whole."""
    worker = rig.worker(says(wire, then=then))
    what = "closed" if then == "close" else "reset"
    when = "in the middle of its reply" if wire else "before it answered"
    with pytest.raises(CallCut, match=rf"^the replica at 127\.0\.0\.1:{worker.port} {what} the connection {when}$"):
        await rig.send(worker)


@pytest_twisted.ensureDeferred
async def test_a_body_that_ends_with_a_reset_connection_is_not_whole(rig: Rig) -> None:
    """Where only the connection's end tells the body's, it has to be an orderly one."""
    with pytest.raises(CallCut, match="reset"):
        await rig.send(rig.worker(says(H + b"\r\nabc", then="reset")))


@pytest_twisted.ensureDeferred
async def test_exactly_the_limits_pass(rig: Rig) -> None:
    """200 fields and 64 KiB of them are let through: one more is not."""
    last = b"Content-Length: 0\r\n"
    many = b"X: y\r\n" * 199
    long = b"X: " + b"y" * (64 * 1024 - len(last) - 5) + b"\r\n"
    for fields in (many, long):
        assert (await rig.send(rig.worker(says(H + fields + last + b"\r\n")))).status == 200
    with pytest.raises(BadReply):
        await rig.send(rig.worker(says(H + long.replace(b"X", b"XX") + last + b"\r\n")))


@pytest_twisted.ensureDeferred
async def test_bytes_after_a_reply_never_reach_the_next_request(rig: Rig) -> None:
    """Response splitting: what nobody asked for ends its connection, whether it comes at once or a little later."""
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

    async def at_once(peer: Peer) -> None:
        await peer.request()
        peer.write(OK + poison)

    async def later(peer: Peer) -> None:
        await peer.request()
        peer.write(OK)
        await rig.sleep(0.01)
        peer.write(poison)

    for script, pause in ((at_once, 0), (later, 0.1)):
        worker = rig.worker(script)
        for _ in range(4):
            sink = Kept()
            await rig.send(worker, sink=sink)
            assert sink.data == b"ok"
            await rig.sleep(pause)
        for peer in worker.peers[:-1]:
            await peer.until_gone()


@pytest_twisted.ensureDeferred
async def test_hop_by_hop_fields_of_a_reply_stay_here(rig: Rig) -> None:
    """And so do those that its Connection names; the front writes its own."""
    wire = (
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: X-Mine\r\nX-Mine: 1\r\nProxy-Authenticate: x\r\n"
        b"x-KEPT:  1 \t\r\nContent-Length: 2\r\nUpgrade: h2c\r\nTrailer: X\r\n\r\nok"
    )
    head = await rig.send(rig.worker(says(wire)))
    assert head.headers == ((b"x-KEPT", b"1"),)


@pytest_twisted.ensureDeferred
async def test_a_worker_that_answers_goes_on_being_used(rig: Rig) -> None:
    """One connection for calls that follow each other."""
    worker = rig.worker(answers)
    for _ in range(5):
        await rig.send(worker)
    assert len(worker.peers) == 1
