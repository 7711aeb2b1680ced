"""One HTTP exchange after another, each with a body that waits for its reader."""

from __future__ import annotations

from collections import deque
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import platformTrust
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from ngpu.fetch import Connect
from ngpu.upstream.client import UpstreamClient

LONGEST_HEAD = 256 * 1024
"""Bytes of a reply's head; Twisted's client itself reads any number of fields."""

AHEAD = 1 << 20
"""Bytes that wait for their reader before no more are taken from the socket."""


class Cut(Exception):
    """The body ended before its end."""


class PacedBody(Protocol):
    """A body, read piece by piece; the connection rests while the reader is behind."""

    transport: Any

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._paused = False
        self._end: Failure | None = None
        self._reader: Deferred[None] | None = None

    def dataReceived(self, data: bytes) -> None:
        """Some of the body."""
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting >= AHEAD and not self._paused:
            self._paused = True
            self.transport.pauseProducing()
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body's end, or the connection's before it."""
        self._end = reason
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.callback(None)

    async def read(self) -> bytes:
        """The next bytes; none at the end.

        :raises Cut: the connection broke before the end.
        """
        while not self._pieces and self._end is None:
            self._reader = Deferred()
            await self._reader
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._waiting = 0
            if self._paused and self._end is None:
                self._paused = False
                self.transport.resumeProducing()
            return data
        assert self._end is not None
        if self._end.check(ResponseDone, PotentialDataLoss):
            return b""
        raise Cut(type(self._end.value).__name__)

    def stop(self) -> None:
        """Nobody reads on."""
        if self._end is None and self.transport is not None:
            self.transport.loseConnection()
        self._end = self._end or Failure(Cut("stopped"))
        self._wake()


class _Connection(ProtocolWrapper):
    """A connection that takes a head of some length only, and ends at once when it is to end."""

    _taken = 0

    def dataReceived(self, data: bytes) -> None:
        """Something of a reply."""
        self._taken += len(data)
        if self._taken > LONGEST_HEAD and not self.factory.answered:
            self.abortConnection()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    def loseConnection(self) -> None:
        """A client that waited for the other side's goodbye would wait for as long as that side likes."""
        self.abortConnection()


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, endpoint: IStreamClientEndpoint, exchange: Exchange) -> None:
        self._endpoint, self._exchange = endpoint, exchange

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See IStreamClientEndpoint."""
        wrapping: Any = WrappingFactory(protocolFactory)
        wrapping.protocol = _Connection
        wrapping.noisy = False
        wrapping.answered = False
        self._exchange.wrapping = wrapping
        connected: Deferred[Any] = self._endpoint.connect(wrapping)
        return connected.addCallback(lambda wrapper: wrapper.wrappedProtocol)


@implementer(IAgentEndpointFactory)
class Exchange:
    """Sends one request, over a connection of its own that verifies whom it talks to.

    :param trust_root: whose certificates are believed, an IOpenSSLTrustRoot; those that the system trusts by default.
    :param connect: another way to hosts.
    """

    def __init__(self, reactor: Any, trust_root: Any = None, connect: Connect | None = None) -> None:
        self.wrapping: Any = None
        self._reactor = reactor
        self._connect = connect or (lambda uri: HostnameEndpoint(reactor, uri.host, uri.port))
        self._policy = BrowserLikePolicyForHTTPS(trust_root or platformTrust())

    def endpointForURI(self, uri: URI) -> _Endpoint:
        """See IAgentEndpointFactory."""
        endpoint = self._connect(uri)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Endpoint(endpoint, self)

    async def get(self, url: str, headers: Any) -> Any:
        """The reply, whose body is still to be delivered; nothing is followed, kept or unpacked."""
        client: HTTPClient = UpstreamClient(Agent.usingEndpointFactory(self._reactor, self))
        response = await client.request("GET", url, headers=headers)
        self.wrapping.answered = True
        return response
