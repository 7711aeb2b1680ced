"""What only asks. Each function runs in one statement, so that what it sees is of one moment."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from ngpu.model import Task, TaskPage, TaskQuery, node_key
from ngpu.stores.cursor import Place, encode
from ngpu.stores.sqlite.rows import COLUMNS, search_key, task_of
from ngpu.stores.sqlite.schema import BLOCK_BITS


def get(db: sqlite3.Connection, task_id: str) -> Task | None:
    """See ``ITaskStore.get``."""
    row = db.execute(f"SELECT {COLUMNS} FROM tasks WHERE id = ?", (search_key(task_id),)).fetchone()
    return task_of(row) if row else None


def orphans(db: sqlite3.Connection) -> Sequence[Task]:
    """See ``ITaskStore.orphans``."""
    return [
        task_of(row)
        for row in db.execute(f"SELECT {COLUMNS} FROM tasks WHERE status = 'running' ORDER BY number").fetchall()
    ]


def queued(db: sqlite3.Connection, workspace: str) -> int:
    """See ``ITaskStore.queued``."""
    count: int = db.execute("SELECT coalesce(sum(queued), 0) FROM queue WHERE workspace = ?", (workspace,)).fetchone()[
        0
    ]
    return count


def queue_position(db: sqlite3.Connection, workspace: str, number: int) -> int:
    """See ``ITaskStore.queue_position``: whole blocks before it from their counters, its own block by counting."""
    block = number >> BLOCK_BITS
    position: int = db.execute(
        """
        SELECT 1 + (SELECT coalesce(sum(queued), 0) FROM queue WHERE workspace = ?1 AND block < ?2)
                 + (SELECT count(*) FROM tasks
                    WHERE workspace = ?1 AND status = 'queued' AND number >= ?3 AND number < ?4)
        """,
        (workspace, block, block << BLOCK_BITS, number),
    ).fetchone()[0]
    return position


def page(db: sqlite3.Connection, query: TaskQuery, after: Place | None) -> TaskPage:
    """See ``ITaskStore.list``. One more than the page holds is asked for: it says whether another page follows."""
    where, values = _conditions(query, after)
    rows = db.execute(
        f"SELECT id, submitted_at, number FROM tasks WHERE {where} ORDER BY submitted_at, number LIMIT ?",
        (*values, query.limit + 1),
    ).fetchall()
    shown = rows[: query.limit]
    more = len(rows) > len(shown) > 0
    return TaskPage(tuple(row[0] for row in shown), encode(shown[-1][1], shown[-1][2]) if more else None)


def _conditions(query: TaskQuery, after: Place | None) -> tuple[str, list[Any]]:
    where = ["workspace = ?"]
    values: list[Any] = [query.workspace]
    if query.btc_address is not None:
        where.append("btc_address = ? AND btc_address <> ''")
        values.append(search_key(query.btc_address))
    if query.node is not None:
        # The plus keeps this condition from choosing the index where the address, the rarer of the two, is there.
        column = "node" if query.btc_address is None else "+node"
        where.append(f"{column} = ? AND node <> ''")
        values.append(search_key(node_key(query.node)))
    if query.end is not None:
        where.append("submitted_at <= ?")
        values.append(query.end)
    if query.start is not None:
        where.append("submitted_at >= ?")
        values.append(query.start)
    if after is not None:
        where.append("(submitted_at, number) > (?, ?)")
        values.extend(after)
    return " AND ".join(where), values


def piece(db: sqlite3.Connection, task_id: str, attempt: int, index: int) -> bytes | None:
    """One piece of a body, or ``None`` when it is not there (any more)."""
    row = db.execute(
        "SELECT data FROM pieces WHERE task = ? AND attempt = ? AND piece = ?", (task_id, attempt, index)
    ).fetchone()
    return row[0] if row else None
