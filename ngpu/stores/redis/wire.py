"""One connection to Redis: txredisapi's protocol, without its guesses."""

from __future__ import annotations

from typing import Any

import hiredis
import txredisapi
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

Lost = txredisapi.ConnectionError
"""The connection broke, with or without an answer on its way."""

Refused = txredisapi.ResponseError
"""Redis answered with an error."""


class Wire(txredisapi.RedisProtocol):  # type: ignore[misc]
    """Bytes in, bytes out: no number is made of "0123", and no text of a body.

    ``gone`` fires when it has ended; ``why`` is then set, and says how.
    """

    def __init__(self) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.gone: Deferred[None] = Deferred()
        self.why: BaseException | None = None

    def _build_command(self, *args: Any, **kwargs: Any) -> bytes:
        # txredisapi's own takes a third of the time of a call, most of it over the lengths of short arguments
        command: bytes = hiredis.pack_command(args)
        return command

    def connectionLost(self, reason: Any) -> None:
        """Everything that waits for an answer is told `Lost` by txredisapi."""
        self.why = reason.value
        super().connectionLost(reason)
        gone, self.gone = self.gone, Deferred()
        gone.callback(None)

    def cut(self) -> None:
        """End it at once: what was asked may have been done or not."""
        if self.connected and self.transport is not None:
            self.transport.abortConnection()


class WireFactory(Factory):
    """Makes wires; nothing is asked of them yet."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Wire:
        """See ``IProtocolFactory.buildProtocol``."""
        wire = Wire()
        wire.factory = self
        return wire


def code(error: BaseException) -> str:
    """The first word of an error of Redis, such as NOSCRIPT; both parsers of txredisapi spell some of them."""
    first = said(error).partition(" ")[0]
    return first if first.isupper() else "ERR"


def said(error: BaseException) -> str:
    """The words of an error, on one line, for a message."""
    if isinstance(error, SSL.Error):
        parts = error.args[0] if error.args and isinstance(error.args[0], list) else []
        return "; ".join(str(part[-1]) for part in parts) or "TLS failed"
    if isinstance(error, VerificationError):
        return "its certificate is for another host"
    text = error.args[0] if error.args and isinstance(error.args[0], str | bytes) else str(error)
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return " ".join(text.split()) or type(error).__name__
