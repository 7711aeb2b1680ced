"""The bytes that came over one connection, in order: a head, its body, the next head."""

from __future__ import annotations

from ngpu.http.server.chunked import ChunkedDecoder
from ngpu.http.server.head import Head, find_head, parse_head
from ngpu.http.server.limits import Limits
from ngpu.http.server.target import RequestLines

_ENDLESS = 1 << 62


class Intake:
    """Takes heads and bodies off the front of what came; never looks beyond the request that it is at.

    ``buffer`` is what came and was not taken yet.
    """

    def __init__(self, limits: Limits, lines: RequestLines) -> None:
        self.buffer = b""
        self._limits = limits
        self._lines = lines
        self._scanned = 0  # bytes of the buffer that are known not to complete a head
        self._skipped_line = False
        self._decoder: ChunkedDecoder | None = None
        self._left = 0  # body bytes that have not come, of a body that is not chunked

    def add(self, data: bytes) -> None:
        """Keep these bytes for later."""
        self.buffer = self.buffer + data if self.buffer else data

    def skip_empty_line(self) -> None:
        """Drop an empty line before a head, once (RFC 9112 §2.2)."""
        if not self._skipped_line and self.buffer.startswith(b"\r\n"):
            self._skipped_line = True
            self.buffer = self.buffer[2:]
            self._scanned = 0

    def next_head(self) -> tuple[Head, int] | None:
        """The next head and how many bytes it had, or ``None`` when it is not complete; its body comes next.

        :raises Refused: what came is no head of a request that may be served.
        """
        size = find_head(self.buffer, self._scanned, self._limits, self._lines)
        if size < 0:
            self._scanned = len(self.buffer)
            return None
        head = parse_head(self.buffer[:size], self._limits, self._lines)
        self.buffer = self.buffer[size:]
        self._scanned = 0
        self._skipped_line = False
        self._decoder = ChunkedDecoder(self._limits) if head.length is None else None
        self._left = head.length or 0
        return head, size

    def without_end(self) -> None:
        """Whatever comes from now on is the present body's."""
        self._decoder = None
        self._left = _ENDLESS

    def passed(self, count: int) -> None:
        """So many bytes of the present body, which is not chunked, went another way."""
        self._left -= count

    def take_body(self, data: bytes) -> tuple[bytes, bool]:
        """Take bytes of the present body, which is not complete yet; what comes behind it is kept.

        :returns: the body's bytes, and whether they are its last.
        :raises Refused: its chunks break RFC 9112.
        """
        if self._decoder is not None:
            piece, self.buffer = self._decoder.feed(data)
            return piece, self._decoder.ended
        piece, self.buffer = (data, b"") if len(data) <= self._left else (data[: self._left], data[self._left :])
        self._left -= len(piece)
        return piece, self._left == 0
