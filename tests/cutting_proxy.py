"""A TCP proxy that cuts connections where it hurts: before a request, before its reply, or with it held back."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

BEFORE, AFTER, LATE = "before", "after", "late"
"""What becomes of the next request: it is lost; its reply is lost; it arrives after everybody has given it up."""


class CuttingProxy:
    """Passes everything on to a port of this machine, until it is told otherwise.

    :ivar plan: what becomes of the next requests that are mentioned by one of ``words``, in order.
    :ivar cuts: how often it has cut a connection.
    """

    words = (b"EVALSHA", b"EVAL")

    def __init__(self, reactor: Any, port: int) -> None:
        self.plan: list[str] = []
        self.cuts = 0
        self.port = 0
        self._reactor = reactor
        self._there = HostnameEndpoint(reactor, "127.0.0.1", port)
        self._listening: Any = None
        self._held: list[tuple[_Far, bytes]] = []
        self._pairs: set[_Near] = set()

    async def start(self) -> None:
        factory = Factory.forProtocol(_Near)
        factory.proxy = self  # type: ignore[attr-defined]
        self._listening = await TCP4ServerEndpoint(self._reactor, 0, interface="127.0.0.1").listen(factory)
        self.port = self._listening.getHost().port

    async def stop(self) -> None:
        """Close everything and wait until it is closed."""
        await self._listening.stopListening()
        for near in tuple(self._pairs):
            near.cut()
        self.deliver()
        for far, _ in self._held:
            far.transport.abortConnection()

    def deliver(self) -> int:
        """Let the requests arrive that were held back.

        :returns: how many.
        """
        held, self._held = self._held, []
        for far, data in held:
            far.transport.write(data)
            far.transport.loseConnection()
        return len(held)


class _Near(Protocol):
    """The side of the client."""

    factory: Any

    def connectionMade(self) -> None:
        self.proxy: CuttingProxy = self.factory.proxy
        self.proxy._pairs.add(self)
        self.far: _Far | None = None
        self.lose_reply = False
        self._early = b""
        factory = Factory.forProtocol(_Far)
        connecting: Deferred[Any] = self.proxy._there.connect(factory)
        connecting.addCallbacks(self._connected, lambda failure: self.transport.abortConnection())

    def _connected(self, far: _Far) -> None:
        self.far, far.near = far, self
        early, self._early = self._early, b""
        if self not in self.proxy._pairs:
            far.transport.loseConnection()
        elif early:
            self.dataReceived(early)

    def dataReceived(self, data: bytes) -> None:
        if self.far is None:
            self._early += data
            return
        what = ""
        if self.proxy.plan and any(word in data for word in self.proxy.words):
            what = self.proxy.plan.pop(0)
        if what == LATE:
            far, self.far = self.far, None
            far.near = None
            self.proxy._held.append((far, data))
        elif what != BEFORE:
            self.far.transport.write(data)
        self.lose_reply = self.lose_reply or what == AFTER
        if what in (BEFORE, LATE):
            self.cut()

    def cut(self) -> None:
        self.proxy.cuts += 1
        self.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.proxy._pairs.discard(self)
        if self.far is not None:
            self.far.near = None
            self.far.transport.loseConnection()


class _Far(Protocol):
    """The side of the server."""

    near: _Near | None = None

    def dataReceived(self, data: bytes) -> None:
        if self.near is None:
            return
        if self.near.lose_reply:
            self.near.cut()
        else:
            self.near.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        if self.near is not None:
            self.near.transport.loseConnection()
