"""The blocks that are about the process itself: store, admin, limits, plugins, egress, media."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import ConfigDict

from ngpu.settings.block import Block, written
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

DEFAULT_STORE = "sqlite"
"""``store.kind`` where it is left out."""


class Store(Block):
    """Where task records are kept: ``kind`` is a plugin of the family ``store``; its options stand beside it."""

    model_config = ConfigDict(extra="allow")

    kind: Name = DEFAULT_STORE

    @property
    def options(self) -> Mapping[str, Any]:
        """What stands beside ``kind``."""
        return MappingProxyType(self.__pydantic_extra__ or {})

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Options may hold passwords: they are not printed."""
        return [("kind", self.kind)]


class Admin(Block):
    """The admin listener. ``token_file`` holds its token; ``open_metrics`` shows ``/metrics`` without it."""

    listen: tuple[Endpoint, ...] = ("tcp:8081:interface=127.0.0.1",)
    token_file: FilePath = written("var/admin.token")
    open_metrics: Truth = False


class Log(Block):
    """The application's log, on standard output beside the access log: lines of text, or of JSON."""

    format: Literal["text", "json"] = "text"


class Tracing(Block):
    """Where spans of the work on requests are sent: the URL of an OpenTelemetry collector, over OTLP/HTTP; "": none."""

    endpoint: Annotated[
        Text, matching(r"(https?://[A-Za-z0-9_.:\[\]/~-]+)?", "must be a URL such as http://127.0.0.1:4318")
    ] = ""


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
    """Files in ``folder`` that workers fetch from the gateway, at ``url`` as they see it, for ``ttl`` seconds."""

    url: Annotated[
        Text, matching(r"(https?://[A-Za-z0-9_.:\[\]-]+(/[A-Za-z0-9_.~/-]*)?)?", "must be http://host:port")
    ] = ""
    folder: FilePath = written("var/media")
    ttl: PositiveDuration = written("1h")
