"""``ngpu status``: how it stands, on one screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ngpu.cli.admin import AdminApi
from ngpu.cli.exits import Exit
from ngpu.cli.finding import admin_command, json_option
from ngpu.cli.table import plain, table
from ngpu.cli.tasks import STATUSES, newest
from ngpu.cli.watching import show, watch_options

COUNTED = 2000
"""Tasks that are counted at most."""

FAILURES = 5
"""Failures that are shown."""


@click.command()
@click.option("--since", default="15m", show_default=True, metavar="TIME", help="Count the tasks submitted since then.")
@watch_options
@json_option
@admin_command
def status(api: AdminApi, as_json: bool, watch: float | None, since: str) -> None:
    """Show on one screen how a gateway stands: its nodes, replicas, queues, tasks, and what failed last.

    Exits with 1 when something is not as it should be: it is not ready, or a node or a workspace is in trouble.
    """
    last: list[dict[str, Any]] = []

    def look() -> dict[str, Any]:
        last[:] = [_looked(api, since)]
        return last[0]

    show(look, _screen, as_json, watch)
    if last[0]["trouble"]:
        raise SystemExit(Exit.PROBLEM)


def _looked(api: AdminApi, since: str) -> dict[str, Any]:
    why = api.ready()
    nodes = api.get("nodes")["nodes"]
    workspaces = api.get("workspaces")["workspaces"]
    recent = newest(api, COUNTED, start=since)
    counts = Counter(task["status"] for task in recent)
    trouble = [f"the gateway is not ready: {why}"] if why else []
    trouble += [f"node {each['address']}: {each['reason'] or each['state']}" for each in nodes if _troubled(each)]
    for each in workspaces:
        if each["state"] in ("degraded", "failed") or (
            each["state"] == "static" and each["serving"] < each["replicas"]
        ):
            told = f": {each['reason']}" if each["reason"] else ""
            name = each["name"] or each["id"]
            trouble.append(f"workspace {name}: {each['serving']} of {each['replicas']} replicas serve{told}")
    return {
        "gateway": api.url,
        "ready": not why,
        "nodes": nodes,
        "workspaces": workspaces,
        "since": since,
        "tasks": {each: counts[each] for each in STATUSES},
        "more": len(recent) == COUNTED,
        "failures": [task for task in recent if task["status"] in ("failed", "expired")][:FAILURES],
        "trouble": trouble,
    }


def _troubled(node: Mapping[str, Any]) -> bool:
    return node["state"] not in ("up", "static") and not node["draining"]


def _screen(found: Mapping[str, Any]) -> str:
    nodes, workspaces = found["nodes"], found["workspaces"]
    queues = sum(bool(each["queued"]) for each in workspaces)
    numbers = {name: sum(each[name] for each in workspaces) for name in ("replicas", "serving", "queued", "in_flight")}
    tasks = ", ".join(f"{number} {name}" for name, number in found["tasks"].items() if number) or "none"
    lines = [
        ("gateway", f"{found['gateway']}, {'ready' if found['ready'] else 'NOT READY'}"),
        ("nodes", _nodes(nodes)),
        ("replicas", f"{numbers['serving']} of {numbers['replicas']} serve, {numbers['in_flight']} calls in flight"),
        ("queues", f"{numbers['queued']} queued, in {queues} of {len(workspaces)} workspaces"),
        (f"tasks, {found['since']}", tasks + (f" of the last {COUNTED}" if found["more"] else "")),
    ]
    parts = [table(("", ""), lines).removeprefix("\n")]
    busy = [each for each in workspaces if each["queued"] or each["in_flight"] or each["serving"] < each["replicas"]]
    if busy:
        parts.append(table(("WORKSPACE", "STATE", "SERVING", "QUEUED", "IN FLIGHT"), map(_row, busy[:10])))
    if found["failures"]:
        parts.append(table(("FAILED", "WORKSPACE", "NODE", ""), map(_failure, found["failures"])))
    parts.append(plain("\n".join(found["trouble"])) or "all is well")
    return "\n\n".join(parts)


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    serving = f"{each['serving']} of {each['replicas']}"
    return each["name"] or each["id"], each["state"], serving, str(each["queued"]), str(each["in_flight"])


def _nodes(nodes: Sequence[Mapping[str, Any]]) -> str:
    gpus = sum(each["gpus"]["count"] for each in nodes)
    counts = {
        "in trouble": sum(map(_troubled, nodes)),
        "draining": sum(each["draining"] for each in nodes),
        f"of {gpus} GPUs free": sum(each["gpus"]["free"] for each in nodes),
    }
    return ", ".join([str(len(nodes)), *(f"{count} {what}" for what, count in counts.items() if count)])


def _failure(task: Mapping[str, Any]) -> tuple[str, ...]:
    workspace = task["workspace_name"] or task["workspace"]
    return task["submitted_at"][11:19], workspace, task["node"] or "-", task["reason"]
