"""``twistd ngpu``: options, and from a configuration file to the service."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.python import usage

from ngpu.assembly import assemble
from ngpu.discovery import discover
from ngpu.errors import ConfigError
from ngpu.service import GatewayService
from ngpu.settings import Loaded, load

WRONG_CONFIGURATION = 2
"""Exit status when the configuration cannot be used."""

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
        raise SystemExit(WRONG_CONFIGURATION) from None


def service_of(path: Path, reactor: Any) -> GatewayService:
    """Everything between a configuration file and a service that can be started.

    :raises ConfigError: with the whole report.
    """
    loaded = load(path)
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    parts = assemble(loaded, find_plugins(loaded), reactor, admin_token(loaded), sys.stdout)
    return GatewayService(parts, loaded.settings, reactor)


def check(path: Path) -> Loaded:
    """What a start would find wrong with a configuration, without starting anything.

    :raises ConfigError: with the whole report.
    """
    from twisted.internet import reactor

    loaded = load(path)
    assemble(loaded, find_plugins(loaded), reactor, "", sys.stdout)
    return loaded


def find_plugins(loaded: Loaded) -> Any:
    """The plugins of this installation and of ``plugins.path``."""
    try:
        return discover(loaded.settings.plugins.path)
    except ConfigError as error:
        raise loaded.located(error.path, str(error)) from None


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
