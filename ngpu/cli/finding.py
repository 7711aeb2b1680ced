"""Which gateway a command means: by its configuration file, or named by hand."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ngpu.cli.admin import AdminApi
from ngpu.cli.exits import Misused
from ngpu.errors import ConfigError

T = TypeVar("T")

CONFIG = "/etc/ngpu/ngpu.yaml"
"""The configuration file where nobody names one."""

MOST_OF_A_TOKEN = 4096
"""Characters; what is longer is another file, such as a device that never ends."""


def admin_options(command: Callable[..., T]) -> Callable[..., T]:
    """The options that find the gateway: ``config``, ``admin`` and ``token_file``."""
    options = (
        click.option(
            "-c",
            "--config",
            type=click.Path(path_type=Path),
            envvar="NGPU_CONFIG",
            default=Path(CONFIG),
            show_default=True,
            help="The gateway's configuration file, which says where it listens and where its token is.",
        ),
        click.option("--admin", envvar="NGPU_ADMIN", help="The URL of its admin listener instead, with --token-file."),
        click.option(
            "--token-file",
            type=click.Path(path_type=Path),
            envvar="NGPU_TOKEN_FILE",
            help="The file with its admin token.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def admin_command(command: Callable[..., T]) -> Callable[..., T | None]:
    """Give a command its `AdminApi` as first argument, and the options that find the gateway."""

    @admin_options
    @functools.wraps(command)
    def run(*args: Any, config: Path, admin: str | None, token_file: Path | None, **options: Any) -> T | None:
        if click.get_current_context().invoked_subcommand is not None:
            return None  # a group, whose subcommand finds the gateway by its own options
        return command(AdminApi(*found(config, admin, token_file)), *args, **options)

    return run


def json_option(command: Callable[..., T]) -> Callable[..., T]:
    """The option ``--json``, as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the gateway's reply as JSON.")(command)


def show_json(document: Any) -> None:
    """Print a document for programs."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def found(config: Path, admin: str | None, token_file: Path | None) -> tuple[str, str]:
    """URL and token.

    :raises Misused: they cannot be found.
    """
    if admin is None or token_file is None:
        from ngpu.settings import load  # which takes longer than all the rest

        try:
            settings = load(config).settings
        except ConfigError as error:
            raise Misused(f"{error}\n(or name the gateway with --admin and --token-file)") from None
        admin = admin or url_of(settings.admin.listen)
        token_file = token_file or settings.admin.token_file
    if admin is None:
        raise Misused(f"{config} has no admin listener on tcp or ssl: name it with --admin")
    try:
        with token_file.open("rb") as file:
            token = file.read(MOST_OF_A_TOKEN + 1).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Misused(f"the admin token in {token_file} cannot be read: {why}") from None
    if not 0 < len(token) <= MOST_OF_A_TOKEN or not token.isascii() or not token.isprintable():
        raise Misused(f"{token_file} holds no admin token")
    return admin, token


def url_of(endpoints: tuple[str, ...]) -> str | None:
    """The URL of the first one that a client can reach by address."""
    for endpoint in endpoints:
        kind, *parts = (part.replace("\\:", ":") for part in re.split(r"(?<!\\):", endpoint))
        named = dict(part.split("=", 1) for part in parts if "=" in part)
        port = next((part for part in parts[:1] if "=" not in part), named.get("port"))
        if kind in ("tcp", "tcp6", "ssl") and port is not None:
            scheme = "https" if kind == "ssl" else "http"
            host = named.get("interface") or "localhost"
            host = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104
            return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    return None
