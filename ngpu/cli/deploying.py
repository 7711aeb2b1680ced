"""``ngpu deploy`` and ``undeploy``: have a workspace's copies made or taken away, and watch it, a bar for each node."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import click

from ngpu.cli import completing
from ngpu.cli.admin import AdminApi
from ngpu.cli.exits import Failed
from ngpu.cli.finding import admin_command, json_option, show_json
from ngpu.cli.number import Number
from ngpu.cli.table import plain
from ngpu.cli.workspaces import workspace_id

LOOK_EVERY = 0.5
"""Seconds between two looks."""

_watching = (
    click.option("--detach", is_flag=True, help="Do not wait for it."),
    click.option("--timeout", type=Number(min=0), help="Seconds to wait for it at most; the work goes on."),
)


@click.command()
@click.argument("workspace", shell_complete=completing.workspaces)
@click.option("--fresh", is_flag=True, help="Ask the registry again what the image's tag means now.")
@_watching[0]
@_watching[1]
@json_option
@admin_command
def deploy(api: AdminApi, workspace: str, fresh: bool, detach: bool, timeout: float | None, as_json: bool) -> None:
    """Deploy WORKSPACE (its id, or its name), and watch until all of its copies serve.

    Exits with 0 once they do, with 1 when they cannot, or not within --timeout.
    """
    wanted = workspace_id(api, workspace)
    api.send("POST", "workspaces", wanted, "deploy", document={"fresh": fresh})
    _watch(api, wanted, "serving", detach, timeout, as_json)


@click.command()
@click.argument("workspace", shell_complete=completing.workspaces)
@_watching[0]
@_watching[1]
@json_option
@admin_command
def undeploy(api: AdminApi, workspace: str, detach: bool, timeout: float | None, as_json: bool) -> None:
    """Drain the copies of WORKSPACE (its id, or its name) and remove them; it stays so until it is deployed again."""
    wanted = workspace_id(api, workspace)
    api.send("POST", "workspaces", wanted, "undeploy")
    _watch(api, wanted, "suspended", detach, timeout, as_json)


def _watch(api: AdminApi, workspace: str, until: str, detach: bool, timeout: float | None, as_json: bool) -> None:
    """Show how it goes until it is there, has failed or takes too long."""
    found = api.get("workspaces", workspace)["workspace"]
    if not detach:
        deadline = None if timeout is None else time.monotonic() + timeout
        with _shown(as_json) as display:
            while not _settled(found, until):
                display.update(found)
                if deadline is not None and time.monotonic() > deadline:
                    raise Failed(f"not within {timeout:g} s: {_state(found)}; it goes on without you")
                time.sleep(LOOK_EVERY)
                found = api.get("workspaces", workspace)["workspace"]
            display.update(found)
    if as_json:
        show_json(found)
    elif detach or found["state"] == until:
        click.echo(_state(found))
    if not detach and found["state"] != until:
        raise Failed("\n".join([_state(found), *_refusals(found)]))


def _settled(found: Mapping[str, Any], until: str) -> bool:
    """Whether it is there, or will not get there by itself."""
    if until == "suspended":
        return found["state"] == "suspended" and not found["copies"]
    stuck = found["state"] == "degraded" and bool(found["unplaced"]) and found["running"] == found["serving"]
    return found["state"] in ("serving", "failed") or stuck


def _state(found: Mapping[str, Any]) -> str:
    reason = f": {found['reason']}" if found["reason"] else ""
    name = found["name"] or "the workspace"
    return plain(f"{name}: {found['state']}, {found['serving']} of {found['replicas']} serve{reason}")


def _refusals(found: Mapping[str, Any]) -> list[str]:
    return [f"  {refusal['address']}: {refusal['reason']}" for refusal in found["unplaced"]]


class _Display(Protocol):
    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, found: Mapping[str, Any]) -> None: ...


def _shown(as_json: bool) -> _Display:
    """Bars on a terminal, lines elsewhere, nothing beside JSON."""
    if as_json:
        return _Lines(lambda line: None)
    return _Bars() if sys.stdout.isatty() else _Lines(click.echo)


class _Lines:
    """A line whenever something has changed on a node."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def update(self, found: Mapping[str, Any]) -> None:
        for node in found["nodes"]:
            line = f"{node['address']}  {node['progress']:3} %  {_word(node)}"
            if self._told.get(node["address"]) != line:
                self._told[node["address"]] = line
                self._tell(line)


class _Bars:
    """A bar for each node."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[word]}", markup=False),  # an engine's words may have brackets
        )
        self._progress = Progress(*columns, TimeElapsedColumn())
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, found: Mapping[str, Any]) -> None:
        for node in found["nodes"]:
            if node["address"] not in self._bars:
                self._bars[node["address"]] = self._progress.add_task(node["address"], total=100, word="")
            self._progress.update(self._bars[node["address"]], completed=node["progress"], word=_word(node))


def _word(node: Mapping[str, Any]) -> str:
    if node["status"]:
        return "serving"
    return plain(node["reason"]) or ("starting" if node["progress"] >= 100 else "pulling")
