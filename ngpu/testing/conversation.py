"""A conversation without a gateway, whose workers answer as a test says."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from zope.interface import implementer

from ngpu.adapter import Headers, IConversation, WorkerReply
from ngpu.errors import JobFailed, NgpuError, Unavailable, UpstreamError
from ngpu.model import DataForm, Task, TaskStatus, UpstreamRequest

T = TypeVar("T")
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class AdapterCall:
    """A call that an adapter made; ``workspace`` is ``None`` for the conversation's own replica."""

    method: str
    target: str
    port: int | None
    headers: Headers
    body: bytes
    workspace: str | None

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


Answer = Callable[[AdapterCall], WorkerReply | Mapping[str, Any] | NgpuError]


@implementer(IConversation)
class FakeConversation:
    """Answers out of a function, and sleeps without time passing for anybody else.

    :param request: what the customer sent.
    :param answer: from a call to its reply, an object that is one in JSON, or an error to raise.
    :param checkpoint: as after a restart; ``None``: at the beginning.
    :param url: under which `publish` publishes; "" where the configuration has none.
    :ivar calls: the calls so far; ``said``: what was told as progress; ``slept``: seconds in all.
    :ivar published: the bytes by URL.
    """

    def __init__(
        self,
        request: bytes | Mapping[str, Any],
        answer: Answer,
        checkpoint: Mapping[str, Any] | None = None,
        url: str = "http://gateway.example",
    ) -> None:
        self.request = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.checkpoint = checkpoint
        self.calls: list[AdapterCall] = []
        self.said: list[str] = []
        self.slept = 0.0
        self.published: dict[str, bytes] = {}
        self._answer = answer
        self._url = url
        self.task = Task(
            id="20240415_14_30_09_00000000000000000000000001",
            workspace="w",
            method="app",
            request=UpstreamRequest("POST", "/run", 8080),
            form=DataForm.OBJECT,
            submitted_at=0.0,
            expires_at=86400.0,
            timeout=300.0,
            status=TaskStatus.RUNNING,
            attempt=1,
            app="app",
        )

    async def call(
        self,
        method: str,
        target: str,
        port: int | None = None,
        headers: Headers = (),
        body: bytes = b"",
        workspace: str | None = None,
        timeout: float | None = None,
    ) -> WorkerReply:
        """See `IConversation.call`."""
        call = AdapterCall(method, target, port, headers, body, workspace)
        self.calls.append(call)
        told = self._answer(call)
        if isinstance(told, NgpuError):
            raise told
        return told if isinstance(told, WorkerReply) else WorkerReply(200, (), json.dumps(told).encode())

    async def save(self, checkpoint: Mapping[str, Any]) -> None:
        """See `IConversation.save`."""
        self.checkpoint = json.loads(json.dumps(checkpoint))

    async def sleep(self, seconds: float) -> None:
        """See `IConversation.sleep`."""
        self.slept += seconds

    async def poll_until(self, ask: Callable[[], Awaitable[T | None]], interval: float) -> T:
        """See `IConversation.poll_until`."""
        last_heard = self.slept
        while True:
            try:
                answer = await ask()
            except JobFailed:
                raise
            except UpstreamError:
                if self.slept - last_heard > PATIENCE:
                    raise
            else:
                if answer is not None:
                    return answer
                last_heard = self.slept
            await self.sleep(interval)

    def progress(self, text: str) -> None:
        """See `IConversation.progress`."""
        self.said.append(text)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """See `IConversation.part`."""
        self.progress(name)
        try:
            yield
        except NgpuError as error:
            error.args = (f"{name}: {error}", *error.args[1:])
            raise

    async def publish(self, data: bytes, content_type: str) -> str:
        """See `IConversation.publish`."""
        if not self._url:
            raise Unavailable("a worker needs a file from the gateway: its operator has to set media.url")
        url = f"{self._url}/media/{len(self.published)}"
        self.published[url] = data
        return url
