"""The transport's side of a connection: addresses, TLS, and the way out."""

from __future__ import annotations

import select
from typing import Any

from twisted.internet.interfaces import IHandshakeListener, IReactorTime, ISSLTransport, ITCPTransport
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from ngpu.http.server.outgoing import Outgoing
from ngpu.http.server.phase import Phase


@implementer(IHandshakeListener)
class Connection(Protocol):
    """What twisted.web's Request asks of its channel that has nothing to do with HTTP.

    ``peer_ip`` is the other end's address, "" where it has none (a Unix socket).
    """

    transport: Any
    site: Any
    phase: Phase
    peer_ip = ""

    def check(self, now: float) -> None:
        """Act on the times that have run out; the site calls it every ``Limits.tick`` seconds."""
        raise NotImplementedError

    def close_if_idle(self) -> None:
        """Close unless a request is being served or has begun to come."""
        raise NotImplementedError

    def retire(self) -> None:
        """The site is draining."""

    def abortConnection(self) -> None:
        """Cut the connection off now."""
        raise NotImplementedError

    def handshakeCompleted(self) -> None:
        """TLS is there, and with it what the two ends have agreed to speak."""
        self.site.agreed(self, self.transport.negotiatedProtocol)

    def open(self, clock: IReactorTime, write_timeout: float) -> None:
        """Take hold of the transport."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self._host, self._peer = self.transport.getHost(), self.transport.getPeer()
        self._secure = bool(ISSLTransport.providedBy(self.transport))
        self.peer_ip = getattr(self._peer, "host", "")
        self._out = Outgoing(self.transport, clock, write_timeout, self.drained)

    def drained(self) -> None:
        """All that was written is taken, after it was not."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Send bytes of a reply."""
        self._out.write(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See ``Outgoing.register``."""
        self._out.register(producer, streaming)

    def unregisterProducer(self) -> None:
        """See ``Outgoing.unregister``."""
        self._out.unregister()

    def peer_left(self, half: bool) -> bool:
        """Whether the other end has gone, which a connection that is not being read does not tell by itself.

        :param half: count a peer that sends no more as gone.
        """
        fileno = getattr(self.transport, "fileno", None)
        if fileno is None or fileno() < 0:
            return False
        poll = select.poll()
        poll.register(fileno(), getattr(select, "POLLRDHUP", 0) if half else 0)
        return bool(poll.poll(0))

    def getPeer(self) -> Any:
        """The address of the other end."""
        return self._peer

    def getHost(self) -> Any:
        """The address of this end."""
        return self._host

    def isSecure(self) -> bool:
        """Whether the connection is TLS."""
        return self._secure
