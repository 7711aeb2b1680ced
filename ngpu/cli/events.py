"""``ngpu events``: what has happened in the fleet and to its tasks, and what happens from now on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain
from typing import Any

import click

from ngpu.cli import completing
from ngpu.cli.admin import AdminApi
from ngpu.cli.aside import aside
from ngpu.cli.exits import Refused, Unreachable
from ngpu.cli.finding import admin_command, json_option, show_json
from ngpu.cli.table import plain, table
from ngpu.cli.workspaces import workspace_id
from ngpu.journal import KEPT, SEVERITIES

EVERY = 1.0
"""Seconds between two looks of --follow."""

_COLOURS = {"warning": "yellow", "error": "red"}
_ABOUT = ("task", "replica", "node", "workspace")
"""What an event may be about; the first of them says most."""


@click.command()
@click.option("--kind", help="Of this kind only, such as task_failed or node_away.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="The least severity that is shown.")
@click.option("--workspace", shell_complete=completing.workspaces, help="About this workspace: its id, or its name.")
@click.option("--node", shell_complete=completing.nodes, help="About the node of this address.")
@click.option("--after", type=int, metavar="ID", help="Later than the event of this id.")
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, KEPT), help="So many at most.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@json_option
@admin_command
def events(api: AdminApi, as_json: bool, follow: bool, limit: int, workspace: str | None, **asked: Any) -> None:
    """Show what has happened: what failed, what was placed elsewhere, what operators asked for.

    With --follow and --json there is an event a line.
    """
    wanted = {name: value for name, value in asked.items() if value is not None}
    if workspace is not None:
        wanted["workspace"] = workspace_id(api, workspace)
    found = api.get("events", limit=limit, **wanted)
    if as_json and not follow:
        show_json(found["events"])
        return
    if not as_json and found["events"]:
        click.echo(table(("TIME", "SEVERITY", "KIND", "ABOUT", ""), map(_row, found["events"])))
    elif not as_json and not follow:
        click.echo("there are no such events")
    if follow:
        for event in chain(found["events"] if as_json else (), _following(api, wanted, found["last"])):
            _show(event, as_json)


def _following(api: AdminApi, wanted: Mapping[str, Any], last: int) -> Iterator[Mapping[str, Any]]:
    """What happens from now on; a gateway that is away is waited for."""
    while True:
        time.sleep(EVERY)
        try:
            found = api.get("events", **{**wanted, "after": last})
        except Unreachable as error:
            aside(error.message)
            continue
        except Refused as error:
            if error.lasting:
                raise
            aside(error.message)
            continue
        last = found["last"]
        yield from found["events"]


def _show(event: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(event, ensure_ascii=False))
        return
    at, severity, kind, about, message = map(plain, _row(event))
    click.echo(f"{at}  {click.style(severity, fg=_COLOURS.get(severity))}  {kind}  {about}  {message}")


def _row(event: Mapping[str, Any]) -> tuple[str, ...]:
    about = next((str(event[name]) for name in _ABOUT if event[name]), "-")
    at = datetime.fromtimestamp(event["time"]).astimezone().isoformat(" ", "seconds")
    times = f" ({event['count']} times)" if event["count"] > 1 else ""
    return at, event["severity"], event["kind"], about, event["message"] + times
