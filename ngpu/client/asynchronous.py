"""The client for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from ngpu.client import calls
from ngpu.client.calls import Call, Choices, Reply, Submission
from ngpu.client.sending import Sending, again_after, lasting, surroundings, too_late, trust, unreachable
from ngpu.client.values import NodeStatus, Refused, StillRunning, Task, Unreachable

T = TypeVar("T")


class AsyncClient:
    """Calls to one gateway, as one workspace; see `ngpu.client.Client`, whose methods these are.

    :param url: of its public listener.
    :param key: a key of the workspace, or its id where it has no keys; "" for what asks for none.
    :param timeout: seconds to wait for a reply, but for those that take as long as the work does.
    :param retries: how often a request that nobody answered is sent again, where that can do no harm.
    :param options: more for ``httpx.AsyncClient``, such as ``verify`` or ``transport``.
    :raises ClientError: the URL or the key cannot be one; or the environment names a proxy, or authorities, that cannot
        be used: ``trust_env=False`` lets it alone.
    """

    def __init__(self, url: str, key: str = "", *, timeout: float = 30.0, retries: int = 2, **options: Any) -> None:
        self._sending = Sending(calls.root(url), timeout, retries)
        headers = calls.credentials(key)
        with surroundings():
            self._http = httpx.AsyncClient(headers=headers, **{**trust(self._sending.root), **options})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """See `ngpu.client.Client.close`."""
        await self._http.aclose()

    async def submit(self, data: Submission, **choices: Unpack[Choices]) -> Task:
        """See `ngpu.client.Client.submit`."""
        return await self._call(calls.submit(data, choices, wait=False))

    async def call(self, data: Submission, **choices: Unpack[Choices]) -> Task:
        """See `ngpu.client.Client.call`."""
        return await self._call(calls.submit(data, choices, wait=True))

    async def wait(
        self, task: Task | str, timeout: float | None = None, tell: Callable[[Task], None] | None = None
    ) -> Task:
        """See `ngpu.client.Client.wait`."""
        task_id = task if isinstance(task, str) else task.id
        until = None if timeout is None else time.monotonic() + timeout
        known = None if isinstance(task, str) else task
        for pause in calls.pauses():
            try:
                known = await self._call(calls.query(task_id), until)
            except (Unreachable, Refused) as error:
                if known is None or lasting(error) or (until is not None and time.monotonic() >= until):
                    raise
            else:
                if tell is not None:
                    tell(known)
                if known.ended:
                    return known
            if until is not None and time.monotonic() >= until:
                raise StillRunning(known or Task(task_id, "unknown"), timeout or 0.0)
            await asyncio.sleep(pause if until is None else max(0.0, min(pause, until - time.monotonic())))
        raise AssertionError("there is always another pause")

    async def query(self, task_id: str) -> Task:
        """See `ngpu.client.Client.query`."""
        return await self._call(calls.query(task_id))

    async def cancel(self, task_id: str) -> Task:
        """See `ngpu.client.Client.cancel`."""
        return await self._call(calls.cancel(task_id))

    async def retry(self, task_id: str) -> Task:
        """See `ngpu.client.Client.retry`."""
        return await self._call(calls.retry(task_id))

    async def record(self, task_id: str) -> Mapping[str, Any]:
        """See `ngpu.client.Client.record`."""
        return await self._call(calls.record(task_id))

    async def list(
        self,
        start: str | None = None,
        end: str | None = None,
        *,
        node: str | None = None,
        btc_address: str | None = None,
    ) -> AsyncIterator[str]:
        """See `ngpu.client.Client.list`."""
        cursor: str | None = None
        while True:
            ids, cursor = await self._call(calls.page(start, end, node, btc_address, cursor))
            for task_id in ids:
                yield task_id
            if cursor is None:
                return

    async def nodes(self) -> Mapping[str, NodeStatus]:
        """See `ngpu.client.Client.nodes`."""
        return {node.address: node for node in await self._call(calls.nodes())}

    async def raw(self, method: str, path: str, *, port: int | None = None, **request: Any) -> httpx.Response:
        """See `ngpu.client.Client.raw`."""
        try:
            return await self._http.request(method, self._sending.raw(path, port), **{"timeout": None, **request})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(self._sending.root, error) from None

    def raw_stream(
        self, method: str, path: str, *, port: int | None = None, **request: Any
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """See `ngpu.client.Client.raw_stream`."""
        return self._http.stream(method, self._sending.raw(path, port), **{"timeout": None, **request})

    async def _call(self, call: Call[T], until: float | None = None) -> T:
        for pause in again_after(call, self._sending.retries):
            try:
                found = await self._http.request(**self._sending.request(call, until))
                return call.told(Reply(found.status_code, found.content, found.headers.get("Retry-After", "")))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if pause is None or too_late(pause, until):
                    raise unreachable(self._sending.root, error) from None
            await asyncio.sleep(pause)
        raise AssertionError("the last try has no pause")
