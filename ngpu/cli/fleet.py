"""``ngpu nodes``, ``drain``, ``undrain``, ``logs``: the machines, and what runs on them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ngpu.cli import completing
from ngpu.cli.admin import AdminApi
from ngpu.cli.finding import admin_command, json_option
from ngpu.cli.table import table
from ngpu.cli.watching import show, watch_options

_HEAD = ("NODE", "HOST", "ENGINE", "STATE", "GPUS", "FREE", "COPIES", "LABELS", "")


@click.command()
@watch_options
@json_option
@admin_command
def nodes(api: AdminApi, as_json: bool, watch: float | None) -> None:
    """List the nodes: whether their engines answer, their GPUs, and how many copies they hold."""
    show(lambda: api.get("nodes")["nodes"], _listed, as_json, watch)


@click.command()
@click.argument("node", shell_complete=completing.nodes)
@admin_command
def drain(api: AdminApi, node: str) -> None:
    """Place nothing more on NODE (its address), and move what is there elsewhere.

    It stays so, over restarts too, until it is undrained. Replicas that an upstream: names stay
    where they are, and get calls until the configuration names them no more.
    """
    click.echo(api.send("POST", "nodes", node, "drain")["msg"])


@click.command()
@click.argument("node", shell_complete=completing.nodes)
@admin_command
def undrain(api: AdminApi, node: str) -> None:
    """Let NODE (its address) have copies again."""
    click.echo(api.send("POST", "nodes", node, "undrain")["msg"])


@click.command()
@click.argument("replica")
@click.option("-f", "--follow", is_flag=True, help="Go on with what it prints from now on, until Ctrl-C.")
@click.option("--tail", default=100, show_default=True, type=click.IntRange(0, 100_000), help="Lines to begin with.")
@admin_command
def logs(api: AdminApi, replica: str, follow: bool, tail: int) -> None:
    """Show what REPLICA has printed; `ngpu workspaces show ID` names the replicas."""
    for piece in api.stream("logs", replica=replica, tail=tail, follow=int(follow)):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def _listed(found: Sequence[Mapping[str, Any]]) -> str:
    return table(_HEAD, map(_row, found)) if found else "no nodes are configured"


def _row(node: Mapping[str, Any]) -> tuple[str, ...]:
    gpus = node["gpus"]
    state = node["state"] + (" (draining)" if node["draining"] else "")
    labels = " ".join(f"{name}={value}" for name, value in node["labels"].items())
    kind = f"{gpus['count']} x {gpus['type'] or 'any'}" if gpus["count"] else "-"
    free = str(gpus["free"]) if gpus["count"] else "-"
    engine = node["engine"] or "-"
    return (
        *(node["address"], node["host"], engine, state, kind, free, str(node["copies"]), labels or "-"),
        node["reason"],
    )
