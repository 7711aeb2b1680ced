"""Writing as fast as a client reads."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Pace:
    """To be registered with a request as its producer.

    :ivar gate: while the client does not keep up, a Deferred that fires once it does, or has gone; else ``None``.
    """

    def __init__(self) -> None:
        self.gate: Deferred[None] | None = None

    def pauseProducing(self) -> None:
        """The client does not keep up."""
        if self.gate is None:
            self.gate = Deferred()

    def resumeProducing(self) -> None:
        """It does again."""
        gate, self.gate = self.gate, None
        if gate is not None:
            gate.callback(None)

    def stopProducing(self) -> None:
        """It has gone."""
        self.resumeProducing()
