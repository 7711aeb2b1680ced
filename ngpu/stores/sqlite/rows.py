"""A task ↔ a row of the table ``tasks``. Every field comes back exactly as it was."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ngpu.model import Priority, Task, TaskStatus, node_key
from ngpu.stores.record import (
    outcome_json,
    outcome_of,
    placement_json,
    placement_of,
    search_key,
    submission_json,
    submission_of,
)

COLUMNS = (
    "number, id, workspace, status, attempt, submitted_at, expires_at, started_at, ended_at, "
    "submission, placement, outcome, checkpoint, priority, place, retries, webhook, idempotency_key"
)
"""What ``task_of`` reads, in its order."""

INSERTED = (
    "id, workspace, status, attempt, submitted_at, expires_at, started_at, ended_at, "
    "submission, placement, outcome, checkpoint, priority, place, retries, webhook, idempotency_key, node, btc_address"
)
"""What ``row_of`` gives, in its order."""

INSERT = f"""
INSERT INTO tasks ({INSERTED}, turn)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
        (SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'tasks'))
"""
"""Takes what ``row_of`` gives. The first turn is the number that AUTOINCREMENT is about to give."""


@lru_cache(maxsize=1024)
def _node(address: str) -> str:
    return search_key(node_key(address))


def row_of(task: Task, place: float) -> tuple[Any, ...]:
    """The values of ``INSERTED``, with the place that the task gets in the queue."""
    return (
        task.id,
        task.workspace,
        str(task.status),
        task.attempt,
        task.submitted_at,
        task.expires_at,
        task.started_at,
        task.ended_at,
        submission_json(task),
        placement_json(task.placement),
        outcome_json(task.outcome) if task.outcome else None,
        task.checkpoint,
        int(task.priority),
        place,
        task.retries,
        task.webhook,
        task.idempotency_key,
        _node(task.placement.node_address),
        search_key(task.btc_address),
    )


def task_of(row: tuple[Any, ...]) -> Task:
    """The task in a row of ``COLUMNS``."""
    number, task_id, workspace, status, attempt, submitted_at, expires_at, started_at, ended_at, *documents = row
    submission, placement, outcome, checkpoint, priority, place, retries, webhook, idempotency_key = documents
    return Task(
        number=number,
        id=task_id,
        workspace=workspace,
        status=TaskStatus(status),
        attempt=attempt,
        submitted_at=submitted_at,
        expires_at=expires_at,
        started_at=started_at,
        ended_at=ended_at,
        placement=placement_of(placement),
        outcome=outcome_of(outcome),
        checkpoint=checkpoint,
        priority=Priority(priority),
        place=place,
        retries=retries,
        webhook=webhook,
        idempotency_key=idempotency_key,
        **submission_of(submission),
    )
