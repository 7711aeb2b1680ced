"""A task's record ↔ the texts that stores keep. Every field comes back exactly as it was."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from ngpu.model import DataForm, Outcome, Placement, Task, TaskStatus, UpstreamRequest

# ASCII-only JSON: a lone surrogate, legal in a caller's JSON, is no UTF-8 and could not be kept as text.
to_json = json.JSONEncoder(separators=(",", ":")).encode

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


def submission_json(task: Task) -> str:
    """The fields that never change and are not searched by."""
    request = task.request
    document = {name: getattr(task, name) for name in _PLAIN}
    document["form"] = task.form.value
    document["request"] = [request.method, request.target, request.port]
    document["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers]
    return to_json(document)


def submission_of(text: str) -> dict[str, Any]:
    """What `submission_json` was made of, as arguments of `Task`."""
    document = json.loads(text)
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


def outcome_of(text: str | None) -> Outcome | None:
    """What `outcome_json` was made of; ``None`` where there is none."""
    if not text:
        return None
    document = json.loads(text)
    document["status"] = TaskStatus(document["status"])
    return Outcome(**document)
