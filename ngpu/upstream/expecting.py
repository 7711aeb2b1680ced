"""A body that waits until its replica asks for it (RFC 9110 §10.1.1)."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IReactorTime

from ngpu.passing import Stream
from ngpu.upstream.upload import BodyProducer

PATIENCE = 1.0
"""Seconds after which a replica that has said nothing counts as one that does not know ``Expect``."""


class ExpectingProducer(BodyProducer):
    """Reads nothing of its body, and so asks nobody for it, before `go_on`, or for PATIENCE seconds."""

    expects = True

    def __init__(self, body: Stream, clock: IReactorTime) -> None:
        super().__init__(body)
        self.whole = None
        self._asked: Deferred[None] = Deferred()
        self._clock = clock

    def go_on(self) -> None:
        """The replica asks for the body."""
        if not self._asked.called:
            self._asked.callback(None)

    async def _copy(self, consumer: IConsumer) -> None:
        timer = self._clock.callLater(PATIENCE, self.go_on)
        try:
            await self._asked
        finally:
            if timer.active():
                timer.cancel()
        await super()._copy(consumer)
