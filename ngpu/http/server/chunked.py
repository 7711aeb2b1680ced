"""The chunked coding of a request's body (RFC 9112 §7.1): bytes in, body out, no I/O.

Written here because llhttp's Python binding does not say where a body has ended, and the bytes behind it belong to a
request that must not be looked at yet.
"""

from __future__ import annotations

import re

from ngpu.http.server.head import check_trailer
from ngpu.http.server.limits import Limits
from ngpu.http.server.refusal import Refused

# extensions are skipped but must be what RFC 9112 §7.1.1 says, less the white space that it calls bad
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*)")
_LINE = 256
"""The longest size line, with its extensions."""
_EXTENSIONS = 16 * 1024
"""All extensions of one body together: a body may not be mostly extensions."""


class ChunkedDecoder:
    """Takes a chunked body apart as it comes.

    ``ended`` turns true with the last byte of the trailers, which are checked and dropped.
    """

    def __init__(self, limits: Limits) -> None:
        self.ended = False
        self._limits = limits
        self._left = 0  # data bytes of the present chunk that have not come
        self._pending = b""  # the beginning of a line
        self._after_data = False  # the CRLF that ends a chunk comes next
        self._in_trailers = False
        self._extensions = 0
        self._trailer_size = 0
        self._trailer_count = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes from the connection.

        :returns: body bytes, and once the body has ended what came behind it.
        :raises Refused: 400, or 431 for trailers beyond the limits of a head.
        """
        out: list[bytes] = []
        position = 0
        while not self.ended:
            if self._left:
                piece = data[position : position + self._left]
                if not piece:
                    break
                out.append(piece)
                position += len(piece)
                self._left -= len(piece)
                self._after_data = self._left == 0
                continue
            end = data.find(b"\n", position)
            line = self._pending + data[position : end + 1 if end >= 0 else None]
            self._check_line_size(line)
            if end < 0:
                self._pending = line
                position = len(data)
                break
            self._pending = b""
            position = end + 1
            if line[-2:] != b"\r\n":
                raise Refused(400, "Lines of a chunked body must end with CR LF.")
            self._take_line(line[:-2])
        return b"".join(out), data[position:]

    def _check_line_size(self, line: bytes) -> None:
        if self._after_data:
            if not b"\r\n".startswith(line):
                raise Refused(400, "A chunk is longer than its size says.")
        elif self._in_trailers:
            if self._trailer_size + len(line) > self._limits.head_size:
                raise Refused(431, "The trailers are too long.")
        elif len(line) > _LINE:
            raise Refused(400, f"A chunk's size line is longer than {_LINE} bytes.")
        elif line[:1] and line[:1] not in b"0123456789abcdefABCDEF":
            raise Refused(400, "A chunk's size is not a hexadecimal number.")

    def _take_line(self, line: bytes) -> None:
        if self._after_data:
            self._after_data = False
        elif self._in_trailers:
            self._take_trailer(line)
        else:
            self._take_size(line)

    def _take_size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise Refused(400, "A chunk's size is not a hexadecimal number of at most 15 digits.")
        self._extensions += len(match[2])
        if self._extensions > _EXTENSIONS:
            raise Refused(400, "The chunk extensions are too long.")
        self._left = int(match[1], 16)
        self._in_trailers = self._left == 0

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.ended = True
            return
        self._trailer_size += len(line) + 2
        self._trailer_count += 1
        if self._trailer_count > self._limits.header_count:
            raise Refused(431, "There are too many trailers.")
        check_trailer(line)
