"""A task ↔ what the scripts take and give."""

from __future__ import annotations

import struct
from typing import Any

from ngpu.model import Placement, Priority, Task, TaskStatus, node_key
from ngpu.stores.record import (
    outcome_json,
    outcome_of,
    placement_json,
    placement_of,
    search_key,
    submission_json,
    submission_of,
)

_DOUBLE, _BITS = struct.Struct(">d"), struct.Struct(">Q")
_SIGN = 1 << 63


def addition(task: Task) -> tuple[Any, ...]:
    """The arguments of `adding.ADD`, up to its ``key``."""
    return (
        task.id,
        task.workspace,
        task.status.value,
        task.attempt,
        repr(task.submitted_at),
        repr(task.expires_at),
        _moment(task.started_at),
        _moment(task.ended_at),
        placement_json(task.placement),
        outcome_json(task.outcome) if task.outcome else "",
        task.checkpoint,
        submission_json(task),
        sortable(task.submitted_at),
        search_key(node_key(task.placement.node_address)),
        search_key(task.btc_address),
        int(task.priority),
        repr(float(task.place)),
        task.retries,
        task.webhook,
        task.idempotency_key,
    )


def task_of(record: list[Any]) -> Task:
    """The task in a record, as the scripts give it."""
    number, workspace, status, attempt, sent, expires, begun, ended, placement, outcome, checkpoint, *rest = record
    submission, priority, place, retries, webhook, idempotency_key, task_id = rest
    return Task(
        number=int(number),
        id=task_id,
        workspace=workspace,
        status=TaskStatus(status),
        attempt=int(attempt),
        submitted_at=float(sent),
        expires_at=float(expires),
        started_at=float(begun) if begun else None,
        ended_at=float(ended) if ended else None,
        placement=placement_of(placement),
        outcome=outcome_of(outcome),
        checkpoint=checkpoint,
        priority=Priority(int(priority)),
        place=float(place),
        retries=int(retries),
        webhook=webhook,
        idempotency_key=idempotency_key,
        **submission_of(submission),
    )


def sortable(moment: float) -> str:
    """16 digits in hex that compare as the numbers do: the bits of the double, the sign turned round."""
    (bits,) = _BITS.unpack(_DOUBLE.pack(moment))
    return f"{bits ^ (_SIGN if not bits & _SIGN else _SIGN | (_SIGN - 1)):016x}"


def moment_of(digits: str) -> float:
    """What `sortable` was made of."""
    bits = int(digits, 16)
    bits ^= _SIGN if bits & _SIGN else _SIGN | (_SIGN - 1)
    moment: float = _DOUBLE.unpack(_BITS.pack(bits))[0]
    return moment


def _moment(moment: float | None) -> str:
    return "" if moment is None else repr(moment)


def node_of(placement: Placement) -> str:
    """What tasks of a node are found by."""
    return search_key(node_key(placement.node_address))
