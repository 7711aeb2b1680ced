"""What a worker gets to see of a request, byte for byte."""

from __future__ import annotations

import pytest
import pytest_twisted
from raw_worker import OK, Peer, answers
from twisted.web.client import FileBodyProducer
from twisted.web.http_headers import Headers
from upstream_rig import Rig

from ngpu.errors import BadRequest
from ngpu.model import CHUNK, BytesBody
from ngpu.upstream.agent import UpstreamAgent
from ngpu.upstream.client import UpstreamClient

FIELDS = ((b"x-SECOND", b"2"), (b"Content-type", b"text/plain; q=\xff"), (b"X-First", b"1"), (b"x-second", b"3"))


def seen_by(seen: list[bytes]):  # type: ignore[no-untyped-def]
    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        peer.write(OK)
        await peer.until_gone()
        seen.append(bytes(peer.received))

    return script


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        ("GET", b"", b""),
        ("DELETE", b"", b""),
        ("OPTIONS", b"", b""),
        ("POST", b"", b"Content-Length: 0\r\n"),
        ("PUT", b"", b"Content-Length: 0\r\n"),
        ("PATCH", b"", b"Content-Length: 0\r\n"),
        ("GET", b"id=1", b"Content-Length: 4\r\n"),
        ("POST", b'{"a":1}', b"Content-Length: 7\r\n"),
        ("PUT", b"\x00" * (3 * CHUNK + 7), b"Content-Length: %d\r\n" % (3 * CHUNK + 7)),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_request_is_these_bytes_and_no_others(rig: Rig, method: str, body: bytes, framing: bytes) -> None:
    """Target as given, our Host, the fields in their order and case, one framing field or none."""
    seen: list[bytes] = []
    worker = rig.worker(seen_by(seen))
    await rig.send(worker, method, "/a//b/%2e?q=%C3%A9&&x='\"|^`{}[]\\", body, fields=FIELDS)
    await rig.pool.close()
    assert seen[0] == (
        method.encode()
        + b" /a//b/%2e?q=%C3%A9&&x='\"|^`{}[]\\ HTTP/1.1\r\n"
        + b"Host: 127.0.0.1:%d\r\n" % worker.port
        + b"x-SECOND: 2\r\nContent-type: text/plain; q=\xff\r\nX-First: 1\r\nx-second: 3\r\n"
        + framing
        + b"\r\n"
        + body
    )
    assert seen[1:] in ([], [b""])


@pytest_twisted.ensureDeferred
async def test_a_small_body_leaves_together_with_its_head(rig: Rig) -> None:
    """Two packets would cost the worker a second read, and on bad days a delayed acknowledgement."""
    arrived: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.until(lambda: bool(peer.received))
        arrived.append(bytes(peer.received))
        peer.write(OK)

    await rig.send(rig.worker(script), "POST", body=b"small")
    assert arrived[0].endswith(b"\r\n\r\nsmall")


@pytest_twisted.ensureDeferred
async def test_a_worker_on_ipv6(rig: Rig) -> None:
    """Addresses of version 6 need no name, and stand in brackets in Host."""
    seen: list[bytes] = []
    worker = rig.worker(seen_by(seen), "::1")
    await rig.send(worker)
    assert b"\r\nHost: [::1]:%d\r\n" % worker.port in seen[0]


@pytest_twisted.ensureDeferred
async def test_a_worker_by_name(rig: Rig) -> None:
    """Names go through the reactor's resolver, and stand in Host as configured."""
    seen: list[bytes] = []
    worker = rig.worker(seen_by(seen))
    worker.host = "localhost"
    await rig.send(worker)
    assert b"\r\nHost: localhost:%d\r\n" % worker.port in seen[0]


@pytest_twisted.ensureDeferred
async def test_what_is_not_the_workers_business_stays_here(rig: Rig) -> None:
    """Credentials of the gateway, claims of proxies and hop-by-hop fields are not forwarded; cookies are."""
    seen: list[bytes] = []
    fields = (
        (b"Authorization", b"Bearer secret"),
        (b"Cookie", b"a=b"),
        (b"Connection", b"x-mine, close"),
        (b"X-Mine", b"1"),
        (b"Content-Length", b"99"),
        (b"Transfer-Encoding", b"chunked"),
        (b"X-Forwarded-For", b"10.0.0.1"),
        (b"Expect", b"100-continue"),
        (b"HOST", b"evil"),
    )
    worker = rig.worker(seen_by(seen))
    await rig.send(worker, "POST", fields=fields, body=b"x")
    assert (
        seen[0] == b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nCookie: a=b\r\nContent-Length: 1\r\n\r\nx" % worker.port
    )


@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        ("GET", "/a b", ()),
        ("GET", "/a\r\nX: y", ()),
        ("GET", "/a\n", ()),
        ("GET", "/\x00", ()),
        ("GET", "/é", ()),
        ("GET", "/\ud800", ()),
        ("GET", "/a#b", ()),
        ("GET", "//\x7f", ()),
        ("G T", "/", ()),
        ("GET /x HTTP/1.1\r\nX:", "/", ()),
        ("", "/", ()),
        ("GET", "/", ((b"X Y", b"1"),)),
        ("GET", "/", ((b"", b"1"),)),
        ("GET", "/", ((b"X:", b"1"),)),
        ("GET", "/", ((b"Host: evil", b"1"),)),
        ("GET", "/", ((b"X: 1\r\nY", b"1"),)),
        ("GET", "/", ((b"X", b"1\r\nY: 2"),)),
        ("GET", "/", ((b"X", b"1\x00"),)),
        ("GET", "/", ((b"X", b"1\n"),)),
        ("GET", "/", ((b"X", b"\x7f"),)),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_could_be_read_as_something_else_is_never_sent(rig: Rig, method, target, fields) -> None:  # type: ignore[no-untyped-def]
    """No injection into the request line or the head, whatever a room above has let through."""
    worker = rig.worker(answers)
    with pytest.raises(BadRequest):
        await rig.send(worker, method, target, fields=fields)
    assert not worker.peers


@pytest_twisted.ensureDeferred
async def test_a_target_without_a_slash_reaches_nobody(rig: Rig) -> None:
    """A target is appended to `http://host:port`: without its slash it would change the host."""
    worker = rig.worker(answers)
    for target in ("", "@evil/", ".evil/", "1/", "?x"):
        with pytest.raises(BadRequest):
            await rig.send(worker, target=target)
    assert not worker.peers


@pytest_twisted.ensureDeferred
async def test_the_client_takes_what_treq_takes_for_a_body(rig: Rig) -> None:
    """Other users of the client may hand it Twisted's own producers, headers, and bytes."""
    import io

    seen: list[bytes] = []
    worker = rig.worker(seen_by(seen))
    client = UpstreamClient(UpstreamAgent(rig.pool))
    big = FileBodyProducer(io.BytesIO(b"z" * 300_000), cooperator=_cooperator(rig))
    for data in (b"bytes", BytesBody(b"body"), big):
        url = f"http://127.0.0.1:{worker.port}/x"
        response = await client.post(url, headers=Headers({"x-a": ["1", "2"]}), data=data)
        assert (response.code, response.phrase) == (200, b"OK")
        assert await response.content() == b"ok"
        await rig.pool.close()
        rig.pool = type(rig.pool)(rig.reactor)
        client = UpstreamClient(UpstreamAgent(rig.pool))
    heads = [one for one in seen if one]
    assert [head[-5:] for head in heads] == [b"bytes", b"\nbody", b"zzzzz"]
    assert all(b"X-A: 1\r\nX-A: 2\r\n" in head for head in heads)


def _cooperator(rig: Rig):  # type: ignore[no-untyped-def]
    from twisted.internet.task import Cooperator

    return Cooperator(scheduler=lambda step: rig.reactor.callLater(0, step))


@pytest_twisted.ensureDeferred
async def test_the_client_refuses_what_a_gateway_must_not_do(rig: Rig) -> None:
    """Asking for cookies, redirects or buffers is an error, not something silently left out."""
    client = UpstreamClient(UpstreamAgent(rig.pool))
    for options in ({"cookies": {}}, {"allow_redirects": True}, {"unbuffered": False}, {"auth": ("a", "b")}):
        with pytest.raises(TypeError):
            client.get("http://127.0.0.1:1/", **options)
