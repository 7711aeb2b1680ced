"""App adapter ``passthrough``: one call to the app's path and port, and what the worker answers."""

from __future__ import annotations

from typing import Any, Literal

from zope.interface import implementer

from ngpu.adapter import Adapter, IAppAdapter, WorkerReply
from ngpu.plugin import Factory


@implementer(IAppAdapter)
class Passthrough(Adapter):
    """Says that there is nothing to adapt: the gateway then streams request and reply, and no conversation begins."""

    direct = True
    mode: Literal["sync", "async"] = "sync"

    async def run(self, work: Any) -> WorkerReply:
        """The same as a conversation, which the gateway never has."""
        reply: WorkerReply = await work.call(
            work.task.request.method, work.task.request.target, headers=work.task.request.headers, body=work.request
        )
        return reply


passthrough = Factory(
    "adapter",
    "passthrough",
    "One call to the app's path and port; request and reply pass through as they are.",
    lambda options, context: Passthrough(),
)
