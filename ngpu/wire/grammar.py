"""Is a text that arrives in pieces one JSON document (RFC 8259)? Flat in memory, whatever its size."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Generator
from decimal import Decimal
from itertools import accumulate
from typing import Any, NoReturn

import ijson

from ngpu.model import CHUNK
from ngpu.wire.envelope import DEEPEST, LONGEST_NUMBER

_CHARACTERS = rb'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+'
_IN_STRING = re.compile(_CHARACTERS)
_STRING = re.compile(b'"' + _CHARACTERS + b'"')
_UP_TO_OPEN_STRING = re.compile(b'(?:[^"]++|"' + _CHARACTERS + b'")*+')
# What may stand outside strings: JSON's own space, and numbers of LONGEST_NUMBER characters at most.
_OUTSIDE = re.compile(rb"(?:[^0-9eE+.\-\x0b\x0c]++|[0-9eE+.\-]{1,1000}+(?![0-9eE+.\-]))*+")
_OF_NUMBERS = b"0123456789eE+.-"
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_DEEPER = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_LONGEST_ESCAPE = len(rb"\u0000")


class TextCheck:
    """Tells whether the bytes fed to it are UTF-8 text and, if asked, a JSON document.

    The parser (yajl, through ijson) would hold each string whole, and a picture is one string: so what stands between
    quotes is checked here and dropped before the parser sees it.

    What is nested more than `DEEPEST` deep counts as text: as part of a reply it would make all of that unreadable for
    clients whose parsers go no deeper than most do.
    """

    def __init__(self, json: bool) -> None:
        self._json = json
        self._first: bytes | None = b""  # all there is so far, while that is one piece at most
        self._decoder: codecs.IncrementalDecoder | None = None
        self._parser: Any = None
        self._inside = False
        self._rest = b""
        self._number = 0
        self._depth = 0

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        if self._first is not None:
            if not self._first and len(data) <= CHUNK:
                self._first = bytes(data)
                return
            self._go_by_pieces(self._first)
        self._feed(data)

    def _go_by_pieces(self, first: bytes) -> None:
        self._first = None
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._parser = ijson.basic_parse_coro(_nowhere()) if self._json else None
        self._feed(first)

    def _feed(self, data: bytes) -> None:
        if self._decoder is not None:
            try:
                self._decoder.decode(data)
            except UnicodeDecodeError:
                self._decoder = self._parser = None
        if self._parser is not None:
            structure = self._outside_strings(data)
            try:
                if structure is None or not self._is_shallow(structure):
                    self._parser = None
                elif structure:
                    self._parser.send(structure)
            except (ijson.JSONError, StopIteration, ArithmeticError):
                self._parser = None

    def finish(self) -> tuple[bool, bool]:
        """After the last piece: whether it all was text, and whether it was JSON."""
        if self._first is not None:
            # some of the brackets may stand in strings
            if not self._json or self._first.count(b"[") + self._first.count(b"{") <= DEEPEST:
                return _of_one_piece(self._first, self._json)
            self._go_by_pieces(self._first)
        if self._decoder is not None:
            try:
                self._decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                self._decoder = self._parser = None
        if self._inside:
            self._parser = None  # yajl itself lets a string go that begins after the document's end
        if self._parser is not None:
            try:
                self._parser.close()
            except (ijson.JSONError, ArithmeticError):
                self._parser = None
        return self._decoder is not None, self._parser is not None

    def _outside_strings(self, data: bytes) -> bytes | None:
        """The piece with its strings emptied; ``None`` when a string is malformed or a number endless."""
        data, self._rest = self._rest + data, b""
        kept = []
        at = 0
        while at < len(data):
            if not self._inside:
                end = _end(_UP_TO_OPEN_STRING, data, at)
                piece = _STRING.sub(b'""', data[at:end])
                if not self._is_sane(piece):
                    return None
                kept.append(piece)
                if end < len(data):
                    kept.append(b'"')
                    self._inside = True
                    end += 1
            else:
                end = _end(_IN_STRING, data, at)
                if data[end : end + 1] == b'"':
                    kept.append(b'"')
                    self._inside = False
                    self._number = 0
                    end += 1
                elif data[end : end + 1] == b"\\" and len(data) - end < _LONGEST_ESCAPE:
                    self._rest = data[end:]
                    end = len(data)
                elif end < len(data):
                    return None
            at = end
        return b"".join(kept)

    def _is_shallow(self, structure: bytes) -> bool:
        """Follows how deep the document is; false once it is too deep."""
        brackets = structure.translate(None, _NO_BRACKETS)
        if self._depth + len(brackets) <= DEEPEST:
            self._depth += sum(map(_DEEPER.__getitem__, brackets))
            return True
        depths = [*accumulate(map(_DEEPER.__getitem__, brackets), initial=self._depth)]
        self._depth = depths[-1]
        return max(depths) <= DEEPEST

    def _is_sane(self, piece: bytes) -> bool:
        """Keeps from the parser what it takes wrongly: space that is not JSON's, and numbers that go on and on.

        It begins a number anew with each piece, and fails in its own ways at those that Python does not read.
        """
        begun = len(piece) - len(piece.lstrip(_OF_NUMBERS))
        if self._number + begun > LONGEST_NUMBER:
            return False
        self._number = len(piece) - len(piece.rstrip(_OF_NUMBERS)) + (self._number if begun == len(piece) else 0)
        return _end(_OUTSIDE, piece, 0) == len(piece)


def _of_one_piece(data: bytes, json: bool) -> tuple[bool, bool]:
    """`TextCheck.finish` of a small and flat text that is there as a whole; Python's parser is the quickest for it."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False, False
    if not json:
        return True, False
    try:
        _parse(text)
    except (ValueError, ArithmeticError):
        return True, False
    return True, True


def _number(digits: str) -> Decimal:
    """A number as yajl's reader takes it: not endless, nor of an exponent that no client could hold."""
    if len(digits) > LONGEST_NUMBER:
        raise ValueError
    return Decimal(digits)


def _refuse(constant: str) -> NoReturn:
    raise ValueError


_parse = json.JSONDecoder(parse_int=_number, parse_float=_number, parse_constant=_refuse).decode


def _end(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    """Where what matches from there ends; all patterns here match nothing, too."""
    matched = pattern.match(data, at)
    return at if matched is None else matched.end()


def _nowhere() -> Generator[None, object, None]:
    """Where the parser's events go."""
    drain = _drain()
    next(drain)
    return drain


def _drain() -> Generator[None, object, None]:
    while True:
        yield
