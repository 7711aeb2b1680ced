"""Requests to services outside the fleet: bounded, verified, and nothing done that was not asked for."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from raw_worker import Peer, RawWorker, Script, says
from twisted.internet.ssl import Certificate, PrivateCertificate, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import Site

from ngpu.errors import FetchFailed, PayloadTooLarge
from ngpu.fetch import make_fetcher, retry_after
from ngpu.interfaces import Fetched, FetchRequest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%b\r\nok"


class Rig:
    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.fetcher = make_fetcher(reactor)
        self.workers: list[RawWorker] = []

    def serve(self, script: Script) -> str:
        self.workers.append(RawWorker(self.reactor, script))
        return f"http://127.0.0.1:{self.workers[-1].port}"

    async def get(self, url: str, timeout: float = 5.0, **more: Any) -> Fetched:
        return await self.fetcher.fetch(FetchRequest(url), timeout, **more)


@pytest_twisted.async_yield_fixture
async def rig() -> AsyncIterator[Rig]:
    from twisted.internet import reactor

    made = Rig(reactor)
    yield made
    await made.fetcher.close()
    for worker in made.workers:
        await worker.stop()


@pytest_twisted.ensureDeferred
async def test_a_redirect_is_not_followed(rig: Rig) -> None:
    """A source must not be able to send the gateway elsewhere, least of all with its keys."""
    elsewhere = rig.serve(says(OK % b""))
    url = rig.serve(says(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n" % elsewhere.encode()))
    assert (await rig.get(url)).status == 302
    assert rig.workers[0].peers == []


@pytest_twisted.ensureDeferred
async def test_nothing_is_kept_or_unpacked(rig: Rig) -> None:
    """No cookie comes back, no Content-Encoding is asked for or undone; connections are used again."""
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            heads.append((await peer.request()).lower())
            peer.write(OK % b"Set-Cookie: a=b; Path=/\r\nContent-Encoding: gzip\r\n")

    url = rig.serve(script)
    for _ in range(3):
        assert (await rig.get(url)).body == b"ok"
    assert len(rig.workers[0].peers) == 1
    assert all(b"cookie" not in head and b"accept-encoding: identity" in head for head in heads)


@pytest_twisted.ensureDeferred
async def test_a_body_is_sent_with_its_length(rig: Rig) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        peer.write(OK % b"")

    request = FetchRequest(rig.serve(script) + "/x?y=z", "POST", (("X-Key", "k"),), b'{"a":1}')
    assert await rig.fetcher.fetch(request, 5.0) == Fetched(200, b"ok", None)
    assert seen[0].startswith(b"POST /x?y=z HTTP/1.1\r\n") and seen[0].endswith(b'\r\n\r\n{"a":1}')
    assert b"x-key: k\r\n" in seen[0].lower()


@pytest_twisted.ensureDeferred
async def test_the_longest_body_passes_and_one_byte_more_does_not(rig: Rig) -> None:
    def of(length: int) -> str:
        return rig.serve(says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (length, b"x" * length)))

    assert len((await rig.get(of(1 << 20))).body) == 1 << 20
    with pytest.raises(PayloadTooLarge):
        await rig.get(of((1 << 20) + 1))
    with pytest.raises(PayloadTooLarge):
        await rig.get(of(11), limit=10)
    await deferLater(rig.reactor, 0)  # all of these few bytes are here, and the connection is on its way into the pool


@pytest_twisted.ensureDeferred
async def test_heads_have_a_limit_too(rig: Rig) -> None:
    """Twisted's client reads header fields without end: a source must not fill the memory within its timeout."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(b"HTTP/1.1 200 OK\r\n")
        await peer.write_many(b"X-Filler: yes\r\n" * 4096, 1000)

    with pytest.raises(FetchFailed):
        await rig.get(rig.serve(script), 30.0)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123"])
@pytest_twisted.ensureDeferred
async def test_a_reply_that_does_not_end_is_given_up_and_its_connection_closed(rig: Rig, sent: bytes) -> None:
    gone: list[bool] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(sent)
        await peer.until_gone()
        gone.append(True)

    url = rig.serve(script)
    with pytest.raises(FetchFailed, match=r"within 0\.2 s"):
        await rig.get(url, 0.2)
    await rig.workers[0].running[0]
    assert gone == [True]


def certificate(name: str) -> PrivateCertificate:
    """A certificate for 127.0.0.1 or a name, self-signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    alternative: x509.GeneralName = x509.DNSName(name)
    if name[0].isdigit():
        alternative = x509.IPAddress(ipaddress.ip_address(name))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + made.public_bytes(serialization.Encoding.PEM)
    return PrivateCertificate.loadPEM(pem)


@pytest.mark.parametrize(
    ("name", "trusted", "said"),
    [
        ("127.0.0.1", True, ""),
        ("127.0.0.1", False, "Error"),
        ("example.org", True, "Error"),
    ],
    ids=["right", "signed by nobody", "of somebody else"],
)
@pytest_twisted.ensureDeferred
async def test_certificates_are_verified(name: str, trusted: bool, said: str) -> None:
    from twisted.internet import reactor

    class Hello(Resource):
        isLeaf = True
        seen = 0

        def render_GET(self, request: Any) -> bytes:
            Hello.seen += 1
            return b"{}"

    own: Any = certificate(name)
    root = trustRootFromCertificates([Certificate.loadPEM(own.dumpPEM())]) if trusted else None
    made: Any = reactor
    site: Any = Site(Hello())
    port = made.listenSSL(0, site, own.options(), interface="127.0.0.1")
    fetcher = make_fetcher(reactor, root)
    try:
        asking = fetcher.fetch(FetchRequest(f"https://127.0.0.1:{port.getHost().port}/"), 5.0)
        if said:
            with pytest.raises(FetchFailed, match=said):
                await asking
            assert Hello.seen == 0
        else:
            assert (await asking).body == b"{}"
    finally:
        await fetcher.close()
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_closing_ends_what_is_under_way(rig: Rig) -> None:
    from twisted.internet.defer import CancelledError, Deferred

    arrived: Deferred[None] = Deferred()

    async def script(peer: Peer) -> None:
        await peer.request()
        arrived.callback(None)
        await peer.until_gone()

    asking = Deferred.fromCoroutine(rig.get(rig.serve(script)))
    await arrived
    await rig.fetcher.close()
    with pytest.raises(CancelledError):
        await asking


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2021 08:00:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 20, None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds


@given(st.text(max_size=40))
def test_retry_after_never_raises(text: str) -> None:
    read: Callable[[str, float], float | None] = retry_after
    seconds = read(text, NOW)
    assert seconds is None or seconds >= 0
