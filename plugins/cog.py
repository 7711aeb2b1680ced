"""App adapter ``cog``: a model in a cog container, called as ``PUT /predictions/<task id>``.

The id is the task's, so the worker knows the job under the same name, and one that is asked for twice while it runs is
one prediction. cog tells a result only to the call that waits for it, or to a webhook: ``Prefer: respond-async`` leaves
nothing to ask for, and a second ``PUT`` after the end would run the model again. So the call is held open, and a client
that leaves, or cancelTask, ends the prediction by ``POST /predictions/<id>/cancel``. Versions that name no
predictions are asked by ``POST /predictions`` (wire contract §5).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from zope.interface import implementer

from ngpu import options as read
from ngpu.adapter import JSON, Adapter, IAppAdapter, WorkerReply
from ngpu.dialects import settings
from ngpu.dialects.queue import check_urls, object_of
from ngpu.errors import JobFailed
from ngpu.interfaces import Option, PluginContext
from ngpu.plugin import Factory

SAID = 300
BUSY_AGAIN = 1.0
"""Seconds until a container that has no slot of its own free is asked again."""

_BUSY = frozenset({409, 503})
_NO_PUT = frozenset({404, 405})
"""What containers of early versions say, where a prediction has no name, and ends with the call that waits for it."""


@implementer(IAppAdapter)
class Cog(Adapter):
    """One prediction.

    :param output: whether the result is the prediction's ``output`` alone.
    :param urls: fields of the input that hold URLs.
    """

    mode: Literal["sync", "async"] = "sync"

    def __init__(self, output: bool, urls: Sequence[str], deadline: float) -> None:
        self.deadline = deadline
        self._output = output
        self._urls = urls

    async def check(self, request: bytes, urls: Any) -> None:
        """See `IAppAdapter.check`."""
        await check_urls(_input_of(request), self._urls, urls)

    async def run(self, work: Any) -> WorkerReply:
        """See `IAppAdapter.run`."""
        body = json.dumps({"input": _input_of(work.request)}).encode()

        async def predict() -> WorkerReply | None:
            reply: WorkerReply = await work.call("PUT", _path(work), headers=JSON, body=body, timeout=self.deadline)
            if reply.status in _NO_PUT:
                reply = await work.call("POST", "/predictions", headers=JSON, body=body, timeout=self.deadline)
            return None if reply.status in _BUSY else reply

        with work.part("cog"):
            reply = await predict()
            while reply is None:
                await work.sleep(BUSY_AGAIN)
                reply = await predict()
            prediction = reply.object()
            if reply.status != 200 or prediction.get("status") != "succeeded":
                raise JobFailed(_words(reply), reply)
        if not self._output:
            return reply
        return WorkerReply(200, JSON, json.dumps(prediction.get("output")).encode())

    async def cancel(self, work: Any) -> None:
        """See `IAppAdapter.cancel`. The connection's end does the same; this is for a proxy between that keeps it."""
        await work.call("POST", _path(work) + "/cancel")


def _path(work: Any) -> str:
    return f"/predictions/{work.task.id}"


def _input_of(request: bytes) -> dict[str, Any]:
    """The model's input: a request that is ``{"input": {…}}`` already, as cog's clients send it, or its fields."""
    fields = object_of(request, "cog")
    inner = fields.get("input")
    return dict(inner) if isinstance(inner, Mapping) and set(fields) <= {"input", "id"} else fields


def _words(reply: WorkerReply) -> str:
    document = reply.object()
    said = document.get("error") or document.get("detail")
    state = document.get("status") if reply.status == 200 else None
    otherwise = "no output" if state else reply.body[: 4 * SAID].decode("utf-8", "replace") or "no output"
    told = said if isinstance(said, str) else json.dumps(said) if said else otherwise
    return f"{state or f'HTTP {reply.status}'}: {told}"[:SAID]


def _from_options(options: Mapping[str, Any], context: PluginContext) -> Cog:
    result = settings.one_of(options, "result", ("prediction", "output"), "prediction")
    urls = settings.fields(options, "urls", ())
    return Cog(result == "output", urls, read.duration(options, "deadline", "30m"))


cog = Factory(
    "adapter",
    "cog",
    "One prediction of a cog container, under the task's id; cancelling ends it there.",
    _from_options,
    (
        Option("result", "prediction: cog's whole reply; output: its output alone", "prediction"),
        Option("urls", "fields of the input with URLs, which may not lead into your network (egress.allow)", []),
        Option("deadline", "how long a prediction may take", "30m", "duration"),
    ),
)
