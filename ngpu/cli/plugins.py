"""``ngpu plugins``: what discovery finds, and the beginning of a plugin of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from ngpu.authoring import Refused, write_plugin
from ngpu.cli.exits import Exit
from ngpu.cli.table import table
from ngpu.discovery import Plugins, discover
from ngpu.errors import ConfigError
from ngpu.families import FAMILIES
from ngpu.interfaces import IPluginFactory
from ngpu.origin import BUILT_IN, OURS, Origin, Origins
from ngpu.settings import load


@click.group(invoke_without_command=True)
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="A configuration file, to look into the folders of its plugins.path too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def plugins(context: click.Context, path: Path | None, as_json: bool) -> None:
    """List the plugins that can be named in a configuration.

    Exits with 2 when a plugin is broken or two have one name.
    """
    if context.invoked_subcommand is not None:
        return
    try:
        found = discover(_folders(path) if path is not None else ())
    except ConfigError as error:
        click.echo(str(error), err=True)
        raise SystemExit(Exit.USAGE) from None
    origins = Origins()
    listed = [(factory, origins.of(found.files[key])) for key, factory in _in_order(found)]
    click.echo(json.dumps([_described(*each) for each in listed], indent=2) if as_json else _tables(listed))


@plugins.command()
@click.argument("family")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=Path("."),
    show_default="this folder",
    help="The folder to write to; it is made where it is missing.",
)
def new(family: str, name: str, into: Path) -> None:
    """Write a plugin that works, and its test: NAME of FAMILY (selection, placement, checker or adapter).

    Exits with 1 when that cannot be done; nothing was written then.
    """
    try:
        plugin, test = write_plugin(family, name, into, _taken(family))
    except (Refused, ConfigError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"wrote {plugin}, a {family} plugin, and {test}")
    click.echo(f"try it:  python -m pytest {test}")
    click.echo(f"use it:  plugins: {{path: [{into.absolute()}]}}, and {name} as {FAMILIES[family].key}")


def _taken(family: str) -> set[str]:
    """Names in the family, and those of all plugins' files, which could not be imported beside another one."""
    found = discover(())
    return {*found.names(family), *(file.stem for file in found.files.values())}


def _folders(path: Path) -> Sequence[Path]:
    """The folders that a configuration names, whatever else is wrong with it.

    :raises ConfigError: it cannot be read.
    """
    named: list[Sequence[Path]] = []

    def look(folders: Sequence[Path]) -> Any:
        named.append(folders)
        return lambda family, name, options: None

    try:
        load(path, look)
    except ConfigError:
        if not named:
            raise
    return named[0]


def _in_order(found: Plugins) -> Iterator[tuple[tuple[str, str], IPluginFactory]]:
    for family in FAMILIES:
        for name in found.names(family):
            yield (family, name), found.factories[family, name]


def _tables(listed: Sequence[tuple[IPluginFactory, Origin]]) -> str:
    rows = [(each.family, each.name, str(origin), each.summary) for each, origin in listed]
    options = [
        (each.name, option.name, _shown(option.default), option.unit, option.meaning)
        for each, _ in listed
        for option in each.options
    ]
    return "\n\n".join(
        table(head, part)
        for head, part in (
            (("FAMILY", "NAME", "ORIGIN", "SUMMARY"), rows),
            (("PLUGIN", "OPTION", "DEFAULT", "UNIT", "MEANING"), options),
        )
    )


def _shown(default: Any) -> str:
    """As one would write it in a configuration; "-" for none."""
    if default is None:
        return "-"
    return default if isinstance(default, str) and default else json.dumps(default, ensure_ascii=False, default=str)


def _described(factory: IPluginFactory, origin: Origin) -> dict[str, Any]:
    kind = BUILT_IN if origin.distribution == OURS else "distribution" if origin.distribution else "file"
    return {
        "family": factory.family,
        "name": factory.name,
        "summary": factory.summary,
        "options": [option._asdict() for option in factory.options],
        "origin": {
            "kind": kind,
            "distribution": origin.distribution or None,
            "version": origin.version or None,
            "file": str(origin.file),
        },
    }
