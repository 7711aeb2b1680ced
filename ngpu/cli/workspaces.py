"""``ngpu workspaces``: what customers have brought, listed, shown, created, changed and deleted at run time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ngpu.cli import completing
from ngpu.cli.admin import AdminApi
from ngpu.cli.exits import Misused
from ngpu.cli.finding import admin_command, json_option
from ngpu.cli.table import table
from ngpu.cli.watching import show, watch_options

_HEAD = ("ID", "NAME", "FROM", "STATE", "WANTED", "RUNNING", "SERVING", "QUEUED", "IN FLIGHT", "")
_COPIES = ("REPLICA", "NODE", "STATE", "HEALTH", "IN FLIGHT", "")


@click.group(invoke_without_command=True)
@watch_options
@json_option
@admin_command
def workspaces(api: AdminApi, as_json: bool, watch: float | None) -> None:
    """List the workspaces: how many replicas they want and have, and what waits."""
    show(lambda: api.get("workspaces")["workspaces"], listed, as_json, watch)


@workspaces.command("show")
@click.argument("workspace", shell_complete=completing.workspaces)
@watch_options
@json_option
@admin_command
def show_one(api: AdminApi, workspace: str, as_json: bool, watch: float | None) -> None:
    """Show WORKSPACE (its id, or its name): its replicas, where they are, and what keeps others from being placed."""
    wanted = workspace_id(api, workspace)
    show(lambda: api.get("workspaces", wanted)["workspace"], _whole, as_json, watch)


@workspaces.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@admin_command
def create(api: AdminApi, file: Path) -> None:
    """Create a workspace out of FILE: a block as it stands under workspaces: in a configuration, in YAML or JSON."""
    click.echo(api.send("POST", "workspaces", document=_block(file))["msg"])


@workspaces.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@admin_command
def replace(api: AdminApi, file: Path) -> None:
    """Change the workspace of the id that FILE names to what FILE says."""
    block = _block(file)
    if not isinstance(block.get("id"), str | int):
        raise Misused(f"{file} does not say which workspace it is: it must hold one block, which begins with id: …")
    click.echo(api.send("PUT", "workspaces", str(block["id"]), document=block)["msg"])


@workspaces.command()
@click.argument("workspace", shell_complete=completing.workspaces)
@click.confirmation_option(
    "-y", "--yes", prompt="Its replicas are drained and removed, and its queued tasks end. Go on?"
)
@admin_command
def delete(api: AdminApi, workspace: str) -> None:
    """Delete WORKSPACE (its id, or its name): drain its replicas, then remove them."""
    click.echo(api.send("DELETE", "workspaces", workspace_id(api, workspace))["msg"])


def workspace_id(api: AdminApi, wanted: str) -> str:
    """The id of the workspace that has this id, or else of the only one that has this name."""
    known = api.get("workspaces")["workspaces"]
    named = [each["id"] for each in known if each["name"] == wanted]
    if any(each["id"] == wanted for each in known) or not named:
        return wanted  # the gateway says so where there is none
    if len(named) > 1:
        raise click.ClickException(
            f"{len(named)} workspaces are called {wanted}: name one by its id, {', '.join(named)}"
        )
    return str(named[0])


def _block(file: Path) -> dict[str, Any]:
    """What the file holds, as JSON can say it."""
    from ngpu.settings import SettingsError, read_block  # which takes longer than all the rest

    try:
        block = read_block(file)
        json.dumps(block, allow_nan=False)
    except SettingsError as error:
        raise Misused(str(error)) from None
    except ValueError:
        raise Misused(f"{file}: .inf and .nan are no numbers that a workspace can have") from None
    return block


def listed(found: Sequence[Mapping[str, Any]]) -> str:
    """A table of workspaces."""
    return table(_HEAD, map(_row, found)) if found else "there are no workspaces"


def _whole(found: Mapping[str, Any]) -> str:
    parts = [table(_HEAD, [_row(found)])]
    if found["copies"]:
        parts.append("\n" + table(_COPIES, map(_copy, found["copies"])))
    return "\n".join([*parts, *(f"no place on {each['address']}: {each['reason']}" for each in found["unplaced"])])


def _row(workspace: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = ("replicas", "running", "serving", "queued", "in_flight")
    return (
        *(workspace["id"], workspace["name"] or "-", workspace["source"], workspace["state"]),
        *(str(workspace[number]) for number in numbers),
        workspace["reason"],
    )


def _copy(copy: Mapping[str, Any]) -> tuple[str, ...]:
    where = copy["node"] + (f" ({copy['machine']})" if copy["machine"] else "")
    return copy["id"], where, copy["state"], copy["health"], str(copy["in_flight"]), copy["reason"]
