"""The table ``webhooks``, which triggers fill (see `schema`). Runs in the threads of the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from ngpu.outbox import Backlog, Webhook


def take(
    db: sqlite3.Connection, now: float, until: float, room: int, most: int, busy: Mapping[str, int]
) -> Sequence[Webhook]:
    """See ``IOutbox.take_webhooks``."""
    due = []
    for workspace in _workspaces(db):
        under_way = busy.get(workspace, 0)
        rows = db.execute(
            'SELECT due_at, workspace, task, "end", tries + 1 FROM webhooks '
            "WHERE workspace = ? AND dead = 0 AND due_at <= ? ORDER BY due_at, task LIMIT ?",
            (workspace, now, max(0, min(room, most - under_way))),
        )
        due += [(before, *row) for before, row in enumerate(rows, under_way)]
    taken = [Webhook(*row) for _, _, *row in sorted(due)[:room]]
    db.executemany(
        "UPDATE webhooks SET tries = ?, due_at = ? WHERE task = ?",
        [(webhook.tries, until, webhook.task_id) for webhook in taken],
    )
    return taken


def delivered(db: sqlite3.Connection, webhook: Webhook) -> None:
    """See ``IOutbox.webhook_delivered``."""
    db.execute('DELETE FROM webhooks WHERE task = ? AND "end" = ?', (webhook.task_id, webhook.end))


def failed(db: sqlite3.Connection, webhook: Webhook, due_at: float | None) -> bool:
    """See ``IOutbox.webhook_failed``."""
    changed = db.execute(
        'UPDATE webhooks SET due_at = coalesce(?, due_at), dead = ? WHERE task = ? AND "end" = ? AND tries = ? '
        "AND dead = 0",
        (due_at, due_at is None, webhook.task_id, webhook.end, webhook.tries),
    ).rowcount
    return bool(changed)


def backlogs(db: sqlite3.Connection) -> Mapping[str, Backlog]:
    """See ``IOutbox.webhooks``."""
    rows = db.execute("SELECT workspace, sum(1 - dead), sum(dead) FROM webhooks GROUP BY workspace")
    return {workspace: Backlog(pending, dead) for workspace, pending, dead in rows}


def _workspaces(db: sqlite3.Connection) -> list[str]:
    """Those that have any pending: one step into the index for each."""
    rows = db.execute(
        """
        WITH RECURSIVE names (name) AS (
            SELECT min(workspace) FROM webhooks WHERE dead = 0
            UNION ALL
            SELECT (SELECT min(workspace) FROM webhooks WHERE dead = 0 AND workspace > name)
            FROM names WHERE name IS NOT NULL
        )
        SELECT name FROM names WHERE name IS NOT NULL
        """
    )
    return [name for (name,) in rows]
