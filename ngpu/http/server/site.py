"""The factory of connections: what they share, how many there are, and how they are all brought to an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource, getChildForRequest
from zope.interface import implementer

from ngpu.http.server.channel import Channel
from ngpu.http.server.connection import Connection
from ngpu.http.server.h2.channel import H2Channel
from ngpu.http.server.limits import Limits
from ngpu.http.server.phase import Phase
from ngpu.http.server.refusal import plain_error
from ngpu.http.server.request import NgpuRequest
from ngpu.http.server.target import request_lines


def _no_raw_path(path: bytes) -> bool:
    return False


class _Full(Protocol):
    """One connection more than there may be."""

    def __init__(self, date: bytes) -> None:
        self._date = date

    def connectionMade(self) -> None:
        msg = "The gateway has as many connections as it may have: try again later."
        assert self.transport is not None
        self.transport.write(plain_error(503, msg, self._date))
        self.transport.loseConnection()


@implementer(IProtocolNegotiationFactory)
class Site(Factory[Any]):
    """Serves a resource (a Klein application's) over HTTP/1.1, and over HTTP/2 where TLS is below.

    :param clock: the reactor, for times only.
    :param raw_path: of which paths ``..`` segments and escaped slashes are let through (those that are passed on to a
        worker as they came); of none by default.
    """

    noisy = False
    displayTracebacks = False
    _log = Logger()

    def __init__(
        self,
        resource: IResource,
        clock: IReactorTime,
        limits: Limits | None = None,
        raw_path: Callable[[bytes], bool] = _no_raw_path,
    ) -> None:
        self.resource = resource
        self.clock = clock
        self.limits = limits or Limits()
        self.request_lines = request_lines(self.limits, raw_path)
        self.draining = False
        self._channels: set[Connection] = set()
        self._ticking: IDelayedCall | None = None
        self._second = -1
        self._date = b""

    def acceptableProtocols(self) -> list[bytes]:
        """What is spoken over TLS (RFC 7301); a client that offers names, and none of these, is refused."""
        return [b"h2", b"http/1.1"] if self.limits.http2 else [b"http/1.1"]

    def agreed(self, channel: Connection, protocol: bytes | None) -> None:
        """TLS has settled what a connection speaks; HTTP/1.1 where nothing was said."""
        if protocol == b"h2":
            transport = channel.transport
            transport.unregisterProducer()
            transport.wrappedProtocol = other = H2Channel(self)
            other.makeConnection(transport)  # type: ignore[no-untyped-call]
            self.remove(channel)

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """A connection, or a 503 to the one that is too many."""
        protocol = Channel(self) if len(self._channels) < self.limits.connections else _Full(self.date())
        protocol.factory = self
        return protocol

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._channels)

    @property
    def busy(self) -> int:
        """How many of them have a request that is being served."""
        return sum(channel.phase is Phase.REQUEST for channel in self._channels)

    @property
    def unfinished(self) -> int:
        """How many of them have one, or still send their last reply."""
        return sum(channel.phase is not Phase.HEAD for channel in self._channels)

    @property
    def idle(self) -> int:
        """How many of them have no request of which the head is complete."""
        return sum(channel.phase is Phase.HEAD for channel in self._channels)

    def retire(self) -> None:
        """Let every connection end with its next reply, so that its client makes another one, elsewhere."""
        self.draining = True
        for channel in tuple(self._channels):
            channel.retire()

    def close_idle(self) -> None:
        """Begin to drain: close connections that wait for a request, and let every other end with its next reply."""
        self.draining = True
        for channel in tuple(self._channels):
            channel.close_if_idle()

    def abort_all(self) -> None:
        """The end of a drain that took too long: cut off what is left, and cancel its requests."""
        for channel in tuple(self._channels):
            channel.abortConnection()

    def log_request(self, request: NgpuRequest, aborted: bool) -> None:
        """Called exactly once at the end of each request; to be overridden.

        :param aborted: the client went, or the reply could not be completed; ``request.code`` may never have been sent.
        """

    def log_refused(self, peer_ip: str, status: int, msg: str) -> None:
        """Called when bytes that are no request were answered with ``status``; to be overridden."""

    def request_ended(self, request: NgpuRequest, aborted: bool) -> None:
        """Tell ``log_request``, whose failure is not the client's."""
        try:
            self.log_request(request, aborted)
        except Exception:
            self._log.failure("the access log failed")

    def getResourceFor(self, request: NgpuRequest) -> IResource:
        """The resource that serves this request, found as twisted.web does."""
        resource: IResource = getChildForRequest(self.resource, request)
        return resource

    def date(self) -> bytes:
        """The Date of replies (RFC 9110 §6.6.1)."""
        now = int(self.clock.seconds())
        if now != self._second:
            self._second = now
            self._date = datetimeToString(now)
        return self._date

    def add(self, channel: Connection) -> None:
        """A connection has been made; while there are any, their times are looked at every ``Limits.tick`` seconds."""
        self._channels.add(channel)
        if self._ticking is None:
            self._ticking = self.clock.callLater(self.limits.tick, self._tick)

    def remove(self, channel: Connection) -> None:
        """A connection is over."""
        self._channels.discard(channel)
        if not self._channels and self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    def _tick(self) -> None:
        self._ticking = self.clock.callLater(self.limits.tick, self._tick)
        now = self.clock.seconds()
        for channel in tuple(self._channels):
            channel.check(now)
