"""A task's record ↔ the texts that stores keep. Every field comes back exactly as it was.

The texts of which every task needs one or two are put together by hand, which takes a third of an encoder's time.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _text  # what json.dumps has for a string, in C
from typing import Any

from ngpu.model import DataForm, Outcome, Placement, Priority, Task, TaskStatus, UpstreamRequest

# ASCII-only JSON: a lone surrogate, legal in a caller's JSON, is no UTF-8 and could not be kept as text.
to_json = json.JSONEncoder(separators=(",", ":")).encode


def search_key(text: str) -> str:
    """Text from outside as it is searched for: always UTF-8, also where the caller's was not."""
    return text.encode("utf-8", "backslashreplace").decode()


def submission_json(task: Task) -> str:
    """The fields that never change and are not searched by."""
    request = task.request
    headers = [f"[{_quoted(name)},{_quoted(value)}]" for name, value in request.headers]
    return (
        f'{{"method":{_text(task.method)},"timeout":{_number(task.timeout)},"request_url":{_text(task.request_url)},'
        f'"request_size":{task.request_size},"request_text":{_truth(task.request_text)},'
        f'"direct":{_truth(task.direct)},"btc_address":{_text(task.btc_address)},"client_ip":{_text(task.client_ip)},'
        f'"user_key":{_text(task.user_key)},"app":{_text(task.app)},"request_digest":{_text(task.request_digest)},'
        f'"form":"{task.form!s}","request":[{_text(request.method)},{_text(request.target)},{request.port}],'
        f'"headers":[{",".join(headers)}]}}'
    )


def _quoted(octets: bytes) -> str:
    return _text(octets.decode("latin-1"))


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else to_json(value)


def _truth(value: bool) -> str:
    return "true" if value else "false"


def submission_of(text: str) -> dict[str, Any]:
    """What `submission_json` was made of, as arguments of `Task`.

    A record from before one of the fields was there comes back with its default.
    """
    return _submission(json.loads(text))


def _submission(document: dict[str, Any]) -> dict[str, Any]:
    method, target, port = document["request"]
    headers = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in document.pop("headers"))
    document["request"] = UpstreamRequest(method, target, port, headers)
    document["form"] = DataForm(document["form"])
    return dict(document)


@lru_cache(maxsize=1024)
def placement_json(placement: Placement) -> str:
    """Where an attempt runs."""
    return to_json([placement.replica, placement.node_address, placement.node_host])


@lru_cache(maxsize=1024)
def placement_of(text: str) -> Placement:
    """What `placement_json` was made of."""
    return Placement(*json.loads(text))


def task_json(task: Task) -> str:
    """All of a record, in one line."""
    outcome = outcome_json(task.outcome) if task.outcome else "null"
    return (
        f'{{"id":{_text(task.id)},"workspace":{_text(task.workspace)},"status":"{task.status!s}",'
        f'"attempt":{task.attempt},"submitted_at":{_number(task.submitted_at)},"expires_at":{_number(task.expires_at)},'
        f'"started_at":{_maybe(task.started_at)},"ended_at":{_maybe(task.ended_at)},"priority":{task.priority:d},'
        f'"place":{_number(task.place)},"retries":{task.retries},"number":{task.number},'
        f'"checkpoint":{_text(task.checkpoint)},"webhook":{_text(task.webhook)},'
        f'"idempotency_key":{_text(task.idempotency_key)},"placement":{placement_json(task.placement)},'
        f'"outcome":{outcome},"submission":{submission_json(task)}}}'
    )


def task_of_json(text: str | bytes) -> Task:
    """What `task_json` was made of.

    :raises ValueError, KeyError, TypeError: it is no such line.
    """
    document = json.loads(text)
    submission = _submission(document.pop("submission"))
    document["status"] = TaskStatus(document["status"])
    document["priority"] = Priority(document["priority"])
    document["placement"] = Placement(*document["placement"])
    document["outcome"] = _outcome(document["outcome"]) if document["outcome"] else None
    return Task(**document, **submission)


def _maybe(value: float | None) -> str:
    return "null" if value is None else _number(value)


def outcome_json(outcome: Outcome) -> str:
    """How it ended."""
    return (
        f'{{"status":"{outcome.status!s}","code":{outcome.code},"reason":{_text(outcome.reason)},'
        f'"worker_status":{outcome.worker_status},"content_type":{_text(outcome.content_type)},'
        f'"size":{outcome.size},"text":{_truth(outcome.text)},"json":{_truth(outcome.json)}}}'
    )


def outcome_of(text: str | None) -> Outcome | None:
    """What `outcome_json` was made of; ``None`` where there is none."""
    if not text:
        return None
    return _outcome(json.loads(text))


def _outcome(document: dict[str, Any]) -> Outcome:
    document["status"] = TaskStatus(document["status"])
    return Outcome(**document)
