"""One call to one replica over treq, streaming both ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import UNKNOWN_LENGTH
from zope.interface import implementer

from ngpu.deadlines import Deadlines
from ngpu.errors import BadRequest, CallTimeout, DialFailed
from ngpu.interfaces import IBodySink, IForwarder
from ngpu.model import ReplyHead, UpstreamRequest
from ngpu.passing import PassedHead, PassedRequest, Stream
from ngpu.relay import LEAST, Begin, Over, Relay
from ngpu.upstream.agent import UpstreamAgent
from ngpu.upstream.client import UpstreamClient
from ngpu.upstream.connection import DONE
from ngpu.upstream.dial import CancelledDialing
from ngpu.upstream.expecting import ExpectingProducer
from ngpu.upstream.headers import Field, Fields, reply_fields, request_fields
from ngpu.upstream.origin import authority_of
from ngpu.upstream.pool import Pool

T = TypeVar("T")


class Exchange:
    """A call while it runs, to be cut off once it is due; see `ngpu.deadlines.Bounded`.

    :ivar was_cut: it was.
    :ivar head: of the reply, once that is there.
    :ivar taking: fires once the sink has taken what it was given last; ``None``: it has.
    :ivar relay: by which the reply's body passes by, or did.
    """

    def __init__(self, due: float) -> None:
        self.due = due
        self.was_cut = False
        self.head: ReplyHead | None = None
        self.taking: Deferred[Any] | None = None
        self.relay: Relay | None = None
        self._waiting: Deferred[Any] | None = None

    def begins(self, head: ReplyHead) -> None:
        """The reply begins."""
        self.head = head

    def moved(self) -> None:
        """Some of the reply has come."""

    def waits_for(self, what: Deferred[T]) -> Deferred[T]:
        """What it waits for now."""
        self._waiting = what
        return what

    def cut(self) -> None:
        """End it."""
        if self._waiting is not None:
            self.was_cut = True
            self._waiting.cancel()


@implementer(IForwarder)
class Forwarder:
    """Forwards over a treq client.

    Beside what the interface says, ``send`` raises BadRequest, before it dials, for a method, target or field that
    cannot stand on the wire, and whatever reading ``body`` raises.

    :param client: one that follows, decodes and keeps nothing; see ``ngpu.upstream.client``.
    :param clock: for the timeout of a call.
    :ivar deadlines: of the calls that run.
    """

    def __init__(self, client: HTTPClient, clock: IReactorTime) -> None:
        self.deadlines = Deadlines(clock)
        self._client = client
        self._clock = clock

    async def send(
        self, host: str, port: int, request: UpstreamRequest, body: Stream, sink: IBodySink, timeout: float
    ) -> ReplyHead:
        """See ``IForwarder``."""
        exchange = Exchange(self._clock.seconds() + timeout)
        self.deadlines.watch(exchange)
        try:
            return await self.exchange(host, port, request, body, sink, exchange)
        except CancelledError as error:
            if not exchange.was_cut:
                raise
            where = f"the replica at {authority_of(host, port)}"
            if isinstance(error, CancelledDialing):
                raise DialFailed(f"{where} did not accept a connection within {timeout:g} s") from None
            raise CallTimeout(f"{where} did not finish its reply within {timeout:g} s") from None
        finally:
            self.deadlines.forget(exchange)

    def _data(self, body: Stream, passed: PassedRequest | None) -> Any:
        """The body as treq takes it, whose ``data_to_body_producer`` makes the rest of it."""
        return ExpectingProducer(body, self._clock) if passed is not None and passed.expects else body

    async def exchange(
        self, host: str, port: int, request: UpstreamRequest, body: Stream, sink: IBodySink, exchange: Exchange
    ) -> ReplyHead:
        """The same without a timeout; once ``exchange`` is cut, it raises CancelledError.

        :raises CancelledDialing: that was before there was a connection.
        """
        if not request.target.startswith("/"):
            raise BadRequest("The request's target has to begin with a slash.")  # else it would go on with the port
        passed = request if isinstance(request, PassedRequest) else None
        fields = request_fields(request.headers)
        reply = await exchange.waits_for(
            self._client.request(
                request.method,
                f"http://{authority_of(host, port)}{request.target}",
                headers=Fields(fields) if passed is None else _passed_fields(fields, passed),
                data=None if body.length == 0 else self._data(body, passed),
                allow_redirects=False,
                unbuffered=True,
            )
        )
        response: Any = getattr(reply, "original", reply)  # treq wraps the connection's own object, each access again
        fields = reply_fields(response.headers.fields)
        head = (
            ReplyHead(response.code, fields)
            if passed is None
            else PassedHead(response.code, fields, _length_said(response), response.whole)
        )
        exchange.begins(head)
        if response.whole:
            await _hand_over(sink, head, response.take(), exchange)
            return head
        flow = _Flow(sink, head, exchange)
        response.deliverBody(flow)
        if flow.ended is None:
            try:
                await exchange.waits_for(flow.wait())
            finally:
                flow.done = None  # it leads back to the flow: a ring that would keep the sink's bytes for long
        elif isinstance(flow.ended, Failure):
            flow.ended.raiseException()
        return head


def _passed_fields(fields: Sequence[Field], passed: PassedRequest) -> Fields:
    return Fields((*fields, *passed.added), passed.host, passed.upgrade)


def _length_said(response: Any) -> int | None:
    """The Content-Length of a reply, which the connection has checked: of one without a body, too."""
    if response.length:
        return None if response.length is UNKNOWN_LENGTH else int(response.length)
    fields: Sequence[Field] = response.headers.fields
    return next((int(value) for name, value in fields if name.lower() == b"content-length"), None)


async def _hand_over(sink: IBodySink, head: ReplyHead, body: bytes, exchange: Exchange) -> None:
    """Let the sink have a reply that is there whole."""
    if (taking := sink.start(head)) is not None:
        await exchange.waits_for(taking)
    if body and (taking := sink.write(body)) is not None:
        exchange.taking = taking
        await exchange.waits_for(taking)


class _Flow(Protocol):
    """The body of a reply on its way into a sink, at the sink's pace.

    :ivar ended: ``None`` until the sink has taken all of it; then true, or a Failure.
    :ivar done: fires with that, where somebody waits.
    """

    transport: Any

    def __init__(self, sink: IBodySink, head: ReplyHead, exchange: Exchange) -> None:
        self.ended: Failure | bool | None = None
        self.done: Deferred[None] | None = None
        self._sink = sink
        self._head = head
        self._exchange = exchange
        large = isinstance(head, PassedHead) and (head.length or 0) > LEAST
        self._relay: Begin | None = getattr(sink, "relay", None) if large else None

    def connectionMade(self) -> None:
        """The body begins."""
        self._give(self._sink.start, self._head)

    def dataReceived(self, data: bytes) -> None:
        """Some of the body."""
        if self.ended is None:
            self._exchange.moved()
            self._give(self._sink.write, data)
            if self._relay is not None and self.ended is None and not self.transport.relay(self._pass_by):
                self._relay = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body's end, or the connection's before it."""
        self._end(True if reason is DONE or reason.check(ResponseDone, PotentialDataLoss) else reason)

    def wait(self) -> Deferred[None]:
        """Fires at the end, which has not come yet; cancelling it closes the connection."""
        self.done = Deferred(lambda _: self.transport.abortConnection())
        return self.done

    def _end(self, how: Failure | bool) -> None:
        if self.ended is not None:
            return
        self.ended = how
        if self.done is not None and not self.done.called:
            if isinstance(how, Failure):
                self.done.errback(how)
            else:
                self.done.callback(None)

    def _give(self, take: Callable[..., Any], what: Any) -> None:
        """Let the sink take something, and bring no more before it has."""
        try:
            taken = take(what)
        except Exception:
            self._refused(Failure())
            return
        self._exchange.taking = taken
        if taken is not None:
            self.transport.pauseProducing()
            taken.addCallbacks(lambda _: self.transport.resumeProducing(), self._refused)

    def _pass_by(self, source: Any, count: int, over: Over) -> Relay | None:
        """Let the sink have the rest from the connection itself, where it can; see `ngpu.relay`."""
        relay = None if self._relay is None else self._relay(source, count, over)
        self._exchange.relay = relay
        return relay

    def _refused(self, failure: Failure) -> None:
        """The sink does not want it."""
        if self.ended is None:
            self._end(failure)
            self.transport.abortConnection()


def make_forwarder(reactor: Any, pool: Pool) -> Forwarder:
    """A forwarder over the connections of ``pool``, which whoever made it closes."""
    return Forwarder(UpstreamClient(UpstreamAgent(pool)), reactor)
