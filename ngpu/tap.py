"""``twistd ngpu``: options, and from a configuration file to the service."""

from __future__ import annotations

import faulthandler
import gc
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
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
from ngpu.log_lines import InJson, JsonLines
from ngpu.polling import lean
from ngpu.processes.ending import Ending
from ngpu.processes.handed import Handed, Role
from ngpu.processes.outline import Checker, Outline, Plan, tell_outline
from ngpu.processes.parent import Parent
from ngpu.processes.reloads import Reloads
from ngpu.processes.sockets import Sockets
from ngpu.processes.worker import Worker
from ngpu.service import GatewayService
from ngpu.settings import CheckBlock, Loaded, loads, read_file
from ngpu.steady import steady
from ngpu.systemd import Systemd

_TOKEN_BYTES = 24


class Options(usage.Options):
    """The options of ``twistd ngpu``."""

    synopsis = "[--config FILE]"
    optParameters = [["config", "c", "/etc/ngpu/ngpu.yaml", "The configuration file."]]


def makeService(options: Options) -> IService:
    """The service of this process; a configuration that cannot be used ends it with a report on standard error."""
    from twisted.internet import reactor

    faulthandler.enable()  # who ends a process that hangs sends SIGABRT: systemd's watchdog, and the parent of several
    steady(reactor)
    lean(reactor)
    handed = Handed.take(os.environ)
    pid_file = "" if options.parent is None else str(options.parent["pidfile"] or "")
    try:
        service = service_of(Path(options["config"]), reactor, handed, pid_file, os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(ConfigError.exit_status) from None
    gc.set_threshold(10_000, 20, 20)  # a call leaves no rings behind, so there is not often something to be found
    gc.freeze()  # what is there now stays: to look through all of it for garbage holds every call up for 50 ms and more
    return service


def service_of(
    path: Path,
    reactor: Any,
    handed: Handed | None = None,
    pid_file: str = "",
    environment: Mapping[str, str] | None = None,
) -> IService:
    """Everything between a configuration file and a service that can be started.

    :param handed: what this process got from the one that started it.
    :param pid_file: of twistd; "" where there is none.
    :param environment: says whether systemd wants to be told how the service is.
    :raises ConfigError: with the whole report.
    """
    handed = handed or Handed()
    text = handed.text()
    if text is None:
        text = read_file(path)
    loaded = check(path, reactor, text)
    outline = Outline.of(loaded.settings)
    if handed.role is Role.CHECK:
        tell_outline(handed, outline)
        raise SystemExit
    if handed.role is not Role.WORKER:
        for warning in (*loaded.warnings, *loaded.outdated):
            print(warning, file=sys.stderr)
    token = admin_token(loaded)  # before there are workers, so that there is one
    out = (sys.stdout.buffer, sys.stderr.buffer)
    # systemd hears the process that it started, and takes nobody else's word
    systemd = Systemd(reactor, environment or {} if handed.role is not Role.WORKER else {})
    ending = Ending(reactor, systemd, pid_file)
    reloads = Reloads(handed.generation, os.getppid() if handed.role is Role.WORKER else os.getpid())
    worker = Worker(handed, reactor, reloads) if handed.role is Role.WORKER else None
    sockets = Sockets(reactor, handed.sockets, shared=worker is not None)
    if worker is None and outline.processes > 1:
        parent = Parent(path, Plan(text, outline), sockets, reactor, out, ending, systemd, handed.generation)
        return _logged(loaded, parent)
    plugins = discover(loaded.settings.plugins.path)
    parts = assemble(loaded, plugins, reactor, token, sys.stdout, reloads, worker, sockets.certificates)
    checker = Checker(path, reactor, out)
    service = GatewayService(parts, loaded.settings, reactor, sockets, ending, checker, worker, systemd, reloads)
    return _logged(loaded, service, handed.number if worker is not None else 0)


def _logged(loaded: Loaded, service: IService, process: int = 0) -> IService:
    """The service, with the log that its configuration wants."""
    return InJson(service, JsonLines(sys.stdout, process)) if loaded.settings.log.format == "json" else service


def check(path: Path, clock: Any, text: str | None = None) -> Loaded:
    """Read a configuration and find everything that is wrong with it, its plugins' options included.

    :param text: the file's, where that is known already.
    :raises ConfigError: with the whole report.
    """
    folder = path.absolute().parent

    def find_plugins(folders: Sequence[Path]) -> CheckBlock:
        plugins = discover(folders)
        context = PluginContext(clock, Random(), str(folder), make_fetcher(clock))
        return lambda family, name, options: plugins.make(family, name, options, context)

    return loads(read_file(path) if text is None else text, str(path), folder, find_plugins)


def can_be_shown(token: str) -> bool:
    """Whether a request can bring it in a header field."""
    return bool(token) and token.isascii() and token.isprintable()


def admin_token(loaded: Loaded) -> str:
    """The admin listener's token; a new one is made where its file is missing.

    :raises ConfigError: the file cannot be read or made, or holds no token that a request could show.
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
            try:
                with os.fdopen(descriptor, "w") as out:
                    out.write(token + "\n")
            except OSError:  # no room: an empty file would stop the next start, too
                file.unlink()
                raise
    except (OSError, UnicodeDecodeError) as error:
        raise loaded.located(("admin", "token_file"), f"cannot be used: {error}") from None
    if not token:
        raise loaded.located(("admin", "token_file"), "is empty; remove it, and the next start makes a new token")
    if not can_be_shown(token):
        words = "must hold one line of visible ASCII characters; remove it, and the next start makes a new token"
        raise loaded.located(("admin", "token_file"), words)
    return token
