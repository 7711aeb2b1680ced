"""Whom a connection leads to. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from twisted.internet.abstract import isIPv6Address

from ngpu.errors import DialFailed

_NAME = re.compile(r"[0-9A-Za-z._-]+")


class Origin(NamedTuple):
    """A host (a name, or an IP address without brackets) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@lru_cache(maxsize=1024)
def authority_of(host: str, port: int) -> str:
    """``host:port`` in a URL and in Host (RFC 3986 §3.2): brackets around IPv6, international names in IDNA.

    :raises DialFailed: that is no host name.
    """
    try:
        ascii_host = host.encode("idna").decode("ascii")
    except UnicodeError:
        ascii_host = ""
    if not (_NAME.fullmatch(ascii_host) or isIPv6Address(ascii_host)):
        raise DialFailed(f"{host!r} is no host name and no address: correct the node's host")
    return str(Origin(ascii_host, port))


@lru_cache(maxsize=1024)
def origin_of(authority: bytes) -> Origin:
    """The reverse of ``authority_of``; without a port it is 80.

    :raises ValueError: that is no authority.
    """
    text = authority.decode("ascii")
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, "80"
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or "@" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is no host and port")
    return Origin(host, int(port))
