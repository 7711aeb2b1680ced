"""What only asks. Each function runs in one statement, so that what it sees is of one moment."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from ngpu.listing import TaskPage, TaskQuery
from ngpu.model import Priority, Task, node_key
from ngpu.stores.cursor import Place, encode
from ngpu.stores.record import search_key
from ngpu.stores.sqlite.rows import COLUMNS, task_of
from ngpu.stores.sqlite.schema import BLOCK_BITS

_PRIORITIES = str([int(priority) for priority in Priority])


def get(db: sqlite3.Connection, task_id: str) -> Task | None:
    """See ``ITaskStore.get``."""
    row = db.execute(f"SELECT {COLUMNS} FROM tasks WHERE id = ?", (search_key(task_id),)).fetchone()
    return task_of(row) if row else None


def running(db: sqlite3.Connection) -> Sequence[tuple[str, int]]:
    """See ``ITaskStore.running``."""
    return db.execute("SELECT id, attempt FROM tasks WHERE status = 'running'").fetchall()


def queues(db: sqlite3.Connection) -> dict[str, int]:
    """See ``IQueue.queues``."""
    return dict(db.execute("SELECT workspace, sum(queued) FROM queue GROUP BY workspace HAVING sum(queued) > 0"))


def queued(db: sqlite3.Connection, workspace: str) -> int:
    """See ``ITaskStore.queued``."""
    count: int = db.execute("SELECT coalesce(sum(queued), 0) FROM queue WHERE workspace = ?", (workspace,)).fetchone()[
        0
    ]
    return count


def by_key(db: sqlite3.Connection, workspace: str, idempotency_key: str) -> Task | None:
    """See ``IQueue.by_key``."""
    row = db.execute(
        f"SELECT {COLUMNS} FROM tasks WHERE workspace = ? AND idempotency_key = ? AND idempotency_key <> ''",
        (workspace, idempotency_key),
    ).fetchone()
    return task_of(row) if row else None


def queue_position(db: sqlite3.Connection, task_id: str) -> int:
    """See ``IQueue.queue_position``: of each priority, whole blocks from their counters and a part of one by counting.

    The own priority's part ends at the task's turn, that of another one at the first turn that comes after the task.
    """
    position: int = db.execute(
        """
        WITH own AS (SELECT workspace, priority, place, turn FROM tasks WHERE id = ?1 AND status = 'queued'),
        parts (workspace, priority, until) AS (
            SELECT own.workspace, each.value, CASE WHEN each.value = own.priority THEN own.turn ELSE coalesce((
                SELECT turn FROM tasks INDEXED BY tasks_live
                WHERE workspace = own.workspace AND priority = each.value AND ended_at IS NULL AND status = 'queued'
                    AND (place, turn) > (own.place, own.turn)
                ORDER BY place, turn LIMIT 1
            ), 0x7fffffffffffffff) END
            FROM own, json_each(?2) AS each
        )
        SELECT 1 + coalesce(sum(
            (SELECT coalesce(sum(queued), 0) FROM queue
             WHERE queue.workspace = parts.workspace AND queue.priority = parts.priority AND block < until >> ?3)
            + (SELECT count(*) FROM tasks INDEXED BY tasks_turns
               WHERE tasks.workspace = parts.workspace AND tasks.priority = parts.priority AND status = 'queued'
                   AND turn >= until >> ?3 << ?3 AND turn < until)
        ), 0) FROM parts
        """,
        (search_key(task_id), _PRIORITIES, BLOCK_BITS),
    ).fetchone()[0]
    return position


def page(db: sqlite3.Connection, query: TaskQuery, after: Place | None) -> TaskPage:
    """See ``ITaskStore.list``. One more than the page holds is asked for: it says whether another page follows."""
    where, values = _conditions(query, after)
    order = "submitted_at DESC, number DESC" if query.newest else "submitted_at, number"
    rows = db.execute(
        f"SELECT id, submitted_at, number FROM tasks WHERE {where} ORDER BY {order} LIMIT ?",
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
        where.append(f"(submitted_at, number) {'<' if query.newest else '>'} (?, ?)")
        values.extend(after)
    return " AND ".join(where), values


def piece(db: sqlite3.Connection, task_id: str, attempt: int, index: int) -> bytes | None:
    """One piece of a body, or ``None`` when it is not there (any more)."""
    row = db.execute(
        "SELECT data FROM pieces WHERE task = ? AND attempt = ? AND piece = ?", (task_id, attempt, index)
    ).fetchone()
    return row[0] if row else None
