"""The way out to one client: replies in pieces that the transport can hold, and notice of who does not take them."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableDescriptor, IPushProducer, IReactorTime
from twisted.internet.tcp import Connection
from zope.interface import implementer

from ngpu.model import CHUNK
from ngpu.relay import Over, Relay, relay_between


@implementer(IPushProducer)
class Outgoing:
    """Writes to a transport, as its one producer.

    A reply of many megabytes is handed over piece by piece: a transport that got it whole would copy it.

    :param write_timeout: seconds; a transport that takes nothing of what is pending for that long is aborted.
    :param drained: called when everything is taken, after it was not.
    :param piece: bytes of a large reply that the transport is given at once.
    """

    def __init__(
        self,
        transport: Any,
        clock: IReactorTime,
        write_timeout: float,
        drained: Callable[[], None],
        piece: int = CHUNK,
    ) -> None:
        self._transport = transport
        self._socket = _socket_of(transport)
        self._clock = clock
        self._write_timeout = write_timeout
        self._drained = drained
        self._piece = piece
        self._queue: deque[memoryview] = deque()
        self._handed_over = 0  # how many pieces the transport, or the kernel, was given
        self._paused = False
        self._close: Callable[[], None] | None = None
        self._producer: Any = None
        self._relay: Relay | None = None
        self._mark: tuple[int, ...] = ()
        self._marked_at = 0.0
        transport.registerProducer(self, True)

    @property
    def writable(self) -> bool:
        """Whether the client keeps up: nothing waits but what the transport likes to hold."""
        return not self._paused and not self._queue

    def write(self, data: bytes) -> None:
        """Send these bytes after all that were given before; dropped once ``close`` was called."""
        if self._close is not None:
            return
        if self._queue or len(data) > self._piece:
            self._queue.append(memoryview(data))
            self._pump()
        else:
            self._hand_over(data)

    def _pump(self) -> None:
        while self._queue and not self._paused:
            view = self._queue.popleft()
            if len(view) > self._piece:
                self._queue.appendleft(view[self._piece :])
            self._hand_over(bytes(view[: self._piece]))
        if self._close is not None and not self._queue:
            self._transport.unregisterProducer()
            self._close()

    def _hand_over(self, data: bytes) -> None:
        """Give bytes to the kernel at once where nothing is before them, and to the transport what is left.

        Through the transport they would wait for the reactor's next turn, and cost an event and two changes of epoll.
        """
        self._handed_over += 1
        transport = self._transport
        if (
            self._socket is not None
            and transport.connected
            and not (transport.dataBuffer or transport._tempDataLen or transport.disconnecting or transport._aborting)
        ):
            try:
                sent = self._socket.send(data)
            except OSError:  # it takes no more for now, or none at all, which the transport finds out
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        transport.write(data)

    def relay(self, source: Any, count: int, over: Over) -> Relay | None:
        """Let bytes that come over another transport go out after what was written; see `ngpu.relay.relay_between`."""

        def ended(relay: Relay) -> None:
            self._handed_over += relay.given
            self._relay = None
            over(relay)

        if self._socket is not None and not self._queue and self._close is None:
            self._relay = relay_between(source, self._transport, count, ended)
        return self._relay

    def close(self, half: bool) -> None:
        """Close the connection (or its sending half, where the transport has halves) once all is sent."""
        first = self._close is None
        half = half and IHalfCloseableDescriptor.providedBy(self._transport)
        self._close = self._transport.loseWriteConnection if half else self._transport.loseConnection
        if first:
            self._marked_at = self._clock.seconds()
        self._pump()

    def check(self, now: float) -> None:
        """Abort the connection when its client has taken nothing for ``write_timeout`` seconds."""
        relay = self._relay
        if not self._paused and self._close is None and (relay is None or not relay.waiting):
            return
        mark = (
            self._handed_over + (0 if relay is None else relay.given),
            len(getattr(self._transport, "dataBuffer", b"")),
            getattr(self._transport, "offset", 0),
            0 if self._socket is None else _unacknowledged(self._socket),
        )
        if mark != self._mark:
            self._mark = mark
            self._marked_at = now
        elif now - self._marked_at >= self._write_timeout:
            self._transport.abortConnection()

    def register(self, producer: Any, streaming: bool) -> None:
        """Let ``producer`` feed this connection at the client's pace; it is told at once when that is standing still.

        :param streaming: false for an IPullProducer.
        """
        self._producer = producer if streaming else _Pulled(producer, self._clock)
        if not streaming:
            self._producer.resumeProducing()
        if not self.writable:
            self._producer.pauseProducing()

    def unregister(self) -> None:
        """The end of ``register``."""
        producer, self._producer = self._producer, None
        if isinstance(producer, _Pulled):
            producer.pauseProducing()

    def pauseProducing(self) -> None:
        """The transport has enough."""
        self._paused = True
        self._marked_at = self._clock.seconds()
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport has sent all that it had."""
        self._paused = False
        self._pump()
        if self.writable and self._close is None:
            if self._producer is not None:
                self._producer.resumeProducing()
            self._drained()

    def stopProducing(self) -> None:
        """The transport is gone."""
        self._queue.clear()


def _socket_of(transport: Any) -> Any:
    """The socket under a transport that does nothing to the bytes; ``None``: there is none."""
    plain = isinstance(transport, Connection) and not getattr(transport, "TLS", False)
    return transport.getHandle() if plain else None


def _unacknowledged(sock: Any) -> int:
    """Bytes that the kernel holds for the other end: a full buffer takes no more until a third of it has gone."""
    try:
        return int.from_bytes(ioctl(sock.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


class _Pulled:
    """Makes a push producer of an IPullProducer: one pull a turn of the reactor, while the client keeps up."""

    def __init__(self, producer: Any, clock: IReactorTime) -> None:
        self._producer = producer
        self._clock = clock
        self._call: IDelayedCall | None = None

    def resumeProducing(self) -> None:
        if self._call is None:
            self._call = self._clock.callLater(0, self._pull)

    def pauseProducing(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def stopProducing(self) -> None:
        self.pauseProducing()
        self._producer.stopProducing()

    def _pull(self) -> None:
        self._call = self._clock.callLater(0, self._pull)
        self._producer.resumeProducing()
