"""The client for programs without an event loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from ngpu.client import calls
from ngpu.client.calls import Call, Choices, Reply, Submission
from ngpu.client.sending import Sending, again_after, lasting, surroundings, too_late, trust, unreachable
from ngpu.client.values import NodeStatus, Refused, StillRunning, Task, Unreachable

T = TypeVar("T")


class Client:
    """Calls to one gateway, as one workspace.

    :param url: of its public listener.
    :param key: a key of the workspace, or its id where it has no keys; "" for what asks for none.
    :param timeout: seconds to wait for a reply, but for those that take as long as the work does.
    :param retries: how often a request that nobody answered is sent again, where that can do no harm.
    :param options: more for ``httpx.Client``, such as ``verify`` or ``transport``.
    :raises ClientError: the URL or the key cannot be one; or the environment names a proxy, or authorities, that cannot
        be used: ``trust_env=False`` lets it alone.
    """

    def __init__(self, url: str, key: str = "", *, timeout: float = 30.0, retries: int = 2, **options: Any) -> None:
        self._sending = Sending(calls.root(url), timeout, retries)
        headers = calls.credentials(key)
        with surroundings():
            self._http = httpx.Client(headers=headers, **{**trust(self._sending.root), **options})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of its connections."""
        self._http.close()

    def submit(self, data: Submission, **choices: Unpack[Choices]) -> Task:
        """Hand in a task; it is durable, and has its id, when this returns.

        Each submission has an idempotency key, so that one whose reply was lost is sent again and makes no second task.

        :raises Refused: it was not taken in.
        """
        return self._call(calls.submit(data, choices, wait=False))

    def call(self, data: Submission, **choices: Unpack[Choices]) -> Task:
        """Hand in a task and wait for its end on one connection: the fastest way, for work that is short.

        :returns: the task as it ended; `Task.value` is its result.
        :raises Refused: it was not taken in.
        """
        return self._call(calls.submit(data, choices, wait=True))

    def wait(self, task: Task | str, timeout: float | None = None, tell: Callable[[Task], None] | None = None) -> Task:
        """Wait for a task's end. Once a gateway has told of it, moments in which it is away, as
        while it restarts, are waited out.

        :param timeout: seconds, by default as long as it takes; a look that has begun takes a second longer at most.
        :param tell: is told how it stands, at each look.
        :returns: the task as it ended; `Task.value` is its result.
        :raises StillRunning: it has not ended in time.
        :raises Refused: there is no such task.
        """
        task_id = task if isinstance(task, str) else task.id
        until = None if timeout is None else time.monotonic() + timeout
        known = None if isinstance(task, str) else task
        for pause in calls.pauses():
            try:
                known = self._call(calls.query(task_id), until)
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
            time.sleep(pause if until is None else max(0.0, min(pause, until - time.monotonic())))
        raise AssertionError("there is always another pause")

    def query(self, task_id: str) -> Task:
        """How a task stands."""
        return self._call(calls.query(task_id))

    def cancel(self, task_id: str) -> Task:
        """End a task that is queued or running.

        :raises Refused: it has ended already (status 409), or there is none.
        """
        return self._call(calls.cancel(task_id))

    def retry(self, task_id: str) -> Task:
        """Let a task that failed, expired or was cancelled run again, under its id."""
        return self._call(calls.retry(task_id))

    def record(self, task_id: str) -> Mapping[str, Any]:
        """All that is recorded of a task, as getDetailed has it."""
        return self._call(calls.record(task_id))

    def list(
        self,
        start: str | None = None,
        end: str | None = None,
        *,
        node: str | None = None,
        btc_address: str | None = None,
    ) -> Iterator[str]:
        """Ids of the workspace's tasks, the oldest first.

        :param start: ``YYYY-MM-DD`` or ``YYYY-MM-DD HH:MM:SS`` in the gateway's time zone; like ``end`` inclusive.
        """
        cursor: str | None = None
        while True:
            ids, cursor = self._call(calls.page(start, end, node, btc_address, cursor))
            yield from ids
            if cursor is None:
                return

    def nodes(self) -> Mapping[str, NodeStatus]:
        """The nodes that the workspace is on, by address."""
        return {node.address: node for node in self._call(calls.nodes())}

    def raw(self, method: str, path: str, *, port: int | None = None, **request: Any) -> httpx.Response:
        """Any request straight to a worker, whatever it answers.

        :param port: as the workspace declares it, by default its first one.
        :param request: more for ``httpx.Client.request``: ``json``, ``content``, ``params``, ``headers``, ``timeout`` …
        :raises Unreachable: there was no whole reply.
        """
        try:
            return self._http.request(method, self._sending.raw(path, port), **{"timeout": None, **request})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(self._sending.root, error) from None

    def raw_stream(
        self, method: str, path: str, *, port: int | None = None, **request: Any
    ) -> AbstractContextManager[httpx.Response]:
        """The same, for replies that are read as they come; errors are those of httpx."""
        return self._http.stream(method, self._sending.raw(path, port), **{"timeout": None, **request})

    def _call(self, call: Call[T], until: float | None = None) -> T:
        for pause in again_after(call, self._sending.retries):
            try:
                found = self._http.request(**self._sending.request(call, until))
                return call.told(Reply(found.status_code, found.content, found.headers.get("Retry-After", "")))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if pause is None or too_late(pause, until):
                    raise unreachable(self._sending.root, error) from None
            time.sleep(pause)
        raise AssertionError("the last try has no pause")
