"""A task ↔ a row of the table ``tasks``. Every field comes back exactly as it was."""

from __future__ import annotations

from typing import Any

from ngpu.model import Task, TaskStatus, node_key
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
    "submission, placement, outcome, checkpoint"
)
"""What ``task_of`` reads, in its order."""

INSERT = """
INSERT INTO tasks (id, workspace, status, attempt, submitted_at, expires_at, started_at, ended_at,
                   submission, placement, outcome, checkpoint, node, btc_address)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
"""Takes what ``row_of`` gives."""


def row_of(task: Task) -> tuple[Any, ...]:
    """The values of ``INSERT``."""
    return (
        task.id,
        task.workspace,
        task.status.value,
        task.attempt,
        task.submitted_at,
        task.expires_at,
        task.started_at,
        task.ended_at,
        submission_json(task),
        placement_json(task.placement),
        outcome_json(task.outcome) if task.outcome else None,
        task.checkpoint,
        search_key(node_key(task.placement.node_address)),
        search_key(task.btc_address),
    )


def task_of(row: tuple[Any, ...]) -> Task:
    """The task in a row of ``COLUMNS``."""
    number, task_id, workspace, status, attempt, submitted_at, expires_at, started_at, ended_at, *documents = row
    submission, placement, outcome, checkpoint = documents
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
        **submission_of(submission),
    )
