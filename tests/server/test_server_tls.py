"""The same over TLS, whose transport cannot half-close and has a producer interface of its own."""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from server_rig import App, NotedSite, Served, make_site, read_replies
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThread


def self_signed() -> PrivateCertificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + made.public_bytes(serialization.Encoding.PEM)
    return PrivateCertificate.loadPEM(pem)


class ServedTLS(Served):
    """A site behind TLS."""

    def __init__(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.app: App
        self.site: NotedSite
        self.app, self.site = make_site(reactor)
        self.listening = self.reactor.listenSSL(0, self.site, self_signed().options(), interface="127.0.0.1")
        self.port = self.listening.getHost().port
        self.wires = []

    def exchange(self, data: bytes) -> bytes:
        """Send `data` and read until the server closes; to be called in a thread."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.port), 10) as raw, context.wrap_socket(raw) as client:
            client.sendall(data)
            return b"".join(iter(lambda: client.recv(65536), b""))


@pytest_twisted.async_yield_fixture
async def served_tls() -> AsyncIterator[ServedTLS]:
    one = ServedTLS()
    yield one
    await one.stop()


@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", [200, 200]),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n", [200, 400]),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", [413]),
    ],
)
@pytest_twisted.ensureDeferred
async def test_tls(served_tls: ServedTLS, raw: bytes, statuses: list[int]) -> None:
    """Replies are complete before the end, which is a clean one, and the connection is not left behind."""
    replies = read_replies(await deferToThread(served_tls.exchange, raw))
    assert [reply.status for reply in replies] == statuses
    await served_tls.until(lambda: served_tls.site.connections == 0)
