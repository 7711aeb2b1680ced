"""What a configuration begins with, as people and command lines say it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import click

_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\]"
_WHERE = re.compile(rf"(?:(?P<host>{_HOST}|\*):)?(?P<port>[0-9]{{1,5}})")
KEY_BYTES = 24


@dataclass(frozen=True)
class Where:
    """A host, "" for every address of this machine, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host or '*'}:{self.port}"

    @property
    def endpoint(self) -> str:
        """As Twisted describes it."""
        if not self.host:
            return f"tcp:{self.port}"
        host = self.host.strip("[]").replace(":", "\\:")
        return f"{'tcp6' if ':' in self.host else 'tcp'}:{self.port}:interface={host}"

    @property
    def url(self) -> str:
        """For a client on this machine."""
        return f"http://{self.host or 'localhost'}:{self.port}"


class WhereType(click.ParamType[Where]):
    """HOST:PORT, or a port of 127.0.0.1; ``*:PORT`` is every address of this machine."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Where:
        """See `click.ParamType.convert`."""
        if isinstance(value, Where):
            return value
        found = _WHERE.fullmatch(str(value).removeprefix("http://").rstrip("/"))
        if found is None or not 0 < int(found["port"]) < 65536:
            self.fail(f"{value!r} is no HOST:PORT, such as 127.0.0.1:8080 or *:8080", param, ctx)
        host = found["host"] if found["host"] is not None else "127.0.0.1"
        return Where("" if host == "*" else host, int(found["port"]))


WHERE = WhereType()


@dataclass(frozen=True)
class Answers:
    """Everything that is asked.

    Either ``workers`` that run already, or an ``image`` for ``engines``. ``store`` is "sqlite", or the URL of a Redis.
    Addresses of nodes are drawn from ``seed``; ``key`` is the workspace's.
    """

    listen: Where = Where("127.0.0.1", 8080)
    admin: Where = Where("127.0.0.1", 8081)
    store: str = "sqlite"
    name: str = "first"
    port: int = 8080
    workers: Sequence[Where] = ()
    image: str = ""
    engines: Sequence[str] = ()
    gpus: int = 0
    replicas: int = 1
    health: str = "/"
    seed: str = field(default_factory=secrets.token_hex, repr=False)
    key: str = field(default_factory=lambda: "ngpu-" + secrets.token_urlsafe(KEY_BYTES), repr=False)
