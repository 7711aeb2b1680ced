"""The way of a request's body onto the wire, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPullProducer
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from ngpu.errors import CallCut
from ngpu.model import CHUNK, BytesBody
from ngpu.passing import Stream
from ngpu.relay import Over, Relay, pending

_AT_ONCE = 1024 * 1024
"""Bytes of a body that go out without a turn of the reactor between them: others have a right to one, too."""

RelayBody = Callable[[Any, Over], Relay | None]
"""A body's ``relay``: its rest into a transport; see `ngpu.relay.relay_between`."""


@implementer(IBodyProducer)
class BodyProducer:
    """A ``ngpu.passing.Stream`` as treq takes it. Reads on only while nobody pauses it.

    ``whole`` is the body itself where it is in memory and small enough to go out together with the head; ``expects``
    says that the body waits for `go_on`.
    """

    expects = False

    def __init__(self, body: Stream) -> None:
        self.length: Any = UNKNOWN_LENGTH if body.length is None else body.length
        self.whole = body.data if isinstance(body, BytesBody) and body.length <= CHUNK else None
        self._body = body
        self._reading: Deferred[None] | None = None
        self._writing = False
        self._paused: Deferred[None] | None = None
        self._stopped = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write the body to ``consumer``; fires at its end, or fails with what reading it raised."""
        done: Deferred[None] = Deferred(lambda _: self.stopProducing())

        def finish(result: Any) -> None:
            if not self._stopped:
                done.callback(result)

        self._reading = Deferred.fromCoroutine(self._copy(consumer))
        self._reading.addBoth(finish)
        return done

    def go_on(self) -> None:
        """The replica asks for the body."""

    def pauseProducing(self) -> None:
        """Read no further."""
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """Read on."""
        if self._paused is not None:
            paused, self._paused = self._paused, None
            paused.callback(None)

    def stopProducing(self) -> None:
        """Stop for good; the Deferred of ``startProducing`` will not fire."""
        self._stopped = True
        if self._reading is not None and not self._writing:
            self._reading.cancel()

    async def _copy(self, consumer: IConsumer) -> None:
        chunks = self._body.chunks()
        relay: RelayBody | None = getattr(self._body, "relay", None)
        try:
            async for chunk in chunks:
                self._writing = True  # stopped from in here, there is nothing to cancel
                consumer.write(chunk)
                self._writing = False
                if self._stopped:
                    return
                if self._paused is not None:
                    await self._paused
                if relay is not None and isinstance(consumer, Upload):
                    await consumer.pass_by(relay)
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()  # a generator left half-way would hold its file until the garbage collector comes


@implementer(IPullProducer, IConsumer)
class Upload:
    """Bytes on their way into the kernel.

    Stands between the producer of a body and the transport. To the transport it is a pull producer, which is told each
    time all that was written has left: so never more than one piece waits in memory, and ``sent`` is called only when
    nothing of the request is left in user space.

    :param sent: called when all has been handed to the kernel.
    :param lost: called when the connection breaks before that, while its socket is still there to be read.
    :param failed: called with a Failure when the body cannot be read, or is not as long as it said.
    :param chunked: put it into the chunked coding (RFC 9112 §7.1), since nobody knows its length.
    """

    def __init__(
        self,
        transport: Any,
        producer: IBodyProducer | None,
        sent: Callable[[], None],
        lost: Callable[[], None],
        failed: Callable[[Failure], None],
        chunked: bool = False,
    ) -> None:
        self._transport = transport
        self._producer = producer
        self._chunked = chunked
        self._expected = _length_of(producer)
        self._written = 0
        self._flushing = False
        self._in_a_row = 0
        self._ended = producer is None
        self._stopped = False
        self._sent = sent
        self._lost = lost
        self._failed = failed

    def start(self, rest: bytes) -> None:
        """Write ``rest``, what the kernel did not take of the head at once, and the body after it."""
        self._transport.registerProducer(self, False)
        if rest:
            self._flushing = True
            self._transport.write(rest)
        if self._producer is not None:
            self._producer.startProducing(self).addCallbacks(self._end, self._fail)

    def stop(self) -> None:
        """Write no more of it."""
        if not self._stopped:
            self._stopped = True
            self._transport.unregisterProducer()
            if self._producer is not None and not self._ended:
                self._producer.stopProducing()

    def write(self, data: bytes) -> None:
        """A piece of the body, from its producer."""
        if self._stopped or not data:
            return
        self._written += len(data)
        if self._expected is None:
            data = b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
        elif self._written > self._expected:
            self._fail(Failure(CallCut(f"the request's body went on after the {self._expected} bytes it was to have")))
            return
        assert self._producer is not None
        if not self._flushing and self._in_a_row < _AT_ONCE:
            taken = self._offer(data)
            self._in_a_row += taken
            if taken == len(data):
                return
            data = data[taken:]
        self._in_a_row = 0
        self._flushing = True
        self._transport.write(data)
        self._producer.pauseProducing()

    def _offer(self, data: bytes) -> int:
        """Hand bytes to the kernel, where nothing is before them; how many it took.

        Through the transport they would wait for the reactor's next turn, and cost an event and two changes of epoll.
        """
        try:
            taken: int = self._transport.getHandle().send(data)
        except OSError:  # it takes no more for now, or none at all, which the transport finds out
            return 0
        return taken

    async def pass_by(self, begin: RelayBody) -> None:
        """Let the rest of the body pass by, where that can be; returns when it has, or has to come piece by piece."""
        if self._stopped or self._flushing or self._expected is None:
            return
        done: Deferred[None] = Deferred(lambda _: None if relay is None else relay.stop())
        relay = begin(self._transport, lambda relay: None if relay.stopped else done.callback(None))
        if relay is not None:
            await done
            self._written += relay.given
            self._flushing = pending(self._transport)  # what it had taken when it found that it cannot go on

    def resumeProducing(self) -> None:
        """All that was written has left, says the transport."""
        if not self._flushing:
            return  # it says so when one registers, too
        self._flushing = False
        if self._ended:
            self._finish()
        elif self._producer is not None:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """The connection is lost, says the transport."""
        self.stop()
        self._lost()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Not needed: the body's producer was given."""

    def unregisterProducer(self) -> None:
        """Not needed either."""

    def go_on(self) -> None:
        """The replica asks for the body."""
        producer: Any = self._producer
        if isinstance(producer, BodyProducer):
            producer.go_on()

    def _end(self, _: object) -> None:
        self._ended = True
        if self._chunked and not self._stopped:
            self._flushing = True
            self._transport.write(b"0\r\n\r\n")
        elif self._expected is not None and self._written < self._expected:
            self._fail(Failure(CallCut(f"the request's body ended after {self._written} of {self._expected} bytes")))
        elif not self._flushing:
            self._finish()

    def _finish(self) -> None:
        if not self._stopped:
            self.stop()
            self._sent()

    def _fail(self, failure: Failure) -> None:
        if not self._stopped:
            self.stop()
            self._failed(failure)


def _length_of(producer: IBodyProducer | None) -> int | None:
    """How long a body must be; ``None`` where nobody knows."""
    if producer is None:
        return 0
    length: Any = producer.length
    return None if length is UNKNOWN_LENGTH else int(length)
