"""What lets a task into the queue, and where it stands there. Runs in the writer's thread, within its transactions."""

from __future__ import annotations

import sqlite3

from ngpu.errors import OverLimit, QueueFull
from ngpu.limits import Quota
from ngpu.stores.sqlite.reads import queued

RETRY_AFTER = 5
"""Seconds that a caller is told to wait for a place in a full queue."""


def check_queue(db: sqlite3.Connection, workspace: str, queue_limit: int | None) -> None:
    """:raises QueueFull: as many tasks wait as may."""
    if queue_limit is not None:
        check_limit(queued(db, workspace), queue_limit)


def check_limit(waiting: int, queue_limit: int) -> None:
    """:raises QueueFull: as many tasks wait as may."""
    if waiting >= queue_limit:
        raise QueueFull(f"{queue_limit} tasks of this workspace are waiting already; try again later", RETRY_AFTER)


def used(db: sqlite3.Connection, workspace: str, window: str) -> int:
    """See ``ILimits.used``."""
    row = db.execute("SELECT used FROM usage WHERE workspace = ? AND period = ?", (workspace, window)).fetchone()
    return row[0] if row else 0


def check_quota(db: sqlite3.Connection, workspace: str, quota: Quota | None) -> None:
    """:raises OverLimit: as many tasks were counted as may be."""
    if quota is not None and used(db, workspace, quota.window) >= quota.limit:
        raise OverLimit(f"this workspace's quota of {quota.limit} tasks is used up", quota.retry_after)


def count_in_quota(db: sqlite3.Connection, workspace: str, quota: Quota | None) -> None:
    """Count one more task, and forget the windows that are over.

    :raises OverLimit: see `check_quota`.
    """
    if quota is None:
        return
    check_quota(db, workspace, quota)
    db.execute(
        "INSERT INTO usage VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET used = used + 1", (workspace, quota.window)
    )
    db.execute("DELETE FROM usage WHERE workspace = ? AND period < ?", (workspace, quota.window))


def behind_its_own(db: sqlite3.Connection, workspace: str, priority: int, place: float) -> float:
    """The place of a task that comes into the queue now: behind the live ones of its priority, whatever clocks say."""
    row = db.execute(
        "SELECT place FROM tasks WHERE workspace = ? AND priority = ? AND ended_at IS NULL ORDER BY place DESC LIMIT 1",
        (workspace, int(priority)),
    ).fetchone()
    return max(place, row[0]) if row else place
