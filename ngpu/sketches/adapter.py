"""App adapter ``example``: a worker that takes a job and is asked until it is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from zope.interface import implementer

from ngpu import options as read
from ngpu.adapter import JSON, Adapter, IAppAdapter, WorkerReply
from ngpu.errors import JobFailed
from ngpu.interfaces import Option, PluginContext
from ngpu.plugin import Factory


@implementer(IAppAdapter)
class Example(Adapter):
    """``POST /jobs`` → ``{"id": …}``; ``GET /jobs/<id>`` → ``{"state": "running" | "done" | "failed"}``."""

    def __init__(self, interval: float) -> None:
        self._interval = interval

    async def run(self, work: Any) -> WorkerReply:
        """See `IAppAdapter.run`; after a restart the checkpoint says which job it was."""
        job = work.checkpoint["job"] if work.checkpoint else await self._submit(work)

        async def ask() -> WorkerReply | None:
            reply: WorkerReply = await work.call("GET", f"/jobs/{quote(job, safe='')}")
            state = reply.object().get("state")
            if state == "failed" or reply.status == 404:
                raise JobFailed("the worker's job failed", reply)
            return reply if state == "done" else None

        reply: WorkerReply = await work.poll_until(ask, self._interval)
        return reply

    async def _submit(self, work: Any) -> str:
        reply = await work.call("POST", "/jobs", headers=JSON, body=work.request)
        job = reply.object().get("id")
        if not isinstance(job, str):
            raise JobFailed("the worker did not take the job", reply)
        await work.save({"job": job})
        return job


def _make(options: Mapping[str, Any], context: PluginContext) -> Example:
    return Example(read.duration(options, "interval", "2s", most=60))


example = Factory(
    "adapter",
    "example",
    "A worker that takes a job and is asked until it is done.",
    _make,
    (Option("interval", "how often the worker is asked", "2s", "duration"),),
)
