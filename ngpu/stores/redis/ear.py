"""A connection that listens: what Redis says on channels comes when it comes, and is no reply to anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress

from ngpu.stores.redis.wire import Lost, Wire, WireFactory


class Ear(Wire):
    """Asks and is answered as any wire, until it listens; from then on it may only join channels and leave them."""

    def __init__(self) -> None:
        super().__init__()
        self._alive = True
        self._listens = False
        self._first: Deferred[None] = Deferred()
        self._joining: Counter[bytes] = Counter()

    def listen(
        self, channels: Iterable[bytes], joined: Callable[[bytes], None], heard: Callable[[bytes, bytes], None]
    ) -> Deferred[None]:
        """Join the first channels, of which there is at least one that is never left.

        :param joined: called with a channel once nothing more is missed that is said there.
        :param heard: called with a channel and what was said.
        :returns: fires once it listens; fails with `Refused` where it may not, and with `Lost`.
        """
        self._listens = True
        self._joined, self._heard = joined, heard
        self.join(*channels)
        return self._first

    def join(self, *channels: bytes) -> None:
        """Listen to these too."""
        self._joining.update(channels)
        self._write("SUBSCRIBE", *channels)

    def leave(self, channel: bytes) -> None:
        """Listen to it no more."""
        self._write("UNSUBSCRIBE", channel)

    def lives(self) -> bool:
        """Whether anything came since this was asked last, at which it is made to say something."""
        alive, self._alive = self._alive, False
        self._write("PING")
        return alive

    def is_in(self, channel: bytes) -> bool:
        """Whether nothing is missed of a channel that was joined, and not left since."""
        return self._joining[channel] == 0

    def _write(self, *words: str | bytes) -> None:
        if self.connected and self.transport is not None:
            self.transport.write(self._build_command(*words))

    def replyReceived(self, reply: Any) -> None:
        """Every reply comes by here."""
        self._alive = True
        if not self._listens:
            super().replyReceived(reply)
        elif isinstance(reply, Exception):
            self._fail(reply)
        elif isinstance(reply, list) and reply[0] == b"message":
            self._heard(reply[1], reply[2])
        elif isinstance(reply, list) and reply[0] == b"subscribe":
            self._confirmed(reply[1])

    def _confirmed(self, channel: bytes) -> None:
        self._joining[channel] -= 1
        if not self._first.called:
            self._first.callback(None)
        if self._joining[channel] <= 0:
            del self._joining[channel]
            self._joined(channel)

    def _fail(self, error: Exception) -> None:
        if self._first.called:
            self.cut()  # a right was taken away: the next one says so when it is greeted
        else:
            self._first.errback(error)

    def connectionLost(self, reason: Any) -> None:
        """See ``Wire.connectionLost``."""
        super().connectionLost(reason)
        if self._listens and not self._first.called:
            self._first.errback(Lost("Lost connection"))


class EarFactory(WireFactory):
    """Makes ears."""

    def buildProtocol(self, addr: IAddress | None) -> Wire:
        """See ``IProtocolFactory.buildProtocol``."""
        ear = Ear()
        ear.factory = self
        return ear
