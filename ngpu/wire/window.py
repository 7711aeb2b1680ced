"""A large JSON text, looked at through a window that moves over it once."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import NoReturn

from ngpu.errors import BadRequest
from ngpu.model import CHUNK
from ngpu.wire.envelope import no_text
from ngpu.wire.unescape import CHARACTERS, ESCAPE

MARGIN = 2048
"""Bytes that are in sight from where `Window.next` stops, unless the text ends: more than any number may have."""

Read = Callable[[int, int], bytes]
"""Reads up to so many bytes from an offset; none at the end."""

_SPACE = re.compile(rb"[ \t\n\r]*+")


class Window:
    """Where the reading is, and what is in sight there.

    :param piece: bytes that are brought in at a time.
    :ivar data: what is in sight.
    :ivar at: the place in ``data`` up to which all was read.
    """

    def __init__(self, read: Read, piece: int = CHUNK) -> None:
        self._read = read
        self._piece = piece
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._start = 0
        self._ended = False
        self.data = b""
        self.at = 0

    @property
    def place(self) -> int:
        """The offset up to which all was read."""
        return self._start + self.at

    def next(self) -> bytes:
        """Pass over space.

        :returns: the byte that follows, none at the end of the text.
        """
        while True:
            found = _SPACE.match(self.data, self.at)
            self.at = self.at if found is None else found.end()
            if len(self.data) - self.at >= MARGIN or not self._more():
                return self.data[self.at : self.at + 1]

    def expect(self, mark: bytes) -> None:
        """Pass over space and this mark.

        :raises BadRequest: something else stands there.
        """
        if self.next() != mark:
            self.refuse(f"Expecting '{mark.decode()}'")
        self.at += 1

    def string(self, take: Callable[[bytes], object] | None = None) -> None:
        """Pass over a string, whose opening quote is next.

        :param take: is given the characters between its quotes, in pieces that part no escape.
        :raises BadRequest: it is malformed, or has no end.
        """
        self.expect(b'"')
        while True:
            found = CHARACTERS.match(self.data, self.at)
            end = self.at if found is None else found.end()
            if take is not None and end > self.at:
                take(self.data[self.at : end])
            self.at = end
            mark = self.data[end : end + 1]
            if mark == b'"':
                self.at += 1
                return
            if mark and (mark != b"\\" or len(self.data) - end >= ESCAPE):
                self.refuse("Invalid escape" if mark == b"\\" else "Invalid control character in a string")
            if not self._more():
                self.refuse("Unterminated string" if not mark else "Invalid escape")

    def refuse(self, what: str) -> NoReturn:
        """:raises BadRequest: the text is not JSON, since ``what`` was found here."""
        raise BadRequest(f"the body is not JSON: {what} (byte {self.place})")

    def _more(self) -> bool:
        """Bring the next piece in sight; false at the end of the text."""
        if self._ended:
            return False
        offset = self._start + len(self.data)
        piece = self._read(offset, self._piece)
        try:
            self._decoder.decode(piece, not piece)
        except UnicodeDecodeError as error:
            place = offset + len(piece) - len(error.object) + error.start
            raise no_text(place) from None
        self._ended = not piece
        self._start += self.at
        self.data = self.data[self.at :] + piece
        self.at = 0
        return not self._ended
