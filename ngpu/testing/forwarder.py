"""A forwarder without sockets, whose replicas answer as a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ngpu.errors import CallTimeout, DialFailed, NgpuError
from ngpu.interfaces import IBodySink, IForwarder
from ngpu.model import ReplyHead, UpstreamRequest
from ngpu.passing import Stream


@dataclass(frozen=True, slots=True)
class FakeReply:
    """What a replica answers.

    :ivar pieces: the body, as it is to arrive.
    :ivar wait: what the reply waits for, if anything, before it begins; a Deferred that never fires is a replica that
        hangs, one that fails is a call that fails.
    :ivar error: how the call fails after those pieces, if it does: ``CallCut("…")``.
    """

    status: int = 200
    pieces: tuple[bytes, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    wait: Deferred[Any] | None = None
    error: NgpuError | None = None


@dataclass(frozen=True, slots=True)
class FakeCall:
    """A call that was made, with its body's bytes."""

    host: str
    port: int
    request: UpstreamRequest
    body: bytes
    timeout: float


Answer = FakeReply | NgpuError | Callable[[FakeCall], FakeReply | NgpuError]


@implementer(IForwarder)
class FakeForwarder:
    """Answers out of a script: ``FakeForwarder(clock, {8080: FakeReply(pieces=(b"ok",))})``.

    :param clock: for timeouts.
    :param answers: by port, what is there: a reply, an error to raise before anything is given to the sink, or a
        function from the call to one of the two. On any other port nobody listens: DialFailed. May be changed between
        calls.
    :ivar calls: the calls so far, in order; those that failed to dial are not among them.
    """

    def __init__(self, clock: IReactorTime, answers: Mapping[int, Answer] | None = None) -> None:
        self.answers: dict[int, Answer] = dict(answers or {})
        self.calls: list[FakeCall] = []
        self._clock = clock

    async def send(
        self, host: str, port: int, request: UpstreamRequest, body: Stream, sink: IBodySink, timeout: float
    ) -> ReplyHead:
        """See ``IForwarder``."""
        answer = self.answers.get(port)
        if answer is None:
            raise DialFailed(f"the replica at {host}:{port} cannot be reached: connection refused")
        call = FakeCall(host, port, request, b"".join([chunk async for chunk in body.chunks()]), timeout)
        told = answer if isinstance(answer, FakeReply | NgpuError) else answer(call)
        if not isinstance(told, DialFailed):
            self.calls.append(call)
        if isinstance(told, NgpuError):
            raise told
        return await self._in_time(Deferred.fromCoroutine(_play(told, sink)), f"{host}:{port}", timeout)

    async def _in_time(self, playing: Deferred[ReplyHead], where: str, timeout: float) -> ReplyHead:
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            playing.cancel()

        timer = self._clock.callLater(timeout, expire)
        try:
            return await playing
        except CancelledError:
            if not expired:
                raise
            raise CallTimeout(f"the replica at {where} did not finish its reply within {timeout:g} s") from None
        finally:
            if timer.active():
                timer.cancel()


async def _play(reply: FakeReply, sink: IBodySink) -> ReplyHead:
    if reply.wait is not None:
        await reply.wait
    head = ReplyHead(reply.status, reply.headers)
    sink.start(head)
    for piece in reply.pieces:
        taken = sink.write(piece)
        if taken is not None:
            await taken
    if reply.error is not None:
        raise reply.error
    return head
