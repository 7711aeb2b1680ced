"""Is a text that arrives in pieces one JSON document (RFC 8259)? Flat in memory, whatever its size."""

from __future__ import annotations

import codecs
import re
from collections.abc import Generator

import ijson

_IN_STRING = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
_LONGEST_ESCAPE = len(rb"\u0000")


class TextCheck:
    """Tells whether the bytes fed to it are UTF-8 text and, if asked, a JSON document.

    The parser (yajl, through ijson) would hold each string whole, and a picture is one string: so what stands between
    quotes is checked here and dropped before the parser sees it.
    """

    def __init__(self, json: bool) -> None:
        self._decoder: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()
        self._parser = ijson.basic_parse_coro(_nowhere()) if json else None
        self._inside = False
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        if self._decoder is not None:
            try:
                self._decoder.decode(data)
            except UnicodeDecodeError:
                self._decoder = self._parser = None
        if self._parser is not None:
            structure = self._outside_strings(data)
            try:
                if structure is None:
                    self._parser = None
                elif structure:
                    self._parser.send(structure)
            except (ijson.JSONError, StopIteration):
                self._parser = None

    def finish(self) -> tuple[bool, bool]:
        """After the last piece: whether it all was text, and whether it was JSON."""
        if self._decoder is not None:
            try:
                self._decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                self._decoder = self._parser = None
        if self._parser is not None:
            try:
                self._parser.close()
            except ijson.JSONError:
                self._parser = None
        return self._decoder is not None, self._parser is not None

    def _outside_strings(self, data: bytes) -> bytes | None:
        """The piece with its strings emptied; ``None`` when a string is malformed."""
        data, self._rest = self._rest + data, b""
        kept = []
        at = 0
        while at < len(data):
            if not self._inside:
                quote = data.find(b'"', at)
                end = len(data) if quote < 0 else quote + 1
                kept.append(data[at:end])
                self._inside = quote >= 0
            else:
                matched = _IN_STRING.match(data, at)
                end = len(data) if matched is None else matched.end()
                if data[end : end + 1] == b'"':
                    kept.append(b'"')
                    self._inside = False
                    end += 1
                elif data[end : end + 1] == b"\\" and len(data) - end < _LONGEST_ESCAPE:
                    self._rest = data[end:]
                    end = len(data)
                elif end < len(data):
                    return None
            at = end
        return b"".join(kept)


def _nowhere() -> Generator[None, object, None]:
    """Where the parser's events go."""
    drain = _drain()
    next(drain)
    return drain


def _drain() -> Generator[None, object, None]:
    while True:
        yield
