"""The command: a line for each thing that was looked at, what to do about it, and a code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
from twisted.internet import task

from ngpu.cli.doctor import asking, listening, machine, secrets
from ngpu.cli.exits import Exit
from ngpu.cli.finding import show_json
from ngpu.cli.running import config_option
from ngpu.discovery import discover
from ngpu.errors import ConfigError
from ngpu.examining import Finding, Level
from ngpu.stores.folder import examine_folder
from ngpu.tap import check

_MARKS = {Level.OK: ("ok", "green"), Level.WARNING: ("warning", "yellow"), Level.PROBLEM: ("PROBLEM", "red")}


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Only what is not as it should be.")
def doctor(path: Path, as_json: bool, quiet: bool) -> None:
    """Look whether this host is fit for a gateway with this configuration, and say what to do where it is not.

    Ports, memory, open files, clock, disk, files with secrets, the store and the engines of nodes. Nothing is changed,
    and nothing is asked but what the configuration names. Run it as the gateway's user: rights are those of whoever
    looks.

    Exits with 0 when there is no problem (there may be warnings), with 1 when there is one, with 2 when the
    configuration cannot be used.
    """
    found = examined(path)
    counts = Counter(finding.level for finding in found)
    if as_json:
        show_json({"findings": [finding._asdict() for finding in found], **{level: counts[level] for level in Level}})
    else:
        for finding in found:
            if not quiet or finding.level is not Level.OK:
                _show(finding)
        click.echo(_summary(counts))
    if counts[Level.PROBLEM]:
        raise SystemExit(Exit.PROBLEM)


def examined(path: Path) -> Sequence[Finding]:
    """Everything there is to find; runs the reactor."""
    try:
        loaded = check(path, task.Clock())
    except ConfigError as error:
        click.echo(str(error), err=True)
        raise SystemExit(Exit.USAGE) from None
    settings = loaded.settings
    found = [Finding(Level.WARNING, "configuration", warning) for warning in loaded.warnings]
    found += [] if found else [Finding(Level.OK, "configuration", f"{path} can be used")]
    for room in (listening, secrets, machine):
        found += room.look(settings)
    found += [
        each._replace(about=f"spool {each.about}")
        for each in examine_folder(settings.spool)
        if each.level is Level.PROBLEM
    ]
    if settings.media.url:
        media = settings.media.folder
        found += [
            each._replace(about=f"media {each.about}") for each in examine_folder(media) if each.about != "writes"
        ]
    return [*found, *asking.ask(settings, discover(settings.plugins.path))]


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.level]
    click.echo(f"{click.style(mark.ljust(7), fg=colour)}  {finding.about}: {finding.words}")
    if finding.advice:
        click.echo(f"         -> {finding.advice}")


def _summary(counts: Counter[Level]) -> str:
    problems, warnings = counts[Level.PROBLEM], counts[Level.WARNING]
    if not problems and not warnings:
        return "all is well"
    return f"{problems} problem{'' if problems == 1 else 's'}, {warnings} warning{'' if warnings == 1 else 's'}"
