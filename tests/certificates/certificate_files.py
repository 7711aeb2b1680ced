"""An authority, and certificates of it in files, as ACME clients leave them: chain and key, renewed in place."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """A root and an intermediate; clients know the root only."""

    def __init__(self, folder: Path) -> None:
        self._root = _signed("root", None, DAY * 100, authority=True)
        self._middle = _signed("middle", self._root, DAY * 50, authority=True)
        self.file = folder / "root.pem"
        self.file.write_bytes(_pem(self._root[0]))

    @property
    def middle(self) -> bytes:
        return _pem(self._middle[0])

    def issue(self, life: datetime.timedelta = DAY * 30, begins: datetime.timedelta = -DAY) -> tuple[bytes, bytes]:
        """A certificate of 127.0.0.1 and localhost with its intermediate, and its key."""
        made, key = _signed("server", self._middle, life, begins=begins)
        return _pem(made) + self.middle, key_pem(key)


def key_pem(key: Any, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    made: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return made


def expiry(chain: bytes) -> float:
    return x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc.timestamp()


def _pem(made: x509.Certificate) -> bytes:
    return made.public_bytes(serialization.Encoding.PEM)


def _signed(
    name: str,
    issuer: tuple[x509.Certificate, Any] | None,
    life: datetime.timedelta,
    *,
    authority: bool = False,
    begins: datetime.timedelta = -DAY,
) -> tuple[x509.Certificate, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key if issuer is None else issuer[1], hashes.SHA256()), key
