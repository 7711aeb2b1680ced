"""The ``ngpu`` command."""

from __future__ import annotations

import click

import ngpu
from ngpu.cli.commands import Commands


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ngpu.__version__, prog_name="ngpu")
def main() -> None:
    """A reverse proxy for fleets of GPU machines."""
