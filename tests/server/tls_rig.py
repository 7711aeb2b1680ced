"""A site behind TLS."""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from h2_client import H2Client
from server_rig import QUICK, App, NotedSite, Served, make_site
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThread

from ngpu.http.server import Limits

T = TypeVar("T")


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

    def __init__(self, limits: Limits = QUICK) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.app: App
        self.site: NotedSite
        self.app, self.site = make_site(reactor, limits)
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

    async def talk(self, scenario: Callable[[H2Client], T], checked: bool = True, greedy: bool = True) -> T:
        """What a client of HTTP/2 makes of it, in a thread of its own."""

        def run() -> T:
            with H2Client(self.port, checked=checked, greedy=greedy) as client:
                return scenario(client)

        return await deferToThread(run)
