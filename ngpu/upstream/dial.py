"""One attempt to connect to a replica."""

from __future__ import annotations

import errno
import os

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from ngpu.errors import DialFailed
from ngpu.upstream.connection import Connection
from ngpu.upstream.origin import Origin

CONNECT_TIMEOUT = 5.0
"""Seconds until an attempt to connect, looking up the name included, is given up."""

_LACKING = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})
"""What keeps this machine from trying at all: it has no descriptor, local port or memory left."""


class CancelledDialing(CancelledError):
    """Cancelled while there was no connection yet: no byte was sent."""


def endpoint_of(reactor: object, origin: Origin) -> IStreamClientEndpoint:
    """How to reach ``origin``: addresses directly, names through the reactor's resolver and by happy eyeballs."""
    if isIPAddress(origin.host):
        return TCP4ClientEndpoint(reactor, origin.host, origin.port)
    if isIPv6Address(origin.host):
        return TCP6ClientEndpoint(reactor, origin.host, origin.port)
    return HostnameEndpoint(reactor, origin.host, origin.port)


class Dial:
    """An attempt.

    :ivar outcome: fires with the connection or fails with DialFailed; cancelled, it fails with CancelledDialing.
    :ivar tried: whether the origin was asked at all: this machine may have lacked what that takes.
    """

    def __init__(self, clock: IReactorTime, endpoint: IStreamClientEndpoint, factory: Factory, origin: Origin) -> None:
        self.outcome: Deferred[Connection] = Deferred(self._cancelled)
        self.tried = True
        self._origin = origin
        self._timer = clock.callLater(CONNECT_TIMEOUT, self._too_long)
        self._attempt = endpoint.connect(factory)
        self._attempt.addCallbacks(self._settle, self._failed)

    def give_up(self, why: str) -> None:
        """End it with DialFailed, if it has not ended."""
        self._settle(Failure(DialFailed(f"the replica at {self._origin} cannot be reached: {why}")))
        self._attempt.cancel()

    def _too_long(self) -> None:
        self.give_up(f"no connection within {CONNECT_TIMEOUT:g} s")

    def _cancelled(self, outcome: Deferred[Connection]) -> None:
        self._settle(Failure(CancelledDialing()))
        self._attempt.cancel()

    def _failed(self, failure: Failure) -> None:
        self.tried = getattr(failure.value, "osError", None) not in _LACKING
        self._settle(Failure(DialFailed(f"the replica at {self._origin} cannot be reached: {_why(failure)}")))

    def _settle(self, result: Connection | Failure) -> None:
        if self._timer.active():
            self._timer.cancel()
        if not self.outcome.called:
            self.outcome.callback(result)


def _why(failure: Failure) -> str:
    """The cause in plain words."""
    error = failure.value
    if isinstance(error, DNSLookupError):
        return "its name is not known to the resolver"
    number = getattr(error, "osError", None)
    if isinstance(error, ConnectError) and isinstance(number, int):
        return os.strerror(number).lower()
    return "the connection could not be made"
