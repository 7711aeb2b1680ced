"""Tasks that are put back into the queue, or out of it, by their owners. Runs within the writer's transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from ngpu.limits import Quota
from ngpu.model import Placement, TaskStatus
from ngpu.stores.record import placement_json, submission_json
from ngpu.stores.sqlite.admission import behind_its_own, check_queue, count_in_quota
from ngpu.stores.sqlite.reads import get
from ngpu.stores.sqlite.writes import drop_result

MOST_CANCELLED = 500
"""Tasks that one ``cancel_queued`` ends."""

_RETRIED = (TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.EXPIRED)


def retry(
    db: sqlite3.Connection,
    task_id: str,
    now: float,
    expires_at: float,
    place: float,
    queue_limit: int | None,
    quota: Quota | None,
) -> TaskStatus | None:
    """See ``IQueue.retry``."""
    task = get(db, task_id)
    if task is None or task.status not in _RETRIED:
        return None if task is None else task.status
    check_queue(db, task.workspace, queue_limit)
    count_in_quota(db, task.workspace, quota)
    place = behind_its_own(db, task.workspace, task.priority, place)
    # the next number of tasks, so that the turn is higher than all there are
    ((turn,),) = db.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'tasks' RETURNING seq").fetchall()
    db.execute(
        "UPDATE tasks SET status = 'queued', expires_at = ?, place = ?, turn = ?, retries = retries + 1, "
        "started_at = NULL, ended_at = NULL, outcome = NULL, checkpoint = '', placement = ?, node = '', submission = ? "
        "WHERE number = ?",
        (
            expires_at,
            place,
            turn,
            placement_json(Placement()),
            submission_json(replace(task, direct=False)),
            task.number,
        ),
    )
    drop_result(db, task.id)
    return task.status


def cancel_queued(db: sqlite3.Connection, workspace: str, now: float, most: int) -> Sequence[str]:
    """See ``IQueue.cancel_queued``."""
    rows = db.execute(
        """
        UPDATE tasks SET status = 'cancelled', ended_at = ?
        WHERE number IN (SELECT number FROM tasks WHERE workspace = ? AND status = 'queued'
                         ORDER BY place, turn LIMIT ?)
        RETURNING id
        """,
        (now, workspace, min(most, MOST_CANCELLED)),
    )
    return [task_id for (task_id,) in rows.fetchall()]
