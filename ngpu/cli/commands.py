"""Which commands there are, in the order in which help shows them; each is imported when it is called."""

from __future__ import annotations

from importlib import import_module

import click

from ngpu.cli.ending import Ending

SECTIONS = {
    "A gateway on this machine": {
        "init": "beginning.command",
        "run": "running",
        "check": "running",
        "doctor": "doctor.command",
        "plugins": "plugins",
        "account": "account",
    },
    "A running gateway, over its admin listener": {
        "status": "status",
        "nodes": "fleet",
        "workspaces": "workspaces",
        "tasks": "tasks",
        "cancel": "tasks",
        "retry": "tasks",
        "deploy": "deploying",
        "undeploy": "deploying",
        "drain": "fleet",
        "undrain": "fleet",
        "logs": "fleet",
        "events": "events",
        "reload": "reloading",
        "audit": "audit",
    },
    "A customer of a gateway, over its public listener": {
        "submit": "submitting",
        "wait": "submitting",
        "bench": "bench",
    },
    "The command itself": {
        "completion": "completing",
    },
}
"""Sections of the help, and in each the commands with the modules that hold them."""

_MODULES = {name: module for section in SECTIONS.values() for name, module in section.items()}


class Commands(Ending):
    """The ``ngpu`` command with all its commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group.list_commands`."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group.get_command`."""
        if cmd_name not in _MODULES:
            return None
        command = getattr(import_module(f"ngpu.cli.{_MODULES[cmd_name]}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Group.format_commands`."""
        widest = max(map(len, _MODULES))
        for section, names in SECTIONS.items():
            commands = [self.get_command(ctx, name) for name in names]
            limit = formatter.width - 6 - widest
            with formatter.section(section):
                formatter.write_dl(
                    [
                        (name.ljust(widest), command.get_short_help_str(limit))
                        for name, command in zip(names, commands, strict=True)
                        if command is not None
                    ]
                )
