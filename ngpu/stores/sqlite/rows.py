"""A task ↔ a row of the table ``tasks``. Every field comes back exactly as it was."""

from __future__ import annotations

import json
from typing import Any

from ngpu.model import DataForm, Outcome, Placement, Priority, Task, TaskStatus, UpstreamRequest, node_key

# ASCII-only JSON: a lone surrogate, legal in a caller's JSON, is no UTF-8 and could not be bound as text.
to_json = json.JSONEncoder(separators=(",", ":")).encode

COLUMNS = (
    "number, id, workspace, status, attempt, submitted_at, expires_at, started_at, ended_at, "
    "submission, placement, outcome, checkpoint, priority, place, retries, webhook, idempotency_key"
)
"""What ``task_of`` reads, in its order."""

INSERT = """
INSERT INTO tasks (id, workspace, status, attempt, submitted_at, expires_at, started_at, ended_at,
                   submission, placement, outcome, checkpoint, priority, place, retries, webhook, idempotency_key,
                   node, btc_address, turn)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
        (SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'tasks'))
"""
"""Takes what ``row_of`` gives. The first turn is the number that AUTOINCREMENT is about to give."""


# A record from before one of these was there comes back with the field's default.
_PLAIN = (
    "method",
    "timeout",
    "request_url",
    "request_size",
    "request_text",
    "direct",
    "btc_address",
    "client_ip",
    "user_key",
    "app",
    "request_digest",
)


def search_key(text: str) -> str:
    """Text from outside as it is searched for: always UTF-8, also where the caller's was not."""
    return text.encode("utf-8", "backslashreplace").decode()


def row_of(task: Task, place: float) -> tuple[Any, ...]:
    """The values of ``INSERT``, with the place that the task gets in the queue."""
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
        int(task.priority),
        place,
        task.retries,
        task.webhook,
        task.idempotency_key,
        search_key(node_key(task.placement.node_address)),
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
        placement=Placement(*json.loads(placement)),
        outcome=_outcome(json.loads(outcome)) if outcome else None,
        checkpoint=checkpoint,
        priority=Priority(priority),
        place=place,
        retries=retries,
        webhook=webhook,
        idempotency_key=idempotency_key,
        **_submission(json.loads(submission)),
    )


def submission_json(task: Task) -> str:
    """The fields that are not searched by."""
    request = task.request
    document = {name: getattr(task, name) for name in _PLAIN}
    document["form"] = task.form.value
    document["request"] = [request.method, request.target, request.port]
    document["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers]
    return to_json(document)


def _submission(document: dict[str, Any]) -> dict[str, Any]:
    method, target, port = document["request"]
    headers = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in document.pop("headers"))
    document["request"] = UpstreamRequest(method, target, port, headers)
    document["form"] = DataForm(document["form"])
    return document


def placement_json(placement: Placement) -> str:
    """Where an attempt runs."""
    return to_json([placement.replica, placement.node_address, placement.node_host])


def outcome_json(outcome: Outcome) -> str:
    """How it ended."""
    return to_json(
        {
            "status": outcome.status.value,
            "code": outcome.code,
            "reason": outcome.reason,
            "worker_status": outcome.worker_status,
            "content_type": outcome.content_type,
            "size": outcome.size,
            "text": outcome.text,
            "json": outcome.json,
        }
    )


def _outcome(document: dict[str, Any]) -> Outcome:
    document["status"] = TaskStatus(document["status"])
    return Outcome(**document)
