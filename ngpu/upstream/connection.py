"""One connection to a replica, and one exchange on it at a time."""

from __future__ import annotations

import os
import socket
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.protocol import Protocol as TransportProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse

from ngpu.errors import BadReply, CallCut, DialFailed
from ngpu.reads import size_next
from ngpu.relay import Begin, Relay
from ngpu.upstream.headers import Fields
from ngpu.upstream.origin import Origin
from ngpu.upstream.reader import SWITCHED, ReplyReader
from ngpu.upstream.response import Response
from ngpu.upstream.upload import Upload

DONE = Failure(ResponseDone())
"""How a reply ends that is whole."""

_CLOSED = Failure(PotentialDataLoss())


class Keeper(Protocol):
    """Who is told what becomes of a connection; the pool."""

    def opened(self, connection: Connection) -> None:
        """It is connected."""

    def rested(self, connection: Connection) -> None:
        """Its exchange has ended and it can take another."""

    def closed(self, connection: Connection) -> None:
        """It is gone."""


class Connection(TransportProtocol):
    """A plain TCP connection to a replica.

    :param origin: whom it leads to.
    :ivar rested_at: for the keeper, when the connection last came back to it.
    """

    transport: Any
    rested_at = 0.0

    def __init__(self, origin: Origin, keeper: Keeper) -> None:
        self.origin = origin
        self._keeper = keeper
        self._usable = True
        self._switches = False
        self._reader: ReplyReader | None = None
        self._waiting: Deferred[IResponse] | None = None
        self._response: Response | None = None
        self._upload: Upload | None = None
        self._relay: Relay | None = None

    def exchange(
        self, head: bytes, producer: IBodyProducer | None, head_only: bool, switches: bool = False
    ) -> Deferred[IResponse]:
        """Send a request; fires once the head of its final reply has arrived.

        :param head: the head, with the whole body after it where there is no ``producer``.
        :param head_only: the request is a HEAD.
        :param switches: it asks for a WebSocket; the end of its body then closes the connection.
        :raises DialFailed: from this call itself, when the connection is dead and the kernel took no byte.
        """
        taken = self._offer(head)
        self._reader = ReplyReader(head_only, switches)
        self._switches = switches
        waiting: Deferred[IResponse] = Deferred(self._cancelled)
        self._waiting = waiting
        if taken < len(head) or producer is not None:
            chunked = producer is not None and producer.length is UNKNOWN_LENGTH and not switches
            self._upload = Upload(self.transport, producer, self._upload_sent, self._read_the_rest, self._fail, chunked)
            self._upload.start(head[taken:])
        return waiting

    def fresh(self) -> bool:
        """Whether a resting connection can be used: still open, with nothing unasked in its buffer.

        The reactor has not yet told us what arrived since its last turn; the kernel knows.
        """
        if not self._usable:
            return False
        try:
            self.transport.getHandle().recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # b"" is the end of it, anything else was not asked for

    def close(self) -> None:
        """Close a connection that is at rest."""
        self._usable = False
        self.transport.loseConnection()

    def abort(self) -> None:
        """Reset the connection at once; whoever waits for its reply learns it from ``connectionLost``."""
        self._usable = False
        if self._relay is not None:
            self._relay.stop()
        self.transport.abortConnection()

    def relay(self, begin: Begin) -> bool:
        """Let the rest of the reply's body pass by, where its length is known; see `ngpu.relay`."""
        reader = self._reader
        if reader is None or reader.length is None or self._upload is not None:
            return False
        self._relay = begin(self.transport, reader.length - reader.received, self._relayed)
        return self._relay is not None

    def pause(self) -> None:
        """Take no more of the reply from the kernel."""
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Take more of it."""
        self.transport.resumeProducing()

    def connectionMade(self) -> None:
        """Twisted: connected."""
        self.transport.setTcpNoDelay(True)
        self._keeper.opened(self)

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes of the reply."""
        reader = self._reader
        if reader is None:
            self.abort()  # nobody asked; to read it as the reply to the next request would be response splitting
            return
        try:
            body = reader.feed(data)
        except BadReply as error:
            self._fail(Failure(BadReply(f"the replica at {self.origin} {error}")))
            return
        if reader.status:
            if not reader.complete:
                size_next(self.transport, len(data))
            self._reply(reader, body)
        elif reader.continued and self._upload is not None:
            self._upload.go_on()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the connection is gone."""
        self._usable = False
        self._keeper.closed(self)
        reader = self._reader
        if reader is None:
            return
        if reader.until_close and reason.check(ConnectionDone):
            self._end(_CLOSED)
        else:
            self._end(Failure(CallCut(f"the replica at {self.origin} {_how_it_broke(reader, reason)}")))

    def _relayed(self, relay: Relay) -> None:
        """The rest of the body has passed by, or does so no longer."""
        self._relay = None
        reader, response = self._reader, self._response
        if relay.stopped or reader is None or response is None:
            return
        reader.passed(relay.taken)
        if reader.complete:
            self._finish(reader, response)
            response.end(DONE)

    def _cancelled(self, _: object) -> None:
        self._waiting = None
        self.abort()

    def _offer(self, head: bytes) -> int:
        """Hand the head to the kernel right now; how many bytes of it were taken.

        Through the transport it would leave a turn of the reactor later, and if the connection turned out to be closed
        by then, nobody could tell whether any byte had left.
        """
        try:
            taken: int = self.transport.getHandle().send(head)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.abort()
            cause = os.strerror(error.errno).lower() if error.errno else "closed"
            raise DialFailed(f"the replica at {self.origin} closed the connection unasked ({cause})") from None
        return taken

    def _reply(self, reader: ReplyReader, body: bytes) -> None:
        """Pass on what is there of a reply whose head is complete."""
        response = self._response
        if response is None:
            response = self._response = Response(self, reader.status, Fields(reader.fields), reader.length)
        waiting, self._waiting = self._waiting, None
        if self._switches and reader.status != SWITCHED and self._upload is not None:
            self._upload.stop()  # there is no WebSocket, and nothing else was to be sent
            self._upload = None
        if reader.complete:
            self._finish(reader, response)
        elif self._upload is not None and reader.status >= 300:
            self._upload.stop()  # it does not want the rest (RFC 9112 §9.3); what it left unread keeps us from reuse
        if waiting is None or reader.complete:  # whoever waited for a reply that is there whole gets it whole
            if body:
                response.push(body)
            if reader.complete:
                response.end(DONE)
            body = b""
        if waiting is not None:
            waiting.callback(response)
            if body:
                response.push(body)

    def _finish(self, reader: ReplyReader, response: Response) -> None:
        """The reply is complete: rest, or close. Whoever gets the reply may already use the connection again."""
        response.release()
        unsent = self._detach()
        if unsent:
            self.abort()
        elif reader.persistent:
            self._keeper.rested(self)
        else:
            self.close()

    def _fail(self, failure: Failure) -> None:
        """The exchange cannot go on."""
        self.abort()
        self._end(failure)

    def _end(self, reason: Failure) -> None:
        """Tell whoever waits, for the head or for the body, how it ended."""
        waiting, response = self._waiting, self._response
        self._detach()
        if waiting is not None:
            waiting.errback(reason)
        elif response is not None:
            response.end(reason)

    def _detach(self) -> bool:
        """Forget the exchange; whether some of the request had not left."""
        unsent = self._upload is not None
        if self._relay is not None:
            self._relay.stop()
        if self._upload is not None:
            self._upload.stop()
        self._reader = self._waiting = self._response = self._upload = None
        return unsent

    def _read_the_rest(self) -> None:
        """Writing failed: the replica may have answered before it closed (413, 503), and Twisted would not look."""
        handle = self.transport.getHandle()
        while self._usable and self._reader is not None:
            try:
                data = handle.recv(64 * 1024)
            except OSError:
                return
            if not data:
                return
            self.dataReceived(data)

    def _upload_sent(self) -> None:
        self._upload = None
        if self._switches:
            self.close()


def _how_it_broke(reader: ReplyReader, reason: Failure) -> str:
    """A clause about a connection that ended before the reply did."""
    when = "in the middle of its reply" if reader.began else "before it answered"
    if reason.check(ConnectionAborted):
        return f"was cut off by the gateway {when}"
    how = "closed" if reason.check(ConnectionDone) else "reset"
    return f"{how} the connection {when}"
