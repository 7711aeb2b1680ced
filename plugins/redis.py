"""Store ``redis``: task records in a Redis that several gateways share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ngpu import options as read
from ngpu.errors import ConfigError
from ngpu.interfaces import Option, PluginContext
from ngpu.plugin import Factory

_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
MOST = 3600.0
"""Seconds that a duration of this block may have."""

OPTIONS = (
    Option("url", "redis://user:password@host:port/number; rediss:// with TLS; unix:///path?db=number", unit="URL"),
    Option("password_file", "the file that holds the password, in place of one in the URL", unit="file"),
    Option("ca", "PEM file of the authorities that are trusted for rediss://, in place of the system's", unit="file"),
    Option("sentinels", "host:port of each sentinel; the host of the URL is then the name of the master", []),
    Option("sentinel_password_file", "the file that holds the sentinels' password", unit="file"),
    Option("prefix", "what all keys begin with; a fleet of its own needs one of its own", "ngpu"),
    Option("timeout", "how long a call waits for Redis before it is refused", "5s", "duration"),
    Option("lease", "after how long a gateway that is not heard of counts as gone", "10s", "duration"),
)


def _make(options: Mapping[str, Any], context: PluginContext) -> Any:
    # here, and not at the top: txredisapi installs the reactor, and whoever only lists plugins needs none
    from ngpu.stores.redis import RedisOptions, RedisTaskStore, address_of, trusted

    if "url" not in options:
        raise ConfigError("url is missing, such as redis://127.0.0.1:6379/0")
    address = address_of(options["url"], options.get("sentinels", []))
    if "password_file" in options:
        if address.password:
            raise ConfigError("stands beside a password in the URL: leave out one of them", ("password_file",))
        address = replace(address, password=read.secret(options, "password_file", context.folder))
    if "ca" in options and not address.tls:
        raise ConfigError("is for rediss:// only", ("ca",))
    if "sentinel_password_file" in options and not address.sentinels:
        raise ConfigError("there are no sentinels", ("sentinel_password_file",))
    prefix = options.get("prefix", "ngpu")
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise ConfigError("must be 1 to 64 letters, digits, '.', '_' or '-'", ("prefix",))
    return RedisTaskStore(
        address,
        context.clock,
        RedisOptions(
            trust=trusted(read.file(options, "ca", "", context.folder) if "ca" in options else None),
            sentinel_password=read.secret(options, "sentinel_password_file", context.folder)
            if "sentinel_password_file" in options
            else "",
            prefix=prefix,
            timeout=read.duration(options, "timeout", "5s", MOST),
            lease=read.duration(options, "lease", "10s", MOST),
        ),
    )


redis = Factory("store", "redis", "A Redis that several gateways share.", _make, OPTIONS)
