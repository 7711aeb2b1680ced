"""``twistd ngpu``: options, and from a configuration file to the service."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from twisted.application.service import IService
from twisted.python import usage

from ngpu.assembly import assemble
from ngpu.discovery import discover
from ngpu.errors import ConfigError
from ngpu.fetch import make_fetcher
from ngpu.interfaces import PluginContext
from ngpu.service import GatewayService
from ngpu.settings import CheckBlock, Loaded, load

_TOKEN_BYTES = 24


class Options(usage.Options):
    """The options of ``twistd ngpu``."""

    synopsis = "[--config FILE]"
    optParameters = [["config", "c", "/etc/ngpu/ngpu.yaml", "The configuration file."]]


def makeService(options: Options) -> IService:
    """The gateway's service; a configuration that cannot be used ends the process with a report on standard error."""
    from twisted.internet import reactor

    try:
        return service_of(Path(options["config"]), reactor)
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(ConfigError.exit_status) from None


def service_of(path: Path, reactor: Any) -> GatewayService:
    """Everything between a configuration file and a service that can be started.

    :raises ConfigError: with the whole report.
    """
    loaded = check(path, reactor)
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    plugins = discover(loaded.settings.plugins.path)
    parts = assemble(loaded, plugins, reactor, admin_token(loaded), sys.stdout)
    return GatewayService(parts, loaded.settings, reactor)


def check(path: Path, clock: Any) -> Loaded:
    """Read a configuration and find everything that is wrong with it, its plugins' options included.

    :raises ConfigError: with the whole report.
    """

    def find_plugins(folders: Sequence[Path]) -> CheckBlock:
        plugins = discover(folders)
        context = PluginContext(clock, Random(), str(path.absolute().parent), make_fetcher(clock))
        return lambda family, name, options: plugins.make(family, name, options, context)

    return load(path, find_plugins=find_plugins)


def admin_token(loaded: Loaded) -> str:
    """The admin listener's token; a new one is made where its file is missing.

    :raises ConfigError: the file cannot be read or made, or is empty.
    """
    file = loaded.settings.admin.token_file
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            token = file.read_text().strip()
        else:
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            with os.fdopen(descriptor, "w") as out:
                out.write(token + "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise loaded.located(("admin", "token_file"), f"cannot be used: {error}") from None
    if not token:
        raise loaded.located(("admin", "token_file"), "is empty; remove it, and the next start makes a new token")
    return token
