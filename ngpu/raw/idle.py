"""Calls that may take as long as something moves on them, in place of so many seconds in all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ngpu.deadlines import Deadlines
from ngpu.errors import CallTimeout, DialFailed, RequestTimeout
from ngpu.forward import Exchange, Forwarder
from ngpu.interfaces import IBodySink, IForwarder
from ngpu.model import BytesBody, ReplyHead, UpstreamRequest
from ngpu.passing import PassedRequest, Stream
from ngpu.raw.websocket import SWITCHED
from ngpu.upstream.dial import CancelledDialing


@implementer(IForwarder)
class IdleForwarder:
    """Sends through another forwarder, and cuts what stands still; of a tunnel that is its end, and no failure.

    :param idle: seconds without a byte in either direction, once the reply has begun. Before that they are those of
        ``send``'s ``timeout``.
    """

    def __init__(self, inner: Forwarder, clock: IReactorTime, idle: float) -> None:
        self._inner = inner
        self._clock = clock
        self._idle = idle

    async def send(
        self, host: str, port: int, request: UpstreamRequest, body: Stream, sink: IBodySink, timeout: float
    ) -> ReplyHead:
        """See ``IForwarder``.

        :raises RequestTimeout: it was the client that stood still, and no replica is to blame.
        """
        deadlines = self._inner.deadlines
        watch = _Watch(self._clock, deadlines, timeout)
        exchange = watch.exchange
        watched = _WatchedSink(sink, watch, self._idle)
        sent = None if isinstance(body, BytesBody) else _WatchedBody(body, watch)
        try:
            return await self._inner.exchange(host, port, request, sent or body, watched, exchange)
        except CancelledError as error:
            if not exchange.was_cut:
                raise
            if isinstance(error, CancelledDialing):
                raise DialFailed(f"the replica did not accept a connection within {watch.patience:g} s") from None
            head = watched.head
            if head is not None and head.status == SWITCHED:
                return head  # nobody has failed: nobody had anything to say
            upgrades = isinstance(request, PassedRequest) and request.upgrade
            if watched.waiting or (sent is not None and sent.waiting and not upgrades):
                raise RequestTimeout(f"The client sent, and took, nothing for {watch.patience:g} s.") from None
            where = "did not begin its reply, and nothing moved," if head is None else "stood still in its reply"
            raise CallTimeout(f"the replica {where} for {watch.patience:g} s") from None
        finally:
            deadlines.forget(watch)


class _Watch:
    """Cuts an exchange on which nothing has moved for ``patience`` seconds; see `ngpu.deadlines.Bounded`."""

    def __init__(self, clock: IReactorTime, deadlines: Deadlines, patience: float) -> None:
        self.patience = patience
        self.due = clock.seconds() + patience
        self.exchange = Exchange(self.due)
        self.cut = self.exchange.cut
        self._clock = clock
        self._deadlines = deadlines
        deadlines.watch(self)

    def moved(self) -> None:
        self.due = self._clock.seconds() + self.patience

    def change(self, patience: float) -> None:
        """Wait for so long from now on."""
        self.patience = patience
        self.moved()
        self._deadlines.watch(self)


class _WatchedBody:
    def __init__(self, body: Stream, watch: _Watch) -> None:
        self.length = body.length
        self.waiting = False
        self._body = body
        self._watch = watch

    async def chunks(self) -> AsyncIterator[bytes]:
        async with aclosing(self._body.chunks()) as chunks:  # type: ignore[type-var]
            self.waiting = True
            async for chunk in chunks:
                self.waiting = False
                self._watch.moved()
                yield chunk
                self.waiting = True
            self.waiting = False


@implementer(IBodySink)
class _WatchedSink:
    def __init__(self, sink: IBodySink, watch: _Watch, idle: float) -> None:
        self.head: ReplyHead | None = None
        self._sink = sink
        self._watch = watch
        self._idle = idle
        self._taking: Deferred[Any] | None = None

    def start(self, head: ReplyHead) -> Any:
        """See `IBodySink.start`."""
        self.head = head
        self._watch.change(self._idle)
        return self._sink.start(head)

    def write(self, data: bytes) -> Any:
        """See `IBodySink.write`."""
        self._watch.moved()
        self._taking = self._sink.write(data)
        return self._taking

    @property
    def waiting(self) -> bool:
        """Whether the client has not yet taken what it was given."""
        return self._taking is not None and not self._taking.called
