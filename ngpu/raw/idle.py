"""Calls that may take as long as something moves on them, in place of so many seconds in all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

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
from ngpu.relay import Over, Relay
from ngpu.upstream.dial import CancelledDialing
from ngpu.upstream.upload import RelayBody


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
    :ivar sent_by: by which the request's body passes by, or did.
    """

    def __init__(self, clock: IReactorTime, deadlines: Deadlines, patience: float, idle: float) -> None:
        super().__init__(clock.seconds() + patience)
        self.patience = patience
        self.sent_by: Relay | None = None
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

    def cut(self) -> None:
        """Nothing has moved that was seen here: what has passed by was not."""
        for relay in (self.relay, self.sent_by):
            if relay is not None:
                self.due = max(self.due, relay.moved_at + self.patience)
        if self.due > self._clock.seconds():
            self._deadlines.watch(self)
        else:
            super().cut()

    def moved(self) -> None:
        """See `Exchange.moved`; some of the request's body counts, too."""
        self.due = self._clock.seconds() + self.patience

    @property
    def client_stands(self) -> bool:
        """Whether the client has not yet taken what it was given."""
        if self.relay is not None and not self.relay.done:
            return self.relay.waiting
        return self.taking is not None and not self.taking.called


class _WatchedBody:
    def __init__(self, body: Stream, watch: _Watch) -> None:
        self.length = body.length
        self._waiting = False
        self._body = body
        self._watch = watch
        self._relay: Relay | None = None

    @property
    def waiting(self) -> bool:
        """Whether the client has not yet sent what was asked for."""
        return self._waiting if self._relay is None or self._relay.done else not self._relay.waiting

    def relay(self, sink: Any, over: Over) -> Relay | None:
        """See `ngpu.raw.body.SentBody.relay`."""
        begin: RelayBody | None = getattr(self._body, "relay", None)
        self._relay = self._watch.sent_by = None if begin is None else begin(sink, over)
        return self._relay

    async def chunks(self) -> AsyncIterator[bytes]:
        async with aclosing(self._body.chunks()) as chunks:  # type: ignore[type-var]
            self._waiting = True
            async for chunk in chunks:
                self._waiting = False
                self._watch.moved()
                yield chunk
                self._waiting = True
            self._waiting = False
