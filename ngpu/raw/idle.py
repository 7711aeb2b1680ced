"""Calls that may take as long as something moves on them, in place of so many seconds in all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from twisted.internet.defer import CancelledError
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
        watch = _Watch(self._clock, deadlines, timeout, self._idle)
        sent = None if isinstance(body, BytesBody) else _WatchedBody(body, watch)
        try:
            return await self._inner.exchange(host, port, request, sent or body, sink, watch)
        except CancelledError as error:
            if not watch.was_cut:
                raise
            if isinstance(error, CancelledDialing):
                raise DialFailed(f"the replica did not accept a connection within {watch.patience:g} s") from None
            head = watch.head
            if head is not None and head.status == SWITCHED:
                return head  # nobody has failed: nobody had anything to say
            upgrades = isinstance(request, PassedRequest) and request.upgrade
            if watch.client_stands or (sent is not None and sent.waiting and not upgrades):
                raise RequestTimeout(f"The client sent, and took, nothing for {watch.patience:g} s.") from None
            where = "did not begin its reply, and nothing moved," if head is None else "stood still in its reply"
            raise CallTimeout(f"the replica {where} for {watch.patience:g} s") from None
        finally:
            deadlines.forget(watch)


class _Watch(Exchange):
    """An exchange that is cut once nothing has moved on it for ``patience`` seconds.

    :param idle: the patience with a reply that has begun.
    """

    def __init__(self, clock: IReactorTime, deadlines: Deadlines, patience: float, idle: float) -> None:
        super().__init__(clock.seconds() + patience)
        self.patience = patience
        self._clock = clock
        self._deadlines = deadlines
        self._idle = idle
        deadlines.watch(self)

    def begins(self, head: ReplyHead) -> None:
        """See `Exchange.begins`."""
        self.head = head
        self.patience = self._idle
        self.moved()
        self._deadlines.watch(self)

    def moved(self) -> None:
        """See `Exchange.moved`; some of the request's body counts, too."""
        self.due = self._clock.seconds() + self.patience

    @property
    def client_stands(self) -> bool:
        """Whether the client has not yet taken what it was given."""
        return self.taking is not None and not self.taking.called


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
