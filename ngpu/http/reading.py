"""The partner contract's calls that read back what was recorded (wire contract §4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from ngpu.adapter import IAppAdapter
from ngpu.addresses import is_address
from ngpu.errors import BadRequest, NotFound, Unavailable
from ngpu.gates import NO_ADDRESS
from ngpu.gateway import Gateway
from ngpu.http.access_log import annotate
from ngpu.http.call import Call
from ngpu.http.reply import Reply
from ngpu.listing import TaskQuery
from ngpu.media import Media
from ngpu.model import CHUNK, Task, node_key
from ngpu.settings import Workspace
from ngpu.wire.envelope import normal_address
from ngpu.wire.replies import node_list, record, short_record, success, task_list, task_reply
from ngpu.wire.times import parse_time

LISTED, MOST_LISTED = 1_000, 10_000
"""Task ids that one page holds where the caller does not say, and at most."""

TASK_ID = ("taskID", "taskId", "task_id")
"""The names under which callers send a task's id."""


class Reading:
    """The routes; each takes a `Call` and gives a `Reply`."""

    def __init__(self, gateway: Gateway, workspaces: Mapping[str, Workspace], media: Media) -> None:
        self._media = media
        self._gateway = gateway
        self._workspaces = workspaces

    async def query_task(self, call: Call) -> Reply:
        """How a task stands, and its result once there is one."""
        task = await self._task(call)
        standing = await self._gateway.standing(task)
        return Reply(task_reply(task, self._gateway.result_of(task), standing))

    async def query_app(self, call: Call, adapter: IAppAdapter) -> Reply:
        """The same in the words of an app's adapter, where it has its own; then an unknown id is an answer, too."""
        task_id, access = call.needed(*TASK_ID), call.shown_access()
        try:
            task = await self._gateway.task(task_id, access)
        except NotFound:
            told = adapter.status(None, b"")
            if told is None:
                raise
            return Reply(told)
        annotate(call.request, task_id=task.id)
        result = self._gateway.result_of(task)
        small = result is not None and result.length <= CHUNK
        told = adapter.status(task, b"".join([piece async for piece in result.chunks()]) if result and small else b"")
        if told is not None:
            return Reply(told)
        return Reply(task_reply(task, result, await self._gateway.standing(task)))

    async def get_detailed(self, call: Call) -> Reply:
        """A task's whole record."""
        task = await self._task(call)
        request, result = self._gateway.request_of(task), self._gateway.result_of(task)
        return Reply({**success(), "taskInfo": record(task, request, result, self._gateway.zone)})

    async def get_task(self, call: Call) -> Reply:
        """A task's record, in the other shape that clients know."""
        task = await self._task(call)
        workspace = self._workspaces.get(task.workspace)
        request, result = self._gateway.request_of(task), self._gateway.result_of(task)
        name = "" if workspace is None else workspace.name
        return Reply({**success(), "task": short_record(task, request, result, self._gateway.zone, name)})

    async def get_tasks(self, call: Call) -> Reply:
        """The tasks of the caller's workspace that were submitted with an address."""
        workspace = call.access().workspace.id
        address = call.needed("btcaddress", "btc_address")
        return await self._listed(call, TaskQuery(workspace, btc_address=normal_address(address)))

    async def query_task_list(self, call: Call) -> Reply:
        """The tasks of the caller's workspace in a time."""
        return await self._listed(call, TaskQuery(call.access().workspace.id))

    async def get_tasks_from_node(self, call: Call) -> Reply:
        """The same, those that ran on one node."""
        workspace = call.access().workspace.id
        return await self._listed(call, TaskQuery(workspace, node=node_key(call.needed("nodeAddr", "nodeaddr"))))

    async def query_nodes(self, call: Call) -> Reply:
        """The nodes that the caller's workspace is on."""
        return Reply(node_list(self._gateway.nodes(call.access().workspace)))

    async def check_address(self, call: Call) -> Reply:
        """What a Bitcoin address holds: of the caller's gate, or of the first one."""
        access = call.shown_access()
        address = normal_address(call.needed("address"))
        if not address:
            raise BadRequest("this stands for no address at all; send one")
        try:
            holdings = await self._gateway.holdings(address, access.workspace.gate if access is not None else None)
        except Unavailable:
            if not is_address(address):  # which is so whether somebody can tell what it holds or not
                raise BadRequest(NO_ADDRESS) from None
            raise
        names = list(holdings.balances)
        balances = [math.floor(holdings.balances[name]) for name in names]
        return Reply({**success(), "exists": bool(names), "names": names, "balances": balances})

    async def media(self, call: Call, name: str) -> Reply:
        """A file that a worker was told to fetch."""
        content_type = call.needed("type")
        data = await self._media.open(name, call.needed("expires"), content_type, call.needed("signature"))
        return Reply(data, headers={"Content-Type": content_type, "X-Content-Type-Options": "nosniff"})

    async def _task(self, call: Call) -> Task:
        access = call.shown_access()
        task = await self._gateway.task(call.needed(*TASK_ID), access)
        annotate(call.request, task_id=task.id)
        return task

    async def _listed(self, call: Call, query: TaskQuery) -> Reply:
        start, end = call.param("startTime"), call.param("endTime")
        zone = self._gateway.zone
        narrowed = replace(
            query,
            start=None if start is None else parse_time(start, "startTime", zone, end=False),
            end=None if end is None else parse_time(end, "endTime", zone, end=True),
            limit=_limit(call),
            cursor=call.param("cursor"),
        )
        return Reply(task_list(await self._gateway.list_tasks(narrowed)))


def _limit(call: Call) -> int:
    text = call.param("limit")
    if text is None:
        return LISTED
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST_LISTED):
        raise BadRequest(f"limit must be a whole number from 1 to {MOST_LISTED}")
    return int(text)
