"""Where a Redis is and who we are there, read out of its URL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit

from ngpu.errors import ConfigError

PORT, SENTINEL_PORT = 6379, 26379
EXAMPLE = (
    "must be redis://host:port/number, rediss://… for TLS or unix:///path?db=number, "
    "each with user:password@ where one is needed"
)

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """A Redis: ``host`` and ``port``, or the ``path`` of a Unix socket; with ``sentinels``, ``host`` is the name under
    which they watch the master. ``username`` "" is Redis' user ``default``.
    """

    host: str = ""
    port: int = PORT
    path: str = ""
    tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    sentinels: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        """For messages, without credentials."""
        where = self.path or (f"the master {self.host}" if self.sentinels else joined(self.host, self.port))
        return f"{where}, database {self.database}" if self.database else where


def joined(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_of(url: object, sentinels: object = ()) -> Address:
    """Read the options ``url`` and ``sentinels``.

    :raises ConfigError: with the path of the option that is wrong.
    """
    if not isinstance(url, str):
        raise ConfigError(EXAMPLE, ("url",))
    if not isinstance(sentinels, Iterable) or isinstance(sentinels, str | dict):
        raise ConfigError('must be a list such as ["10.0.0.1:26379"]', ("sentinels",))
    watched = tuple(_sentinel(each, index) for index, each in enumerate(sentinels))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(EXAMPLE, ("url",)) from None
    if re.search(r"[\x00-\x20\x7f]", url) or parts.fragment or parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(EXAMPLE, ("url",))
    address = Address(
        tls=parts.scheme == "rediss",
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        sentinels=watched,
    )
    if parts.scheme == "unix":
        return _socket(address, parts.hostname, parts.path, parts.query)
    if parts.query or not parts.hostname or not _HOST.fullmatch(parts.hostname):
        raise ConfigError(EXAMPLE, ("url",))
    if watched and port is not None:
        raise ConfigError("with sentinels it is redis://name-of-the-master/number, without a port", ("url",))
    number = parts.path.removeprefix("/")
    # the name of a master that sentinels watch is not lower-cased, as hosts are
    host = parts.netloc.rpartition("@")[2] if watched else parts.hostname
    return replace(address, host=host, port=port or PORT, database=_database(number))


def _socket(address: Address, host: str | None, path: str, query: str) -> Address:
    if host or not path.startswith("/") or path == "/" or address.sentinels:
        raise ConfigError(EXAMPLE if not address.sentinels else "sentinels give a host, not a socket", ("url",))
    if query and not query.startswith("db="):
        raise ConfigError(EXAMPLE, ("url",))
    return replace(address, path=unquote(path), database=_database(query.removeprefix("db=")))


def _database(text: str) -> int:
    if text and not _NUMBER.fullmatch(text):
        raise ConfigError(EXAMPLE, ("url",))
    return int(text or 0)


def _sentinel(value: object, index: int) -> tuple[str, int]:
    wrong = ConfigError('must be host:port, such as "10.0.0.1:26379"', ("sentinels", index))
    if not isinstance(value, str):
        raise wrong
    host, colon, port = value.rpartition(":") if not value.endswith("]") else (value, "", "")
    if not colon:
        host, port = value, str(SENTINEL_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not _HOST.fullmatch(host) or not _NUMBER.fullmatch(port) or not 0 < int(port) < 65536:
        raise wrong
    return host, int(port)
