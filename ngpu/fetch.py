"""Small requests to services outside the fleet, over treq with Twisted's own agent, which verifies certificates."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

from treq.client import HTTPClient
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import platformTrust
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from ngpu.errors import FetchFailed, NgpuError, PayloadTooLarge
from ngpu.interfaces import Fetched, FetchRequest, IFetcher
from ngpu.upstream.client import UpstreamClient

KEPT_PER_HOST, KEPT_FOR = 4, 15
"""Connections that rest for the next request, to one host, and for how many seconds."""

LONGEST_HEAD = 256 * 1024
"""Bytes of a reply's head and of its body's framing; Twisted's client itself reads any number of fields."""


MOST = 1 << 20
"""Bytes of the longest body."""

MOST_DROPPED, DROPPED_WITHIN = 64 * 1024, 1.0
"""Bytes of a body that nobody wants which are taken all the same, and for how many seconds."""

Connect = Callable[[URI], IStreamClientEndpoint]
"""How the host of a URI is reached, without TLS."""


@implementer(IFetcher)
class Fetcher:
    """Fetches over a treq client that follows, decodes and keeps nothing (see ``ngpu.upstream.client``).

    :param connections: the pool of the client's agent, emptied by ``close``.
    """

    def __init__(self, client: HTTPClient, connections: HTTPConnectionPool, clock: IReactorTime) -> None:
        self._client = client
        self._connections = connections
        self._clock = clock
        self._calls: set[Deferred[Fetched]] = set()

    async def fetch(self, request: FetchRequest, timeout: float, limit: int = MOST) -> Fetched:
        """See `IFetcher.fetch`; no limit is above ``MOST``."""
        return await self._timed(self._exchange(request, limit), timeout)

    async def tell(self, request: FetchRequest, timeout: float) -> Fetched:
        """The same where only the reply's head counts: its body is dropped, and need not be whole."""
        return await self._timed(self._tell(request), timeout)

    async def _timed(self, work: Coroutine[Deferred[Any], Any, Fetched], timeout: float) -> Fetched:
        call = Deferred.fromCoroutine(work)
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            call.cancel()

        self._calls.add(call)
        timer = self._clock.callLater(timeout, expire)
        try:
            return await call
        except PayloadTooLarge:
            raise
        except Exception as error:  # whatever a client raises means that there was no reply
            if expired:
                raise FetchFailed(f"no whole reply within {timeout:g} s") from None
            if CancelledError in map(type, _reasons(error)):
                raise CancelledError from None
            raise FetchFailed(_told(error)) from None
        finally:
            self._calls.discard(call)
            if timer.active():
                timer.cancel()

    async def _exchange(self, request: FetchRequest, limit: int) -> Fetched:
        response = await self._send(request)
        body = _Body(limit)
        response.deliverBody(body)
        return self._fetched(response, await body.whole)

    async def _tell(self, request: FetchRequest) -> Fetched:
        response = await self._send(request)
        body = _Body(MOST_DROPPED)
        response.deliverBody(body)
        dropped = body.whole.addTimeout(DROPPED_WITHIN, self._clock)
        with suppress(
            PayloadTooLarge, defer.TimeoutError, ResponseFailed
        ):  # the other side sees its reply taken, if it can
            await dropped
        return self._fetched(response, b"")

    async def _send(self, request: FetchRequest) -> Any:
        headers = Headers({"User-Agent": ["ngpu"], "Accept-Encoding": ["identity"]})
        for name, value in request.headers:
            headers.setRawHeaders(name, [value])
        return await self._client.request(
            request.method, request.url, headers=headers, data=request.body or None, allow_redirects=False
        )

    def _fetched(self, response: Any, body: bytes) -> Fetched:
        after = response.headers.getRawHeaders("Retry-After", [""])[-1]
        return Fetched(response.code, body, retry_after(after, self._clock.seconds()))

    def close(self) -> Deferred[None]:
        """Abort what is under way, and close the connections that rest."""
        for call in list(self._calls):
            call.cancel()
        closed: Deferred[None] = self._connections.closeCachedConnections()
        return closed


class _Body(Protocol):
    """Collects a body up to a limit; what comes after is not waited for."""

    transport: Any

    def __init__(self, limit: int) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._limit = limit
        self._data = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """Some of the body."""
        if self.whole.called:
            return
        self._data += data
        if len(self._data) > self._limit:
            self.whole.errback(PayloadTooLarge(f"the reply is longer than {self._limit} bytes"))
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body's end, or the connection's before it."""
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(bytes(self._data))
        else:
            self.whole.errback(reason)

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class _Connection(ProtocolWrapper):
    """A connection that ends at once when it is to end, and takes only so much for each request.

    A client that waited for the other side's goodbye would wait for as long as that side likes.
    """

    _taken = 0

    def write(self, data: bytes) -> None:
        """Send something of a request."""
        self._taken = 0
        super().write(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, data: Any) -> None:
        """Send something of a request."""
        self._taken = 0
        super().writeSequence(data)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        """Something of a reply."""
        self._taken += len(data)
        if self._taken > MOST + LONGEST_HEAD:
            self.abortConnection()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    def loseConnection(self) -> None:
        """See the class."""
        self.abortConnection()


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """An endpoint whose connections are `_Connection`s."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See IStreamClientEndpoint."""
        quiet: Any = protocolFactory
        quiet.noisy = False
        wrapping: Any = WrappingFactory(protocolFactory)
        wrapping.protocol = _Connection
        wrapping.noisy = False
        connected: Deferred[Any] = self._endpoint.connect(wrapping)
        return connected.addCallback(lambda wrapper: wrapper.wrappedProtocol)


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Where requests go; over TLS, to nobody whose certificate does not hold."""

    def __init__(self, connect: Connect, policy: IPolicyForHTTPS) -> None:
        self._connect = connect
        self._policy = policy

    def endpointForURI(self, uri: URI) -> _Endpoint:
        """See IAgentEndpointFactory."""
        endpoint = self._connect(uri)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        elif uri.scheme != b"http":
            raise ValueError("neither http nor https")
        return _Endpoint(endpoint)


def retry_after(text: str, now: float) -> float | None:
    """Seconds of a Retry-After field, which holds seconds or a date (RFC 9110 §10.2.3); ``None`` for anything else."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - now, 0.0)
    except (ValueError, OverflowError, TypeError):
        return None


def _told(error: Exception) -> str:
    """What went wrong, for the log: no bytes of the other side's."""
    if isinstance(error, NgpuError):
        return str(error)
    if isinstance(error, DNSLookupError):
        return "its name cannot be resolved"
    if isinstance(error, ConnectError):
        return f"no connection: {type(error).__name__}"
    return ", ".join(type(each).__name__ for each in _reasons(error))


def _reasons(error: BaseException) -> list[BaseException]:
    """What Twisted's client wraps in its own errors, else the error itself."""
    reasons = (reason.value for reason in getattr(error, "reasons", ()) if isinstance(reason, Failure))
    return [reason for reason in reasons if reason is not None] or [error]


def make_fetcher(reactor: Any, trust_root: Any = None, connect: Connect | None = None) -> Fetcher:
    """A fetcher with connections of its own; nothing is opened before it is used.

    :param trust_root: whose certificates are believed, an IOpenSSLTrustRoot; those that the system trusts by default.
    :param connect: another way to hosts; then each request has a connection of its own.
    """
    connections = HTTPConnectionPool(reactor, persistent=connect is None)
    connections.maxPersistentPerHost = KEPT_PER_HOST
    connections.cachedConnectionTimeout = KEPT_FOR
    policy = BrowserLikePolicyForHTTPS(trust_root or platformTrust())
    endpoints = _Endpoints(connect or (lambda uri: HostnameEndpoint(reactor, uri.host, uri.port)), policy)
    agent = Agent.usingEndpointFactory(reactor, endpoints, connections)
    return Fetcher(UpstreamClient(agent), connections, reactor)
