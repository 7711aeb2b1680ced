"""``ngpu run`` and ``check``: a gateway of this machine, and what is wrong with its configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ngpu.cli.exits import Exit
from ngpu.cli.finding import CONFIG
from ngpu.errors import ConfigError

config_option = click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    envvar="NGPU_CONFIG",
    default=Path(CONFIG),
    show_default=True,
    help="The configuration file.",
)


@click.command()
@config_option
def run(path: Path) -> None:
    """Run the gateway in the foreground; SIGTERM or Ctrl-C stops it once running calls have ended.

    Exits with 2 when the configuration cannot be used, with 1 when the gateway cannot start for another reason.
    """
    from twisted.scripts.twistd import run as twistd

    # The same as `twistd -n ngpu -c FILE`, less its pid file: whoever runs this in the foreground knows its process.
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "ngpu", f"--config={path}"]
    twistd()


@click.command()
@config_option
def check(path: Path) -> None:
    """Look for everything that is wrong with a configuration, without starting anything.

    Exits with 0 when it can be used, with 2 when it cannot.
    """
    from twisted.internet import task

    from ngpu.tap import check as check_configuration  # all of the gateway, which other commands need not load

    try:
        loaded = check_configuration(path, task.Clock())
    except ConfigError as error:
        click.echo(str(error), err=True)
        raise SystemExit(Exit.USAGE) from None
    for warning in (*loaded.warnings, *loaded.outdated):
        click.echo(warning, err=True)
    if loaded.outdated:
        raise SystemExit(Exit.USAGE)
    settings = loaded.settings
    click.echo(
        f"{path}: can be used: {_count(len(settings.workspaces), 'workspace')}, {_count(len(settings.nodes), 'node')}, "
        f"{_count(len(settings.apps), 'app')}, {_count(len(settings.gates), 'gate')}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
