"""The admin API's routes of tasks: search, show, cancel, try again."""

from __future__ import annotations

import heapq
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from twisted.internet.interfaces import IReactorTime

from ngpu.backlog import Backlog
from ngpu.errors import BadRequest, Conflict
from ngpu.gateway import Gateway
from ngpu.http.access_log import annotate
from ngpu.http.admin import AdminRoute, parameter, whole_number
from ngpu.http.reply import Reply
from ngpu.http.server import NgpuRequest
from ngpu.listing import TaskQuery
from ngpu.model import Task, TaskStatus, node_key
from ngpu.settings import Workspace
from ngpu.settings.units import UnitError, duration
from ngpu.stores import cursor
from ngpu.tenancy import Access
from ngpu.wire.envelope import normal_address
from ngpu.wire.replies import success, task_line
from ngpu.wire.times import parse_time

LISTED, MOST_LISTED = 50, 500
"""Tasks that one page holds where the caller does not say, and at most."""

LOOKED_AT = 2000
"""Tasks that are looked at for a page; past it the page may be short, and its cursor goes on from there."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked of a page."""

    workspaces: Sequence[str]
    query: TaskQuery
    status: TaskStatus | None
    limit: int


class AdminTasks:
    """The routes; each takes a request and gives a `Reply`.

    :param workspaces: by id, live.
    """

    def __init__(
        self, gateway: Gateway, backlog: Backlog, workspaces: Mapping[str, Workspace], clock: IReactorTime
    ) -> None:
        self._gateway = gateway
        self._backlog = backlog
        self._workspaces = workspaces
        self._clock = clock

    @property
    def routes(self) -> Sequence[AdminRoute]:
        """All of them."""
        return (
            ("GET", "/tasks", self.list),
            ("GET", "/tasks/<task>", self.show),
            ("POST", "/tasks/<task>/cancel", self.cancel),
            ("POST", "/tasks/<task>/retry", self.retry),
        )

    async def list(self, request: NgpuRequest) -> Reply:
        """Tasks of all workspaces or of one, the newest first."""
        wanted = self._wanted(request)
        found: list[Task] = []
        looked_at, last = 0, None
        async with aclosing(self._newest(wanted)) as newest:
            async for task in newest:
                looked_at, last = looked_at + 1, task
                if wanted.status is None or task.status is wanted.status:
                    found.append(task)
                if len(found) == wanted.limit or looked_at == LOOKED_AT:
                    break
            else:
                last = None  # there are no more
        more = {} if last is None else {"next_cursor": cursor.encode(last.submitted_at, last.number)}
        return Reply({**success(), "tasks": [self._line(task) for task in found], **more})

    async def show(self, request: NgpuRequest, task: str) -> Reply:
        """All that is known of one, but its bodies."""
        return Reply({**success(), "task": await self._whole(await self._found(request, task))})

    async def cancel(self, request: NgpuRequest, task: str) -> Reply:
        """End one that waits or runs."""
        await self._found(request, task)
        ended = await self._gateway.cancel(task, None)
        return Reply({**success("cancelled"), "task": await self._whole(ended)})

    async def retry(self, request: NgpuRequest, task: str) -> Reply:
        """Let one that failed, expired or was cancelled run again."""
        found = await self._found(request, task)
        workspace = self._workspaces.get(found.workspace)
        if workspace is None:
            raise Conflict("its workspace was removed: nothing would run it")
        again = await self._backlog.retry(task, Access(workspace), None)
        return Reply({**success("it waits in the queue again"), "task": await self._whole(again)})

    async def _found(self, request: NgpuRequest, task_id: str) -> Task:
        task = await self._gateway.task(task_id, None)
        annotate(request, task_id=task.id)
        return task

    def _line(self, task: Task) -> dict[str, Any]:
        workspace = self._workspaces.get(task.workspace)
        return task_line(task, "" if workspace is None else workspace.name, self._clock.seconds(), self._gateway.zone)

    async def _whole(self, task: Task) -> dict[str, Any]:
        return {**self._line(task), **await self._gateway.standing(task)}

    async def _newest(self, wanted: _Wanted) -> AsyncGenerator[Task, None]:
        """Tasks of the workspaces, merged; each one's record is read when its turn may have come."""
        heads: list[tuple[float, int, int, Task]] = []
        rows = [self._of_one(replace(wanted.query, workspace=each)) for each in wanted.workspaces]

        async def advance(index: int) -> None:
            task = await anext(rows[index], None)
            if task is not None:
                heapq.heappush(heads, (-task.submitted_at, -task.number, index, task))

        for index in range(len(rows)):
            await advance(index)
        while heads:
            _, _, index, task = heapq.heappop(heads)
            yield task
            await advance(index)

    async def _of_one(self, query: TaskQuery) -> AsyncGenerator[Task, None]:
        while True:
            page = await self._gateway.list_tasks(query)
            for task_id in page.ids:
                task = await self._gateway.known(task_id)
                if task is not None:  # else it was purged since
                    yield task
            if page.next_cursor is None:
                return
            query = replace(query, cursor=page.next_cursor)

    def _wanted(self, request: NgpuRequest) -> _Wanted:
        limit = whole_number(request, "limit", 1, MOST_LISTED, LISTED)
        workspace, node = parameter(request, "workspace"), parameter(request, "node")
        address, status = parameter(request, "address"), parameter(request, "status")
        if status is not None and status not in set(TaskStatus):
            raise BadRequest(f"status must be one of {', '.join(TaskStatus)}")
        query = TaskQuery(
            "",
            node=None if node is None else node_key(node),
            btc_address=None if address is None else normal_address(address),
            start=self._moment(request, "start", end=False),
            end=self._moment(request, "end", end=True),
            limit=limit,
            cursor=parameter(request, "cursor"),
            newest=True,
        )
        chosen = [workspace] if workspace is not None else list(self._workspaces)
        return _Wanted(chosen, query, TaskStatus(status) if status is not None else None, limit)

    def _moment(self, request: NgpuRequest, name: str, end: bool) -> float | None:
        """A date, a date with a time, a time with its offset, or how long ago."""
        text = parameter(request, name)
        if text is None:
            return None
        exact = _exact(text)
        if exact is not None:
            return exact
        try:
            return self._clock.seconds() - duration(text)
        except UnitError:
            try:
                return parse_time(text, name, self._gateway.zone, end=end)
            except BadRequest:
                raise BadRequest(
                    f"{name} must be YYYY-MM-DD, YYYY-MM-DD HH:MM:SS, or how long ago, such as 15m: not {text[:40]!r}"
                ) from None


def _exact(text: str) -> float | None:
    """A time as replies have it, with its offset (RFC 3339); seconds since the epoch."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if found.tzinfo is None else found.timestamp()
