"""What changes the file. Each function runs in the writer's thread, inside a transaction that is not its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from ngpu.changing import changed
from ngpu.errors import Conflict
from ngpu.limits import Quota
from ngpu.model import Outcome, Placement, Task, TaskStatus, node_key
from ngpu.stores.record import outcome_json, placement_json, search_key
from ngpu.stores.sqlite.admission import behind_its_own, check_queue, check_quota, count_in_quota
from ngpu.stores.sqlite.reads import by_key
from ngpu.stores.sqlite.rows import COLUMNS, INSERT, row_of, task_of
from ngpu.stores.sqlite.schema import REQUEST

INSERT_PIECE = "INSERT INTO pieces (task, attempt, piece, data) VALUES (?, ?, ?, ?)"

MOST_EXPIRED = 500
"""Tasks that one ``expire`` ends."""

MOST_PURGED = 256
"""Tasks, and also pieces, that one ``purge`` removes before it lets others write (the last task's go with it)."""


def add(
    db: sqlite3.Connection,
    task: Task,
    data: bytes,
    queue_limit: int | None = None,
    quota: Quota | None = None,
    result: bytes = b"",
) -> Task:
    """Store a task whose request fits into one piece."""
    known = same_key(db, task)
    if known is not None:
        return known
    stored = _insert(db, task, queue_limit, quota)
    if data:
        _keep(db, task.id, REQUEST, 0, data)
    if result:
        _keep(db, task.id, task.attempt, 0, result)
    return stored


def begin_upload(
    db: sqlite3.Connection, task: Task, queue_limit: int | None, quota: Quota | None = None
) -> Task | None:
    """Announce a request in several pieces: what is under this id now is a leftover until ``end_upload``.

    A limit refuses it here already, before the pieces are read.

    :returns: the task that its key has brought in already; then nothing was announced.
    """
    known = same_key(db, task)
    if known is not None:
        return known
    check_queue(db, task.workspace, queue_limit)
    check_quota(db, task.workspace, quota)
    if db.execute("SELECT 1 FROM tasks WHERE id = ?", (task.id,)).fetchone():
        raise _taken(task.id)
    try:
        db.execute("INSERT INTO uploads VALUES (?)", (task.id,))
    except sqlite3.IntegrityError as error:
        raise _taken(task.id) from error
    return None


def upload(db: sqlite3.Connection, task_id: str, piece: int, data: bytes) -> None:
    """Keep a piece of such a request."""
    _keep(db, task_id, REQUEST, piece, data)


def end_upload(
    db: sqlite3.Connection, task: Task, queue_limit: int | None, quota: Quota | None = None, result: bytes = b""
) -> Task:
    """Store the task, now that its pieces are there; unless another one of its key was quicker."""
    known = same_key(db, task)
    if known is not None:
        drop_upload(db, task.id)
        return known
    stored = _insert(db, task, queue_limit, quota)
    db.execute("DELETE FROM uploads WHERE task = ?", (task.id,))
    if result:
        _keep(db, task.id, task.attempt, 0, result)
    return stored


def drop_upload(db: sqlite3.Connection, task_id: str) -> None:
    """Remove the pieces of a task that is not going to be stored; of one that was, nothing."""
    if db.execute("DELETE FROM uploads WHERE task = ?", (task_id,)).rowcount:
        db.execute("DELETE FROM pieces WHERE task = ?1 AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = ?1)", (task_id,))


def claim(db: sqlite3.Connection, workspace: str, placement: Placement, now: float) -> Task | None:
    """See ``ITaskStore.claim``."""
    rows = db.execute(
        f"""
        UPDATE tasks SET status = 'running', attempt = attempt + 1, started_at = ?, placement = ?, node = ?
        WHERE number = (SELECT number FROM tasks WHERE workspace = ? AND status = 'queued' AND expires_at > ?
                        ORDER BY place, turn LIMIT 1)
        RETURNING {COLUMNS}
        """,
        (now, placement_json(placement), search_key(node_key(placement.node_address)), workspace, now),
    ).fetchall()
    return task_of(rows[0]) if rows else None


def reattempt(db: sqlite3.Connection, task_id: str, attempt: int, placement: Placement) -> int | None:
    """See ``ITaskStore.reattempt``."""
    changed = db.execute(
        "UPDATE tasks SET attempt = attempt + 1, placement = ?, node = ?, checkpoint = '' "
        "WHERE id = ? AND attempt = ? AND status = 'running'",
        (placement_json(placement), search_key(node_key(placement.node_address)), task_id, attempt),
    ).rowcount
    if not changed:
        return None
    drop_result(db, task_id)
    return attempt + 1


def take_over(db: sqlite3.Connection) -> Sequence[Task]:
    """What an earlier process was running; see ``ITaskStore.orphans``."""
    db.execute("UPDATE tasks SET attempt = attempt + 1 WHERE status = 'running'")
    rows = db.execute(f"SELECT {COLUMNS} FROM tasks WHERE status = 'running' ORDER BY number").fetchall()
    tasks = [task_of(row) for row in rows]
    for task in tasks:
        drop_result(db, task.id)
    return tasks


def save_checkpoint(db: sqlite3.Connection, task_id: str, attempt: int, checkpoint: str) -> bool:
    """See ``ITaskStore.save_checkpoint``."""
    changed = db.execute(
        "UPDATE tasks SET checkpoint = ? WHERE id = ? AND attempt = ? AND status = 'running'",
        (checkpoint, task_id, attempt),
    ).rowcount
    return bool(changed)


def requeue(db: sqlite3.Connection, task_id: str, attempt: int) -> bool:
    """See ``ITaskStore.requeue``."""
    changed = db.execute(
        "UPDATE tasks SET status = 'queued', started_at = NULL, placement = ?, node = '', checkpoint = '' "
        "WHERE id = ? AND attempt = ? AND status = 'running'",
        (placement_json(Placement()), task_id, attempt),
    ).rowcount
    if changed:
        drop_result(db, task_id)
    return bool(changed)


def write_result(db: sqlite3.Connection, task_id: str, attempt: int, index: int, data: bytes) -> None:
    """See ``ITaskStore.write_result``."""
    db.execute(
        "INSERT OR REPLACE INTO pieces (task, attempt, piece, data) "
        "SELECT id, attempt, ?, ? FROM tasks WHERE id = ? AND attempt = ? AND status = 'running'",
        (index, data, task_id, attempt),
    )


def finish(
    db: sqlite3.Connection, task_id: str, attempt: int, outcome: Outcome, now: float, last: tuple[int, bytes] | None
) -> bool:
    """See ``ITaskStore.finish``."""
    changed = db.execute(
        "UPDATE tasks SET status = ?, ended_at = ?, outcome = ? WHERE id = ? AND attempt = ? AND status = 'running'",
        (outcome.status.value, now, outcome_json(outcome), task_id, attempt),
    ).rowcount
    if not changed:
        return False
    if last is None:
        drop_result(db, task_id)
    elif last[1]:
        _keep(db, task_id, attempt, *last)
    return True


def cancel(db: sqlite3.Connection, task_id: str, now: float) -> TaskStatus | None:
    """See ``ITaskStore.cancel``."""
    row = db.execute("SELECT number, status FROM tasks WHERE id = ?", (search_key(task_id),)).fetchone()
    if row is None:
        return None
    number, status = row[0], TaskStatus(row[1])
    if not status.ended:
        db.execute("UPDATE tasks SET status = 'cancelled', ended_at = ? WHERE number = ?", (now, number))
        drop_result(db, task_id)
    return status


def expire(db: sqlite3.Connection, now: float) -> Sequence[tuple[str, str]]:
    """See ``ITaskStore.expire``."""
    return db.execute(
        """
        UPDATE tasks SET status = 'expired', ended_at = ?
        WHERE number IN (SELECT number FROM tasks WHERE status = 'queued' AND expires_at <= ?
                         ORDER BY expires_at LIMIT ?)
        RETURNING workspace, id
        """,
        (now, now, MOST_EXPIRED),
    ).fetchall()


def purge(db: sqlite3.Connection, ended_before: Mapping[str, float], otherwise: float) -> int:
    """See ``ITaskStore.purge``."""
    tasks = pieces = 0
    for workspace in _workspaces_with_ended(db):
        due = db.execute(
            "SELECT number, id, (SELECT count(*) FROM pieces WHERE task = id) FROM tasks "
            "WHERE workspace = ? AND ended_at IS NOT NULL AND ended_at < ? "
            "AND (webhook = '' OR NOT EXISTS (SELECT 1 FROM webhooks WHERE task = id AND dead = 0)) "
            "ORDER BY ended_at LIMIT ?",
            (workspace, ended_before.get(workspace, otherwise), MOST_PURGED - tasks),
        ).fetchall()
        for number, task_id, count in due:
            if pieces >= MOST_PURGED:
                return tasks
            db.execute("DELETE FROM tasks WHERE number = ?", (number,))
            db.execute("DELETE FROM pieces WHERE task = ?", (task_id,))
            tasks += 1
            pieces += count
        if tasks == MOST_PURGED:
            break
    return tasks


def _workspaces_with_ended(db: sqlite3.Connection) -> list[str]:
    """One step into the index for each workspace, however many tasks they have."""
    rows = db.execute(
        """
        WITH RECURSIVE names (name) AS (
            SELECT min(workspace) FROM tasks WHERE ended_at IS NOT NULL
            UNION ALL
            SELECT (SELECT min(workspace) FROM tasks WHERE ended_at IS NOT NULL AND workspace > name)
            FROM names WHERE name IS NOT NULL
        )
        SELECT name FROM names WHERE name IS NOT NULL
        """
    )
    return [name for (name,) in rows]


def _insert(db: sqlite3.Connection, task: Task, queue_limit: int | None, quota: Quota | None) -> Task:
    check_queue(db, task.workspace, queue_limit)
    count_in_quota(db, task.workspace, quota)
    place = behind_its_own(db, task.workspace, task.priority, task.place)
    try:
        number = db.execute(INSERT, row_of(task, place)).lastrowid
    except sqlite3.IntegrityError as error:
        raise _taken(task.id) from error
    assert number is not None
    return changed(task, number=number, place=place)


def same_key(db: sqlite3.Connection, task: Task) -> Task | None:
    """The task that this one's ``idempotency_key`` has brought in already."""
    return by_key(db, task.workspace, task.idempotency_key) if task.idempotency_key else None


def _taken(task_id: str) -> Conflict:
    return Conflict(f"there is a task {task_id} already")


def _keep(db: sqlite3.Connection, task_id: str, attempt: int, piece: int, data: bytes) -> None:
    try:
        db.execute(INSERT_PIECE, (task_id, attempt, piece, data))
    except sqlite3.IntegrityError as error:
        raise _taken(task_id) from error


def drop_result(db: sqlite3.Connection, task_id: str) -> None:
    """Forget what was written of a task's result."""
    db.execute("DELETE FROM pieces WHERE task = ? AND attempt > ?", (task_id, REQUEST))
