"""A webhook as bytes: its body, and the header fields of Standard Webhooks. Pure, but for reading the result."""

from __future__ import annotations

import base64
import hashlib
import hmac

from ngpu.interfaces import FetchRequest
from ngpu.model import Body, Task
from ngpu.outbox import Webhook
from ngpu.wire.replies import webhook_reply
from ngpu.wire.stream import render

MOST_DATA = 1 << 20
"""Bytes of a result that a webhook carries at most."""


def signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """``v1,`` and the HMAC-SHA256 over id, time and body, in base64 (Standard Webhooks, symmetric).

    :param secret: ``whsec_`` and the key in base64.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


async def message(webhook: Webhook, task: Task, result: Body | None, secret: str, now: float) -> FetchRequest:
    """The request that tells of a task's end.

    :param secret: the workspace's ``webhook_secret``; "" leaves it unsigned.
    """
    body = b"".join([piece async for piece in render(webhook_reply(task, result, MOST_DATA))])
    timestamp = int(now)
    headers = [
        ("Content-Type", "application/json"),
        ("webhook-id", webhook.id),
        ("webhook-timestamp", str(timestamp)),
    ]
    if secret:
        headers.append(("webhook-signature", signature(secret, webhook.id, timestamp, body)))
    return FetchRequest(task.webhook, "POST", tuple(headers), body)
