"""A task's record ↔ the texts that stores keep. Every field comes back exactly as it was.

The texts of which every task needs one or two are put together by hand, which takes a third of an encoder's time.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _text  # what json.dumps has for a string, in C
from typing import Any

from ngpu.model import DataForm, Outcome, Placement, Task, TaskStatus, UpstreamRequest

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
    return (
        f'{{"status":"{outcome.status!s}","code":{outcome.code},"reason":{_text(outcome.reason)},'
        f'"worker_status":{outcome.worker_status},"content_type":{_text(outcome.content_type)},'
        f'"size":{outcome.size},"text":{_truth(outcome.text)},"json":{_truth(outcome.json)}}}'
    )


def outcome_of(text: str | None) -> Outcome | None:
    """What `outcome_json` was made of; ``None`` where there is none."""
    if not text:
        return None
    document = json.loads(text)
    document["status"] = TaskStatus(document["status"])
    return Outcome(**document)
