"""Bytes between the reactor and a thread, in either direction, a few pieces at a time."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ngpu.errors import EngineUnreachable

AHEAD = 8
"""Pieces that a reader may be behind."""


class SourceEnded(Exception):
    """Reading an archive failed, or was given up: what was begun with it must break off."""


class Pieces:
    """An asynchronous source, read by a thread: each piece is asked for when the one before it was taken.

    :param reactor: IReactorFromThreads.
    :ivar taken: bytes so far.
    :ivar failure: what the source raised.
    """

    def __init__(self, reactor: Any, source: AsyncIterator[bytes]) -> None:
        self.taken = 0
        self.failure: Failure | None = None
        self.ended = False
        self._reactor, self._source = reactor, source
        self._asked: Deferred[bytes] | None = None
        self._given_up = False
        self._box: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[bytes]:
        """In the thread.

        :raises SourceEnded: the source raised, or ``give_up`` was called.
        """
        while True:
            self._reactor.callFromThread(self._ask)
            piece = self._box.get()
            if piece is None:
                raise SourceEnded
            if not piece:
                self.ended = True
                return
            self.taken += len(piece)
            yield piece

    def give_up(self) -> None:
        """On the reactor's thread: the thread is to break off."""
        self._given_up = True
        if self._asked is not None:
            self._asked.cancel()
        self._box.put(None)

    def _ask(self) -> None:
        if self._given_up:
            return
        self._asked = Deferred.fromCoroutine(self._next())
        self._asked.addCallbacks(self._box.put, self._failed)

    async def _next(self) -> bytes:
        async for piece in self._source:
            if piece:
                return bytes(piece)
        return b""

    def _failed(self, failure: Failure) -> None:
        if not self._given_up:
            self.failure = failure
            self._box.put(None)


class Feed:
    """What a thread brings, read asynchronously; the thread waits while the reader is ``AHEAD`` pieces behind.

    :param where: the engine that it comes from.
    """

    def __init__(self, reactor: Any, where: str) -> None:
        self._reactor, self._where = reactor, where
        self._room = threading.Semaphore(AHEAD)
        self._come: deque[bytes] = deque()
        self._closed = False
        self._end: Any = None
        self._reader: Deferred[None] | None = None
        self._timer: Any = None

    # ---- in the thread

    def take_all(self, pieces: Iterator[bytes]) -> None:
        """Bring everything, until the reader has closed it."""
        for piece in pieces:
            self._room.acquire()
            if self._closed:
                return
            self._reactor.callFromThread(self._arrived, piece)

    # ---- on the reactor's thread

    def watch(self, running: Deferred[None], within: float) -> None:
        """End with what brings the pieces.

        :param within: seconds for it to answer.
        """
        late = EngineUnreachable(f"the engine at {self._where} gave no answer within {within:g} s")
        self._timer = self._reactor.callLater(within, self._ended, Failure(late))
        running.addBoth(self._ended)

    def begun(self) -> None:
        """It has answered, and may take its time now."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True
        self._reader = None
        self.begun()
        self._room.release()

    def _arrived(self, piece: bytes) -> None:
        self._come.append(piece)
        self._wake()

    def _ended(self, result: Any) -> None:
        if self._end is None:
            self._end = result if isinstance(result, Failure) else True
        self.begun()
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.callback(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            if self._come:
                piece = self._come.popleft()
                self._room.release()
                yield piece
            elif self._end is not None:
                if isinstance(self._end, Failure):
                    self._end.raiseException()
                return
            else:
                self._reader = Deferred()
                await self._reader
