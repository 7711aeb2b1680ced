"""App adapter ``queue_worker``: a worker that takes a job, gives an id, and is asked until it is done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from zope.interface import implementer

from ngpu import options as read
from ngpu.adapter import Adapter, IAppAdapter, WorkerReply
from ngpu.dialects import settings
from ngpu.dialects.queue import Cancel, Poll, QueueDialect, Submit, check_urls, object_of
from ngpu.interfaces import Option, PluginContext
from ngpu.plugin import Factory

IDS = ("task_id", "taskId", "taskID")


@implementer(IAppAdapter)
class QueueWorker(Adapter):
    """One dialect, and how the customer's request becomes the worker's.

    :param rename: the worker's field → the customer's.
    :param defaults: what the worker gets where the customer says nothing.
    :param urls: fields that hold URLs, which must not lead into the operator's network.
    """

    def __init__(
        self,
        dialect: QueueDialect,
        rename: Mapping[str, str],
        defaults: Mapping[str, Any],
        urls: Sequence[str],
        deadline: float,
    ) -> None:
        self.deadline = deadline
        self._dialect = dialect
        self._rename = rename
        self._defaults = defaults
        self._urls = urls

    async def check(self, request: bytes, urls: Any) -> None:
        """See `IAppAdapter.check`."""
        if not (self._rename or self._defaults or self._urls):
            return
        theirs = [name for name, ours in self._rename.items() if ours in self._urls]  # which customers may use as well
        await check_urls(object_of(request, self._dialect.name), (*self._urls, *theirs), urls)

    async def run(self, work: Any) -> WorkerReply:
        """See `IAppAdapter.run`."""
        return await self._dialect.run(work, self._body(work.request))

    async def cancel(self, work: Any) -> None:
        """See `IAppAdapter.cancel`."""
        await self._dialect.withdraw(work)

    def _body(self, request: bytes) -> bytes:
        if not (self._rename or self._defaults):
            return request
        fields = object_of(request, self._dialect.name)
        renamed = {theirs: fields[ours] for theirs, ours in self._rename.items() if ours in fields}
        others = {name: value for name, value in fields.items() if name not in self._rename.values()}
        return json.dumps({**self._defaults, **others, **renamed}).encode()


def _from_options(options: Mapping[str, Any], context: PluginContext) -> QueueWorker:
    dialect = QueueDialect(
        settings.text(options, "name", "the worker"),
        _submit(read.block(options, "submit", ("method", "path", "id", "accepted"))),
        _poll(read.block(options, "poll", ("method", "path", "param", "field", "interval"))),
        settings.codes(options, "done", (100,)),
        settings.codes(options, "pending", (101, 102)),
        settings.field(options, "code", "result_code"),
        settings.field(options, "msg", "msg"),
        settings.field(options, "result") if "result" in options else "",
        _cancel(read.block(options, "cancel", ("method", "path"))) if "cancel" in options else None,
    )
    rename = settings.mapping(options, "rename")
    with read.within("rename"):
        renamed = {theirs: settings.field(rename, theirs) for theirs in rename}
    return QueueWorker(
        dialect,
        renamed,
        settings.mapping(options, "defaults"),
        settings.fields(options, "urls", ()),
        read.duration(options, "deadline", "30m"),
    )


def _submit(block: Mapping[str, Any]) -> Submit:
    with read.within("submit"):
        return Submit(
            settings.one_of(block, "method", ("POST", "PUT"), "POST"),
            settings.path(block, "path") if "path" in block else "",
            settings.fields(block, "id", IDS),
            settings.codes(block, "accepted", (100,)),
        )


def _poll(block: Mapping[str, Any]) -> Poll:
    with read.within("poll"):
        method = settings.one_of(block, "method", ("GET", "POST"), "GET")
        param = settings.text(block, "param") if "param" in block else ""
        field = settings.text(block, "field") if "field" in block else ""
        return Poll(
            method,
            settings.path(block, "path"),
            param or ("" if field else "taskID"),
            field,
            read.duration(block, "interval", "2s", 3600.0),
        )


def _cancel(block: Mapping[str, Any]) -> Cancel:
    with read.within("cancel"):
        method = settings.one_of(block, "method", ("POST", "DELETE", "GET"), "POST")
        return Cancel(method, "/" + settings.text(block, "path").removeprefix("/"))


queue_worker = Factory(
    "adapter",
    "queue_worker",
    "Submits a job to a worker with a queue of its own, and asks until it is done.",
    _from_options,
    (
        Option("submit", "how a job is handed over: method (POST), path (the app's), id, accepted ([100])", {}),
        Option("poll", "how it is asked about: method (GET), path, param (taskID) or field, interval (2s)"),
        Option("code", "the field of a reply that holds the worker's code", "result_code"),
        Option("msg", "the field that holds its words", "msg"),
        Option("done", "codes that mean success", [100]),
        Option("pending", "codes that mean that it is asked again; every other one is a failure", [101, 102]),
        Option("result", "the field of the last reply that is the result; left out: the whole reply"),
        Option("cancel", "how a job is taken back: method (POST), path with {id}; left out: the worker cannot"),
        Option("rename", "the worker's field: the customer's field", {}),
        Option("defaults", "what the worker gets where the customer says nothing", {}),
        Option("urls", "fields with URLs, which may not lead into your network (egress.allow)", []),
        Option("name", "what the records' reasons call it", "the worker"),
        Option("deadline", "how long a job may take", "30m", "duration"),
    ),
)
