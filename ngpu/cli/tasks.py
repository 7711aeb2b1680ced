"""``ngpu tasks``, ``cancel`` and ``retry``: what was asked for, what came of it, and ending it or trying again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from ngpu.cli import completing
from ngpu.cli.admin import AdminApi
from ngpu.cli.finding import admin_command, json_option, show_json
from ngpu.cli.table import bytes_in_words, seconds_in_words, table
from ngpu.cli.watching import show, watch_options
from ngpu.cli.workspaces import workspace_id

STATUSES = ("queued", "running", "finished", "failed", "cancelled", "expired")
PAGE = 500
"""Tasks that are asked for at once."""

_HEAD = ("TASK", "WORKSPACE", "STATUS", "SUBMITTED", "WAITED", "RAN", "NODE", "TRIES", "")


@click.group(invoke_without_command=True)
@click.option("--workspace", shell_complete=completing.workspaces, help="Of this workspace only: its id, or its name.")
@click.option("--status", type=click.Choice(STATUSES), help="That stand so.")
@click.option("--node", shell_complete=completing.nodes, help="That ran on the node of this address.")
@click.option("--address", help="That were submitted with this Bitcoin address.")
@click.option("--since", metavar="TIME", help="Submitted then or later: 15m (ago), YYYY-MM-DD, YYYY-MM-DD HH:MM:SS.")
@click.option("--until", metavar="TIME", help="Submitted then or earlier, in the same spellings.")
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1), help="So many at most.")
@watch_options
@json_option
@admin_command
def tasks(api: AdminApi, as_json: bool, watch: float | None, workspace: str | None, limit: int, **asked: Any) -> None:
    """List tasks of all workspaces, the newest first."""
    wanted = {
        "workspace": None if workspace is None else workspace_id(api, workspace),
        **{"start" if name == "since" else "end" if name == "until" else name: value for name, value in asked.items()},
    }
    wanted = {name: value for name, value in wanted.items() if value is not None}
    show(lambda: newest(api, limit, **wanted), listed, as_json, watch)


@tasks.command("show")
@click.argument("task", shell_complete=completing.tasks)
@watch_options
@json_option
@admin_command
def show_one(api: AdminApi, task: str, as_json: bool, watch: float | None) -> None:
    """Show TASK (its id): its record, its times and how often it was tried."""
    show(lambda: api.get("tasks", task)["task"], whole, as_json, watch)


@click.command()
@click.argument("task", shell_complete=completing.tasks)
@json_option
@admin_command
def cancel(api: AdminApi, task: str, as_json: bool) -> None:
    """End TASK (its id), which waits or runs; the call to its worker is cut off."""
    _told(api.send("POST", "tasks", task, "cancel"), as_json)


@click.command()
@click.argument("task", shell_complete=completing.tasks)
@json_option
@admin_command
def retry(api: AdminApi, task: str, as_json: bool) -> None:
    """Let TASK (its id) run again, which failed, expired or was cancelled."""
    _told(api.send("POST", "tasks", task, "retry"), as_json)


def newest(api: AdminApi, limit: int, **wanted: str) -> list[dict[str, Any]]:
    """So many tasks, the newest first."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while len(found) < limit:
        page = api.get("tasks", limit=min(PAGE, limit - len(found)), **wanted, **cursor)
        found += page["tasks"]
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
    return found


def listed(found: Sequence[Mapping[str, Any]]) -> str:
    """A table of tasks."""
    return table(_HEAD, map(_row, found)) if found else "there are no such tasks"


def whole(task: Mapping[str, Any]) -> str:
    """All that is known of one, a line for each thing that is."""
    lines = {
        "task": task["id"],
        "workspace": f"{task['workspace_name']} ({task['workspace']})" if task["workspace_name"] else task["workspace"],
        "status": _status(task),
        "why": task["reason"] if task["status"] != "finished" else "",
        "worker answered": str(task["worker_status"] or ""),
        "submitted": task["submitted_at"],
        "started": task["started_at"],
        "ended": task["ended_at"],
        "waited": seconds_in_words(task["waited"]),
        "ran": seconds_in_words(task["ran"]) if task["started_at"] else "",
        "place in the queue": str(task.get("queue_position") or ""),
        "expected to wait": seconds_in_words(task["wait_estimate"]) if task.get("wait_estimate") is not None else "",
        "progress": str(task.get("progress") or ""),
        "attempts": f"{task['attempts']}" + (f", of which {task['retries']} by hand" if task["retries"] else ""),
        "node": f"{task['node']} at {task['host']}" if task["node"] else "",
        "replica": task["replica"],
        "call": f"{task['call']} {task['target'] or '/'}, port {task['port']}"
        + (f", app {task['app']}" * bool(task["app"])),
        "priority": task["priority"],
        "its client": f"{task['client']}, which waits for the reply" if task["waits_for_reply"] else task["client"],
        "Bitcoin address": task["address"],
        "request": bytes_in_words(task["request_size"]),
        "result": bytes_in_words(task["result_size"]) if task["result_size"] else "",
    }
    known = [(name, str(value)) for name, value in lines.items() if value]
    return table(("", ""), known).removeprefix("\n")


def _told(reply: Mapping[str, Any], as_json: bool) -> None:
    show_json(reply["task"]) if as_json else click.echo(reply["msg"])


def _row(task: Mapping[str, Any]) -> tuple[str, ...]:
    submitted = task["submitted_at"].partition(".")[0].replace("T", " ")
    times = (seconds_in_words(task["waited"]), seconds_in_words(task["ran"]) if task["started_at"] else "-")
    why = task["reason"] if task["status"] not in ("queued", "running", "finished") else ""
    where = (task["node"] or "-", str(task["attempts"]), why)
    return (task["id"], task["workspace_name"] or task["workspace"], _status(task), submitted, *times, *where)


def _status(task: Mapping[str, Any]) -> str:
    return f"{task['status']} ({task['code']})" if task["status"] == "failed" else str(task["status"])
