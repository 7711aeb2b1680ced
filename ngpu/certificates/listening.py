"""Pure: what an endpoint description says of TLS.

Twisted reads the files of an ``ssl:`` endpoint once, and sends no more than the first certificate of ``certKey``. So
the description is taken apart here: into the files, which somebody watches, and the plain endpoint that lies below.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from twisted.internet.endpoints import _parse, quoteStringArgument

_SSL = ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain", "dhParameters")
"""The arguments of ``ssl:``, in Twisted's order."""

_OURS = ("privateKey", "certKey", "extraCertChain")
_SETTLED = {
    "sslmethod": "TLS 1.2 and 1.3 are spoken, and nothing else",
    "dhParameters": "keys are agreed on by elliptic curves only",
}


class Files(NamedTuple):
    """A certificate with all that vouches for it, and its key, each in PEM; the first two may be one file."""

    certificate: Path
    key: Path
    chain: Path | None = None


class TlsListener(NamedTuple):
    """A listener with TLS: its files, and the description of the endpoint that lies below."""

    files: Files
    plain: str


def tls_listener(description: str) -> TlsListener | None:
    """What an endpoint description says of TLS; ``None``: nothing.

    Beside ``ssl:`` it is ``systemd:`` that may name files, with the same words.

    :raises ValueError: it does not fit together; ``str()`` says why.
    """
    kind = description.partition(":")[0]
    if kind not in ("ssl", "systemd"):
        return None
    listed, named = _parse(description)
    if kind == "systemd":
        found = {name: named.pop(name) for name in _OURS if name in named}
        if not found:
            return None
        plain = ":".join([*map(_quoted, listed), *(f"{name}={_quoted(value)}" for name, value in named.items())])
        return TlsListener(_files(found), plain)
    found = dict(zip(_SSL, listed[1:], strict=False))
    if len(listed) - 1 > len(_SSL) or found.keys() & named.keys() or not named.keys() <= {*_SSL}:
        raise ValueError("ssl: does not take these arguments: it is ssl:<port>:privateKey=<file>:certKey=<file>")
    found |= named
    for name, why in _SETTLED.items():
        if name in found:
            raise ValueError(f"{name} is not taken: {why}")
    if not found.get("port", "").isdigit():
        raise ValueError("ssl: needs a port: ssl:<port>:privateKey=<file>:certKey=<file>")
    plain = f"tcp:{found['port']}"
    for name in ("interface", "backlog"):
        if name in found:
            plain += f":{name}={_quoted(found[name])}"
    return TlsListener(_files(found), plain)


def _files(found: dict[str, str]) -> Files:
    key = found.get("privateKey")
    if not key:
        raise ValueError("privateKey=<file> is missing")
    chain = found.get("extraCertChain")
    return Files(Path(found.get("certKey") or key), Path(key), Path(chain) if chain else None)


def _quoted(text: str) -> str:
    quoted: str = quoteStringArgument(text)
    return quoted
