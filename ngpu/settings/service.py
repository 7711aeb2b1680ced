"""The blocks that are about the process itself: store, admin, limits, plugins, egress, cloud."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from ngpu.settings.block import Block, concealed, written
from ngpu.settings.endpoint import Endpoint
from ngpu.settings.kinds import (
    CountFrom1,
    FilePath,
    Name,
    NetworkRange,
    PositiveDuration,
    PositiveSize,
    Size,
    Text,
    Truth,
    matching,
)


class SqliteStore(Block):
    """Task records in a file of this machine."""

    kind: Literal["sqlite"] = "sqlite"
    path: FilePath = written("var/ngpu.sqlite")


class RedisStore(Block):
    """Task records in Redis; ``sentinels`` are ``host:port`` of its sentinels."""

    kind: Literal["redis"]
    url: Annotated[Text, matching(r"rediss?://\S+", "must be redis://host:port/number")] = Field(repr=False)
    sentinels: tuple[Name, ...] = ()


class UnknownStore(Block):
    """Stands for a ``kind`` that does not exist, to say so."""

    model_config = ConfigDict(extra="ignore")

    kind: Literal["sqlite", "redis"]


def _which(value: Any) -> str:
    kind = value.get("kind", "sqlite") if isinstance(value, dict) else getattr(value, "kind", "sqlite")
    return f"<{kind}>" if kind in ("sqlite", "redis") else "<unknown>"


Store = Annotated[
    Annotated[SqliteStore, Tag("<sqlite>")]
    | Annotated[RedisStore, Tag("<redis>")]
    | Annotated[UnknownStore, Tag("<unknown>")],
    Discriminator(_which),
]


class Admin(Block):
    """The admin listener. ``token_file`` holds its token; ``open_metrics`` shows ``/metrics`` without it."""

    listen: tuple[Endpoint, ...] = ("tcp:8081:interface=127.0.0.1",)
    token_file: FilePath = written("var/admin.token")
    open_metrics: Truth = False


class Limits(Block):
    """What the front takes from a client before it hangs up; seconds and bytes.

    A complete head within ``head_timeout``, of at most ``head_size`` bytes and ``header_count`` fields; a body of at
    least ``body_rate`` bytes a second, averaged over ``body_window``; ``idle_timeout`` between two requests;
    ``write_timeout`` without a byte of a reply taken; ``connections`` open at once, and ``streams`` of tasks' statuses;
    ``body_memory`` for all large bodies together.
    """

    head_timeout: PositiveDuration = written("10s")
    head_size: PositiveSize = written("64KiB")
    header_count: CountFrom1 = 100
    idle_timeout: PositiveDuration = written("75s")
    body_rate: Size = written("1KiB")
    body_window: PositiveDuration = written("30s")
    connections: CountFrom1 = 10_000
    write_timeout: PositiveDuration = written("60s")
    body_memory: PositiveSize = written("1GiB")
    streams: CountFrom1 = 1000


class Plugins(Block):
    """Folders with plugins, beside those that are installed."""

    path: tuple[FilePath, ...] = ()


class Egress(Block):
    """Private or loopback networks that URLs given by customers may lead to."""

    allow: tuple[NetworkRange, ...] = ()


class Media(Block):
    """Files that workers fetch from the gateway, at ``url`` as they see it, for ``ttl`` seconds."""

    url: Annotated[
        Text, matching(r"(https?://[A-Za-z0-9_.:\[\]-]+(/[A-Za-z0-9_.~/-]*)?)?", "must be http://host:port")
    ] = ""
    ttl: PositiveDuration = written("1h")


class Account(Block):
    """A user of the published command-line client."""

    email: Name
    password: Annotated[
        Text,
        matching(
            r"scrypt\$[0-9]{1,9}\$[0-9]{1,4}\$[0-9]{1,4}\$([0-9A-Fa-f]{2})+\$([0-9A-Fa-f]{2})+",
            "must be scrypt$n$r$p$salt$hash with salt and hash in hex",
        ),
    ] = Field(repr=False)


class Cloud(Block):
    """Accounts of the published command-line client (wire contract §7)."""

    accounts: tuple[Account, ...] = concealed(())
