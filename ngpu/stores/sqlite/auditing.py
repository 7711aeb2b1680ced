"""The embedded store looks itself over: see `ngpu.auditing`. Runs in the reader's thread, a page in one snapshot."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict

from ngpu.auditing import AuditPage, Finding, overdue
from ngpu.errors import BadRequest
from ngpu.model import TaskStatus
from ngpu.stores.sqlite.schema import BLOCK_BITS

ROWS_AT_ONCE = 2000
"""Records that one page compares."""

ENDED = frozenset(status.value for status in TaskStatus if status.ended)
WITH_OUTCOME = frozenset({"finished", "failed"})


def audit(db: sqlite3.Connection, cursor: str | None, now: float) -> AuditPage:
    """See `ngpu.auditing.IAudited.audit`."""
    after = _decoded(cursor)
    db.execute("BEGIN")  # what follows is of one moment
    try:
        findings: list[Finding] = [] if after else _tables(db)
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        rows = db.execute(
            "SELECT number, id, workspace, status, started_at, ended_at, expires_at, outcome IS NOT NULL, submission, "
            "webhook <> '' AND EXISTS (SELECT 1 FROM webhooks WHERE task = id) "
            "FROM tasks WHERE number > ? ORDER BY number LIMIT ?",
            (after, ROWS_AT_ONCE),
        ).fetchall()
        accepted = {} if after else dict(db.execute("SELECT workspace, count(*) FROM tasks GROUP BY workspace"))
    finally:
        db.execute("COMMIT")
    for _, task_id, workspace, status, started_at, ended_at, expires_at, outcome, submission, told in rows:
        counts[workspace][status] += 1
        findings += [Finding("record", task_id, words) for words in _wrong(status, ended_at, outcome, told)]
        about = json.loads(submission)
        timed = about["method"] == "schedulingTask" and not about.get("app")
        late = overdue(status, started_at, float(about["timeout"]) if timed else 0.0, expires_at, now)
        if late:
            findings.append(Finding("stuck", task_id, late, lasting=False))
    return AuditPage(counts, accepted, findings, str(rows[-1][0]) if len(rows) == ROWS_AT_ONCE else None)


def _wrong(status: str, ended_at: float | None, outcome: bool, told: bool) -> list[str]:
    """What of a record does not go together."""
    wrong = []
    ended = status in ENDED
    if not ended and status not in ("queued", "running"):
        wrong.append(f"has the unknown status {status}")
    if (ended_at is not None) != ended:
        wrong.append(f"is {status} {'without' if ended else 'with'} an end")
    if bool(outcome) != (status in WITH_OUTCOME):
        wrong.append(f"is {status} {'with' if outcome else 'without'} an outcome")
    if told and not ended:
        wrong.append(f"is {status}, and stands in webhooks")
    return wrong


def _tables(db: sqlite3.Connection) -> list[Finding]:
    """The tables beside the records: the counters of the queue, webhooks, pieces."""
    counted = dict(_blocks(db, "SELECT workspace, priority, block, queued FROM queue"))
    waiting = dict(
        _blocks(
            db,
            f"SELECT workspace, priority, turn >> {BLOCK_BITS}, count(*) FROM tasks INDEXED BY tasks_turns "
            f"WHERE status = 'queued' GROUP BY workspace, priority, turn >> {BLOCK_BITS}",
        )
    )
    findings = [
        Finding("index", f"queue of {key[0]}", f"counts {counted.get(key, 0)} waiting, and {waiting.get(key, 0)} wait")
        for key in sorted(counted.keys() | waiting.keys())
        if counted.get(key, 0) != waiting.get(key, 0)
    ]
    lost = db.execute("SELECT task FROM webhooks WHERE NOT EXISTS (SELECT 1 FROM tasks WHERE id = task) LIMIT 100")
    findings += [Finding("index", task_id, "stands in webhooks, and is gone") for (task_id,) in lost]
    return findings


def _blocks(db: sqlite3.Connection, question: str) -> list[tuple[tuple[str, int, int], int]]:
    return [((workspace, priority, block), count) for workspace, priority, block, count in db.execute(question)]


def _decoded(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise BadRequest("cursor: none that this gateway gave")
    return int(cursor)
