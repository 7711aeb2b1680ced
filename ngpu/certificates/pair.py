"""From files to a certificate and its key that a listener can use."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from OpenSSL.crypto import Error as CryptoError
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions

from ngpu.certificates.listening import Files
from ngpu.errors import NgpuError

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption, which HTTP/2 wants, too (RFC 9113 §9.2.2)."""

_LARGEST = 1024 * 1024
_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)


class CertificateError(NgpuError):
    """A certificate and a key that cannot be used; ``str()`` names the file and says why."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, which belong together.

    ``begins`` and ``expires`` are the certificate's, in seconds since 1970 (what is sent with it may well have expired:
    clients find their own way up); ``fingerprint`` is its SHA-256, in lower case.
    """

    files: Files
    begins: float
    expires: float
    fingerprint: str
    options: CertificateOptions = field(repr=False)

    def check(self, now: float) -> None:
        """:raises CertificateError: it has expired, or its time has not come."""
        if now >= self.expires:
            raise CertificateError(f"the certificate {self.files.certificate} expired on {_day(self.expires)}")
        if now < self.begins:
            raise CertificateError(f"the certificate {self.files.certificate} is valid from {_day(self.begins)} on")


def load(files: Files) -> Pair:
    """Read a certificate, what is to be sent with it, and its key.

    All certificates of the first file are sent, so that it may be what ACME clients call the full chain.

    :raises CertificateError: a file cannot be read, or they do not fit together. Times are not looked at.
    """
    own, *others = _certificates(files.certificate)
    if files.chain is not None:
        others += _certificates(files.chain)
    key = _key(files.key)
    try:
        belongs = key.public_key() == own.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{files.certificate} holds a broken key, or one of a kind that is not known") from None
    if not belongs:
        raise CertificateError(f"the key {files.key} does not belong to the certificate {files.certificate}")
    try:
        options = CertificateOptions(
            privateKey=PKey.from_cryptography_key(key),
            certificate=X509.from_cryptography(own),
            extraCertChain=[X509.from_cryptography(each) for each in others],
            acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(CIPHERS),
        )
        options.getContext().set_options(SSL.OP_NO_RENEGOTIATION)  # RFC 9113 §9.2.1
    except (SSL.Error, CryptoError, ValueError, TypeError) as error:
        raise CertificateError(f"the certificate {files.certificate} is not taken: {_told(error)}") from None
    return Pair(
        files,
        own.not_valid_before_utc.timestamp(),
        own.not_valid_after_utc.timestamp(),
        hashlib.sha256(own.public_bytes(Encoding.DER)).hexdigest(),
        options,
    )


def _certificates(file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_content(file, "certificate"))
    except (ValueError, x509.InvalidVersion):
        raise CertificateError(f"{file} holds no certificate in PEM, or a broken one") from None


def _key(file: Path) -> Any:
    found = _KEY.search(_content(file, "key"))
    if found is None:
        raise CertificateError(f"{file} holds no private key in PEM")
    try:
        return load_pem_private_key(found[0] + b"\n", None)
    except TypeError:
        raise CertificateError(f"the key {file} is encrypted: it has to be kept without a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{file} holds a broken private key, or one of a kind that is not known") from None


def _content(file: Path, what: str) -> bytes:
    try:
        with open(file, "rb", opener=_at_once) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise CertificateError(f"the {what} {file} is no file")
            data = opened.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "the name is not valid"
        raise CertificateError(f"the {what} {file} cannot be read ({why})") from None
    if len(data) > _LARGEST:
        raise CertificateError(f"the {what} {file} is larger than 1 MiB")
    return data


def _at_once(file: str, flags: int) -> int:
    """A pipe without a writer must not hold the reactor."""
    return os.open(file, flags | os.O_NONBLOCK)


def _told(error: Exception) -> str:
    """OpenSSL's words, without its numbers."""
    reasons = error.args[0] if isinstance(error, (SSL.Error, CryptoError)) and error.args else None
    return reasons[-1][-1] if isinstance(reasons, list) and reasons else str(error)


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
