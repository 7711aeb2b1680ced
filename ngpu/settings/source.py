"""The configuration's text as a report shows it: one line, made harmless, with a caret under the column."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from ngpu.settings.secrecy import secret_spans_in, secret_tail

SHOWN_WIDTH = 100
"""Source lines longer than this many characters are cut on both sides of the caret."""

_CONSIDERED = 1024
"""How far around the column a line is looked at: a file may be a single line of 4 MiB."""

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_MASK = "***"


class Place(NamedTuple):
    """A position in the text; both count from 1, ``column`` in characters."""

    line: int
    column: int


def place_at(text: str, index: int) -> Place:
    """The place of a character; lines end where YAML 1.1 says so."""
    before = _BREAK.split(text[:index])
    return Place(len(before), len(before[-1]) + 1)


Spans = Mapping[int, Sequence[tuple[int, int]]]
"""For a line number, the stretches (first column, column after the last) that are never shown."""


class Source:
    """A configuration text and its name in messages.

    :param spans: where its secrets are, once the text could be read; ``None`` before, when they are guessed.
    """

    def __init__(self, name: str, text: str, spans: Spans | None = None) -> None:
        self.name = printable(name)
        self.text = text
        self.spans = spans
        self._sorted: dict[int, list[tuple[int, int]]] = {}

    @cached_property
    def _lines(self) -> list[str]:
        return _BREAK.split(self.text)

    def excerpt(self, place: Place) -> tuple[str, str]:
        """The source line and, below it, the caret; both are indented and safe for a terminal."""
        line = self._lines[place.line - 1] if place.line <= len(self._lines) else ""
        at = min(place.column - 1, len(line))
        cut = max(0, at - _CONSIDERED)
        text = line[cut : at + _CONSIDERED]
        shown, caret = _masked(text, at - cut, self._secrets(place.line, text, cut))
        shown, caret = _window(shown, caret)
        return f"    {shown}", "    " + " " * _width(shown[:caret]) + "^"

    def _secrets(self, number: int, text: str, cut: int) -> list[tuple[int, int]]:
        """The stretches of ``text`` to hide, which is the line from its character ``cut`` on."""
        found = list(secret_spans_in(text))
        if self.spans is None:
            tail = secret_tail(self._lines, number - 1)
            found += [] if tail is None else [(max(tail - cut, 0), len(text))]
        else:
            found += [(start - 1 - cut, end - 1 - cut) for start, end in self._spans_near(number, cut, len(text))]
        return sorted((max(start, 0), min(end, len(text))) for start, end in found if start < len(text) and end > 0)

    def _spans_near(self, number: int, cut: int, length: int) -> list[tuple[int, int]]:
        """Those of a line that may reach into a part of it; one line can have 100,000, and is shown often."""
        if number not in self._sorted:
            self._sorted[number] = sorted((self.spans or {}).get(number, ()))
        spans = self._sorted[number]
        first = bisect_left(spans, (cut + 1, 0))
        return spans[max(first - 1, 0) : bisect_left(spans, (cut + 1 + length, 0))]


def _masked(text: str, caret: int, spans: Sequence[tuple[int, int]]) -> tuple[str, int]:
    """``text`` with its spans replaced, and where the caret has moved to."""
    pieces: list[str] = []
    moved, done, length = caret, 0, 0
    for start, end in spans:
        if end <= done or start >= end:
            continue
        start = max(start, done)
        pieces += [text[done:start], _MASK]
        length += start - done
        if start <= caret < end:
            moved = length
        elif caret >= end:
            moved += len(_MASK) - (end - start)
        length += len(_MASK)
        done = end
    return "".join([*pieces, text[done:]]), moved


def _window(text: str, caret: int) -> tuple[str, int]:
    text = printable(text.rstrip() if caret < len(text.rstrip()) else text)
    if len(text) <= SHOWN_WIDTH:
        return text, caret
    start = max(0, min(caret - SHOWN_WIDTH // 2, len(text) - SHOWN_WIDTH))
    before, after = "…" if start else "", "…" if start + SHOWN_WIDTH < len(text) else ""
    return before + text[start : start + SHOWN_WIDTH] + after, caret - start + len(before)


def printable(text: str) -> str:
    """``text`` of the same length without anything that moves a terminal's cursor or breaks a line."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if char == "\t" else "\ufffd" if _unsafe(char) else char for char in text)


def _unsafe(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _width(text: str) -> int:
    """How many cells of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(char) in ("Mn", "Me") else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
