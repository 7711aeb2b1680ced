"""The way out of one stream: what was written and waits for the client's windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from h2.errors import ErrorCodes

from ngpu.http.server.h2.frames import Frames

_FRAME = 16 * 1024
"""The most that one stream sends before another has its turn."""

ENOUGH = 64 * 1024
"""Bytes that wait while whoever writes them is paused: of each stream, so there may be a hundred times as many."""


class Pipe:
    """What `Outgoing` takes for a transport; bytes leave it in frames, when the connection calls `send`.

    ``dataBuffer`` is what waits, under the name of Twisted's transports; ``offset`` counts what has left.

    :param wake: called when there may be something to send.
    """

    def __init__(self, number: int, wake: Callable[[], None]) -> None:
        self.dataBuffer = bytearray()
        self.offset = 0
        self.ended = False
        self._number = number
        self._wake = wake
        self._last = False
        self._broken: ErrorCodes | None = None
        self._producer: Any = None
        self._paused = False

    def write(self, data: bytes) -> None:
        """Send these bytes after those that wait."""
        self.dataBuffer += data
        if len(self.dataBuffer) >= ENOUGH and not self._paused and self._producer is not None:
            self._paused = True
            self._producer.pauseProducing()
        self._wake()

    def bare(self) -> None:
        """The head, which is sent, was all."""
        self.ended = True

    def loseConnection(self) -> None:
        """End the stream once all is sent."""
        self._last = True
        self._wake()

    def abortConnection(self) -> None:
        """End the stream now, as broken."""
        self.break_off(ErrorCodes.CANCEL)
        self.dataBuffer.clear()
        self._wake()

    def break_off(self, code: ErrorCodes) -> None:
        """End it with that code, in place of a proper end, once all is sent."""
        if self._broken is None:
            self._broken = code

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `ITransport`."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """See `ITransport`."""
        self._producer = None

    def send(self, frames: Frames) -> bool:
        """Hand one frame over, where there is something that may be sent.

        :returns: whether one more may be there.
        """
        if self.ended:
            return False
        if not self.dataBuffer:
            self._end(frames)
            return False
        room = min(frames.local_flow_control_window(self._number), frames.max_outbound_frame_size, _FRAME)
        if room <= 0:
            return False
        piece = bytes(memoryview(self.dataBuffer)[:room])
        del self.dataBuffer[:room]
        self.offset += len(piece)
        whole = self._last and self._broken is None and not self.dataBuffer
        frames.send_data(self._number, piece, end_stream=whole)
        self.ended = whole
        if self._paused and not self.dataBuffer:
            self._paused = False
            if self._producer is not None:
                self._producer.resumeProducing()
        return not self.ended

    def _end(self, frames: Frames) -> None:
        if self._broken is not None:
            frames.reset_stream(self._number, self._broken)
        elif self._last:
            frames.end_stream(self._number)
        else:
            return
        self.ended = True

    @property
    def broken(self) -> bool:
        """Whether it ends without its end."""
        return self._broken is not None
