"""A reply whose head has arrived, and whose body is on its way."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES
from twisted.web.iweb import UNKNOWN_LENGTH, IClientRequest, IResponse
from zope.interface import implementer

from ngpu.relay import Begin
from ngpu.upstream.headers import Fields


class Source(Protocol):
    """Where a body comes from."""

    def pause(self) -> None:
        """Bring no more of it for now."""

    def resume(self) -> None:
        """Bring more."""

    def abort(self) -> None:
        """The rest is not wanted: close the connection."""

    def relay(self, begin: Begin) -> bool:
        """Let the rest of the body pass by; false where it has to come as it did."""


@implementer(IResponse, IPushProducer)
class Response:
    """A reply. Its body goes to the protocol given to ``deliverBody``, whose transport is this object.

    That protocol's ``connectionLost`` is told ``ResponseDone`` at the body's end, ``PotentialDataLoss`` where the
    connection's end was the body's, or else what broke: an ``UpstreamError``, or the error of the request's own body.
    The reason phrase of the wire carries nothing (RFC 9110 §15.1) and is not kept.

    :param source: what is paused when the reader of the body is slow; let go of once the body has ended.
    """

    version = (b"HTTP", 1, 1)
    previousResponse: IResponse | None = None

    def __init__(self, source: Source, code: int, headers: Fields, length: int | None) -> None:
        self.code = code
        self.headers = headers
        self.length: Any = UNKNOWN_LENGTH if length is None else length
        self.request: IClientRequest | None = None
        self._source: Source | None = source
        self._protocol: IProtocol | None = None
        self._delivered = False
        self._paused = False
        self._stopped = False
        self._held: list[bytes] = []
        self._end: Failure | None = None

    @property
    def phrase(self) -> bytes:
        """The status code's usual phrase."""
        return RESPONSES.get(self.code, b"")

    @property
    def whole(self) -> bool:
        """Whether all of it is here, though perhaps not delivered."""
        return self._source is None

    def setPreviousResponse(self, response: IResponse) -> None:
        """Remember what led here."""
        self.previousResponse = response

    def deliverBody(self, protocol: IProtocol) -> None:
        """Begin to give the body to ``protocol``; once only."""
        if self._delivered:
            raise RuntimeError("the body of this reply is already being delivered")
        self._protocol, self._delivered = protocol, True
        protocol.makeConnection(self)  # type: ignore[arg-type]  # a producer that can be aborted, as Twisted's own is
        if not self._paused:
            self.resumeProducing()

    def take(self) -> bytes:
        """The body of a reply that is here whole, in place of ``deliverBody``."""
        self._delivered = True
        held = self._held
        return held[0] if len(held) == 1 else b"".join(held)

    def push(self, data: bytes) -> None:
        """Some more of the body, from the connection."""
        if self._stopped:
            return
        if self._protocol is None or self._paused:
            self._held.append(data)
            if self._source is not None:
                self._source.pause()
        else:
            self._protocol.dataReceived(data)

    def release(self) -> None:
        """The connection is no longer this reply's: another may already be on it."""
        self._source = None

    def end(self, reason: Failure) -> None:
        """Nothing more comes, from the connection."""
        self._source = None
        self._end = reason
        self._flush()

    def pauseProducing(self) -> None:
        """Deliver no more for now."""
        self._paused = True
        if self._source is not None:
            self._source.pause()

    def resumeProducing(self) -> None:
        """Deliver again."""
        self._paused = False
        self._flush()
        if self._source is not None and not self._paused:
            self._source.resume()

    def relay(self, begin: Begin) -> bool:
        """Let what has not come of the body pass by; its end is told as ever. False: that cannot be, now or later."""
        return self._source is None or bool(self._held) or self._paused or self._source.relay(begin)

    def stopProducing(self) -> None:
        """Deliver no more of the body, and close the connection if it still belongs to this reply.

        Its end is told later, never from within this call.
        """
        self._stopped = True
        self._paused = False
        self._held.clear()
        if self._source is not None:
            self._source.abort()

    loseConnection = stopProducing
    abortConnection = stopProducing

    def _flush(self) -> None:
        """Deliver what was held, as long as nobody pauses."""
        if self._protocol is None:
            return
        while self._held and not self._paused:
            self._protocol.dataReceived(self._held.pop(0))
        if self._end is not None and not self._paused:
            end, self._end = self._end, None
            protocol, self._protocol = self._protocol, None  # which leads back here, and is not needed any more
            protocol.connectionLost(end)
