"""Plain text and tables for terminals."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

GAP = "  "

_ORDERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys in place of showing it; of directions, those that turn around what stands behind them."""


def plain(text: str) -> str:
    """A text of somebody else's (a worker's, an engine's, a customer's), with what a terminal would obey spelt out."""
    return _ORDERS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns that are as wide as what stands in them; the last one runs on. Cells are `plain`."""
    lines = [head, *([plain(cell).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        GAP.join(cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _width(text: str) -> int:
    """Cells of a terminal: wide characters take two, combining ones none."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def seconds_in_words(seconds: float) -> str:
    """Such as 0.25 s, 12.5 s, 3 min 5 s, 2 h 10 min, 3 d 4 h."""
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def bytes_in_words(size: float) -> str:
    """Such as 12 B, 1.5 KiB, 24 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}" if size < 100 else f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
