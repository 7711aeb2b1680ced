"""The bodies that clients send, while they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from twisted.internet.defer import Deferred

from ngpu.errors import CallCut, PayloadTooLarge
from ngpu.model import CHUNK, BytesBody
from ngpu.relay import Over, Relay
from ngpu.upstream.upload import RelayBody

Pieces = Callable[[], AsyncIterator[bytes]]


class ReadBody(BytesBody):
    """A body that has come already, all of it."""

    replayable = True


class SentBody:
    """A body that is read once from its client. As long as it is short it is kept, and can be read again.

    :param length: its Content-Length, ``None`` where it has none.
    :param pieces: what comes from the client; each time it is asked, what was not taken yet.
    :param limit: bytes that it may have; 0 for any number.
    :param relay: lets the rest of one with a ``length``, which is known to be within ``limit``, pass by.
    """

    def __init__(
        self, length: int | None, pieces: Pieces, limit: int = 0, relay: RelayBody = lambda sink, over: None
    ) -> None:
        self.length = length
        self._pieces = pieces
        self._relay = relay
        self._limit = limit
        self._taken = 0
        self._kept: list[bytes] | None = []

    @property
    def replayable(self) -> bool:
        """Whether it can be read from the start: no more than `ngpu.model.CHUNK` bytes were taken."""
        return self._kept is not None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes.

        :raises PayloadTooLarge: there are more than there may be.
        :raises CallCut: it cannot be read from the start any more.
        """
        if self._kept is None:
            raise CallCut("the request's body was sent already, and is too long to have been kept")
        for piece in tuple(self._kept):
            yield piece
        async with aclosing(self._pieces()) as pieces:  # type: ignore[type-var]  # a generator, which has aclose
            async for piece in pieces:
                self._take(piece)
                yield piece

    def relay(self, sink: Any, over: Over) -> Relay | None:
        """Let the rest pass by into a transport, once it cannot be read again; see `ngpu.relay.relay_between`."""
        return None if self._kept is not None or self.length is None else self._relay(sink, over)

    def _take(self, piece: bytes) -> None:
        self._taken += len(piece)
        if self._limit and self._taken > self._limit:
            raise PayloadTooLarge(f"The body has more than the {self._limit} bytes that are allowed: send less.")
        if self._taken > CHUNK:
            self._kept = None
        elif self._kept is not None:
            self._kept.append(piece)


class TunnelBody:
    """What a client sends through a WebSocket: nothing before it is open.

    :param pieces: what comes from the client from then on.
    """

    length = None
    replayable = True
    """There is nothing to send before the replica has answered, and no second try after that."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._opened: Deferred[None] = Deferred()

    def open(self) -> None:
        """The replica has switched."""
        self._opened.callback(None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, as they come."""
        opened: Deferred[None] = Deferred()
        self._opened.chainDeferred(opened)
        await opened
        async with aclosing(self._pieces()) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                yield piece
