"""The configuration as a whole."""

from __future__ import annotations

import zoneinfo
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PrivateAttr

from ngpu.settings.account import Cloud
from ngpu.settings.app import App, AppName
from ngpu.settings.block import Block, FrozenMap, refusal, written
from ngpu.settings.endpoint import Endpoint
from ngpu.settings.fleet import FleetSettings, NodeSettings, Registry
from ngpu.settings.gate import Gate
from ngpu.settings.kinds import CountFrom1, Duration, FilePath, Name, NetworkRange, Text, Truth, matching
from ngpu.settings.service import Admin, Egress, Limits, Log, Media, Plugins, Store, Tracing
from ngpu.settings.workspace import Workspace


def _zone_name(text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise refusal(
            "there is no such time zone; names look like UTC or Europe/Berlin",
            text,
            tuple(sorted(zoneinfo.available_timezones())),
        ) from None
    return text


RegistryHost = Annotated[
    Name, matching(r"[A-Za-z0-9.\[\]_-]+(:[0-9]{1,5})?", "must be a registry's host, with its port where it has one")
]


class Settings(Block):
    """Everything that the configuration says. Paths are absolute, durations seconds, sizes bytes."""

    listen: Annotated[tuple[Endpoint, ...], Field(min_length=1)] = ("tcp:8080:interface=127.0.0.1",)
    http2: Truth = True
    processes: CountFrom1 = 1
    timezone: Annotated[Text, AfterValidator(_zone_name)] = "UTC"
    store: Store = written({})
    spool: FilePath = written("var/spool")
    admin: Admin = written({})
    log: Log = written({})
    tracing: Tracing = written({})
    plugins: Plugins = written({})
    egress: Egress = written({})
    media: Media = written({})
    fleet: FleetSettings = written({})
    registries: FrozenMap[RegistryHost, Registry] = written({})
    node_grace: Duration = written("5m")
    trusted_proxies: tuple[NetworkRange, ...] = ()
    cloud: Cloud = written({})
    nodes: tuple[NodeSettings, ...] = ()
    workspaces: tuple[Workspace, ...] = ()
    gates: FrozenMap[Name, Gate] = written({})
    apps: FrozenMap[AppName, App] = written({})
    limits: Limits = written({})
    api_pages: Truth = True

    _folder: Path = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Keep the folder that relative paths were taken from."""
        self._folder = context.folder

    @property
    def folder(self) -> Path:
        """The configuration file's folder, absolute."""
        return self._folder

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The time zone of times in records and task ids."""
        return zoneinfo.ZoneInfo(self.timezone)
