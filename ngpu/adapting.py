"""An app's adapter as the gateway knows it: it may raise or give nonsense, and costs its request each time it does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from zope.interface import implementer

from ngpu.adapter import IAppAdapter, WorkerReply
from ngpu.errors import AdapterFailed, JobFailed, NgpuError
from ngpu.families import Broken
from ngpu.model import Task


@implementer(IAppAdapter)
class Adapting:
    """Asks an adapter. What it raises and may not is logged, and becomes an AdapterFailed that names the app.

    :param app: the app's name.
    :param plugin: the adapter's.
    """

    log = Logger("ngpu.apps")

    def __init__(self, app: str, plugin: str, adapter: Any) -> None:
        self._app = app
        self._plugin = plugin
        self._adapter = adapter
        self.direct: bool = adapter.direct
        self.flat: bool = adapter.flat
        self.mode: Literal["sync", "async"] = adapter.mode
        self.deadline: float = adapter.deadline
        self.peers = adapter.peers

    async def check(self, request: bytes, urls: Any) -> None:
        """See `IAppAdapter.check`."""
        with self._asked("check"):
            await self._adapter.check(request, urls)

    async def run(self, work: Any) -> WorkerReply:
        """See `IAppAdapter.run`."""
        with self._asked("run"):
            try:
                return _reply(await self._adapter.run(work))
            except JobFailed as error:
                if error.reply is not None:
                    _reply(error.reply)
                raise

    async def cancel(self, work: Any) -> None:
        """See `IAppAdapter.cancel`."""
        with self._asked("cancel"):
            await self._adapter.cancel(work)

    def status(self, task: Task | None, result: bytes) -> Mapping[str, Any] | None:
        """See `IAppAdapter.status`."""
        with self._asked("status"):
            told: Mapping[str, Any] | None = self._adapter.status(task, result)
            if told is not None and not isinstance(told, Mapping):
                raise TypeError(f"status must return an object or None, not a {type(told).__name__}")
            json.dumps(told, allow_nan=False)
        return told

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        try:
            yield
        except NgpuError:
            raise
        except Broken as error:
            if isinstance(error, CancelledError) and what != "status":
                raise
            self.log.failure(
                "the adapter {plugin} of the app {app} failed in {what}", plugin=self._plugin, app=self._app, what=what
            )
            raise AdapterFailed(f"the adapter of the app {self._app} failed; its operator can see why") from None


def _reply(value: Any) -> WorkerReply:
    if not isinstance(value, WorkerReply):
        raise TypeError(f"a worker's reply must be a WorkerReply, not a {type(value).__name__}")
    if type(value.status) is not int or not 200 <= value.status <= 599 or not isinstance(value.body, bytes):
        raise ValueError("a WorkerReply must have a status from 200 to 599, and a body of bytes")
    return value
