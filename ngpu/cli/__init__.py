"""The ``ngpu`` command."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from twisted.internet import task

import ngpu
from ngpu.cli.account import account
from ngpu.cli.audit import audit
from ngpu.cli.deploying import deploy, undeploy
from ngpu.cli.ending import Commands
from ngpu.cli.fleet import drain, logs, nodes, undrain
from ngpu.cli.plugins import plugins
from ngpu.cli.workspaces import workspaces
from ngpu.errors import ConfigError

_CONFIG = click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path("/etc/ngpu/ngpu.yaml"),
    show_default=True,
    help="The configuration file.",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ngpu.__version__, prog_name="ngpu")
def main() -> None:
    """A reverse proxy for fleets of GPU machines."""


@main.command()
@_CONFIG
def run(path: Path) -> None:
    """Run the gateway in the foreground; SIGTERM or Ctrl-C stops it once running calls have ended.

    Exits with 2 when the configuration cannot be used, with 1 when the gateway cannot start for another reason.
    """
    from twisted.scripts.twistd import run as twistd

    # The same as `twistd -n ngpu -c FILE`, less its pid file: whoever runs this in the foreground knows its process.
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "ngpu", f"--config={path}"]
    twistd()


@main.command()
@_CONFIG
def check(path: Path) -> None:
    """Look for everything that is wrong with a configuration, without starting anything.

    Exits with 0 when it can be used, with 2 when it cannot.
    """
    from ngpu.tap import check as check_configuration  # all of the gateway, which other commands need not load

    try:
        loaded = check_configuration(path, task.Clock())
    except ConfigError as error:
        click.echo(str(error), err=True)
        raise SystemExit(ConfigError.exit_status) from None
    for warning in (*loaded.warnings, *loaded.outdated):
        click.echo(warning, err=True)
    if loaded.outdated:
        raise SystemExit(ConfigError.exit_status)
    settings = loaded.settings
    click.echo(
        f"{path}: can be used: {_count(len(settings.workspaces), 'workspace')}, {_count(len(settings.nodes), 'node')}, "
        f"{_count(len(settings.apps), 'app')}, {_count(len(settings.gates), 'gate')}"
    )


for command in (account, audit, plugins, nodes, workspaces, deploy, undeploy, drain, undrain, logs):
    main.add_command(command)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
