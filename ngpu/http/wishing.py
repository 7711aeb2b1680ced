"""What a submission may ask for beside its work: ``taskTtl``, ``taskTimeout``, ``taskPriority``, ``webhook``, and the
``Idempotency-Key`` header (wire contract §8)."""

from __future__ import annotations

import hashlib
import json
import re

from ngpu.egress import Egress
from ngpu.errors import BadRequest
from ngpu.http.call import Call
from ngpu.model import Priority
from ngpu.settings import Workspace
from ngpu.settings.units import UnitError, duration
from ngpu.submission import Submission, Wishes
from ngpu.tracing import FIELDS

LONGEST_KEY = 255
"""Characters that an Idempotency-Key may have."""

_WISHES = frozenset((b"taskTtl", b"taskTimeout", b"taskPriority", b"webhook"))
_NONE = Wishes()
_KEY = re.compile(r"[\x20-\x7e]+")


class Wishing:
    """Reads wishes.

    :param urls: where webhooks may lead.
    """

    def __init__(self, urls: Egress) -> None:
        self._urls = urls

    async def read(self, call: Call, workspace: Workspace) -> Wishes:
        """What stands in the query and the header fields.

        :raises BadRequest: it is malformed, or more than the workspace lets a task have.
        """
        key = _key(call)
        if not _WISHES & call.request.args.keys():
            return Wishes(key=key) if key else _NONE
        ttl, timeout = ttl_of(call, workspace), _duration(call.param("taskTimeout"), "taskTimeout", workspace.timeout)
        priority = _priority(call.param("taskPriority"))
        webhook = call.param("webhook")
        if webhook is not None:
            await self._urls.check_webhook(webhook, "webhook")
        return Wishes(ttl, timeout, priority, webhook or "", key)


async def digest_of(submission: Submission) -> str:
    """The same for two requests that are the same, however long their replies wait: in hex."""
    request, wishes = submission.request, submission.wishes
    parts = [
        submission.method,
        submission.app,
        request.method,
        request.target,
        request.port,
        [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers if name not in FIELDS],
        submission.form.value,
        submission.btc_address,
        [wishes.ttl, wishes.timeout, int(wishes.priority), wishes.webhook],
    ]
    digest = hashlib.sha256(json.dumps(parts).encode())
    digest.update(b"\n")
    async for piece in submission.body.chunks():
        digest.update(piece)
    return digest.hexdigest()


def ttl_of(call: Call, workspace: Workspace) -> float | None:
    """``taskTtl`` in seconds; ``None`` where it was not sent.

    :raises BadRequest: see `Wishing.read`.
    """
    return _duration(call.param("taskTtl"), "taskTtl", workspace.queue.ttl)


def _key(call: Call) -> str:
    """A digest of the Idempotency-Key, "" where there is none: what customers choose may be long, or a secret."""
    key = call.header("Idempotency-Key")
    if key is None:
        return ""
    if len(key) > LONGEST_KEY or not _KEY.fullmatch(key):
        raise BadRequest(f"Idempotency-Key must be 1 to {LONGEST_KEY} visible ASCII characters, such as a UUID")
    return hashlib.sha256(key.encode()).hexdigest()


def _duration(text: str | None, name: str, most: float) -> float | None:
    if text is None:
        return None
    try:
        seconds = duration(text)
    except UnitError as error:
        raise BadRequest(f"{name} {error}") from None
    if seconds <= 0:
        raise BadRequest(f"{name} must be more than 0")
    if seconds > most:
        raise BadRequest(f"{name} is more than the {most:g}s that this workspace lets a task have")
    return seconds


def _priority(text: str | None) -> Priority:
    try:
        return Priority.NORMAL if text is None else Priority[text.upper()]
    except KeyError:
        raise BadRequest("taskPriority must be low, normal or high") from None
