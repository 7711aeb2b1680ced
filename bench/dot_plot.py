"""A dot plot in SVG, written by hand: two pictures of the documentation are no reason for a plotting library.

The text and lines are drawn in a grey that can be read on white and on black.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

LABELS, WIDTH, ROW, HEAD, FOOT, GAP = 110, 300, 18, 52, 28, 16
INK, FAINT, MARK, BEST = "#6e7781", "#8b949e55", "#0969da", "#1a7f37"


class Panel(NamedTuple):
    """Titles, of its line of panels and its own; for each row a value with the least and most of it, or nothing."""

    line: str
    title: str
    values: Sequence[tuple[float, float, float] | None]


def draw(caption: str, rows: Sequence[str], panels: Sequence[Panel], columns: int) -> str:
    """Panels side by side, ``columns`` in a line, all on one logarithmic scale; the best of each is marked."""
    there = [values for panel in panels for values in panel.values if values is not None]
    least = min(low for _, low, _ in there) / 1.1
    most = max(high for _, _, high in there) * 1.1
    height = HEAD + ROW * len(rows) + FOOT
    width = LABELS + columns * (WIDTH + GAP)
    lines = math.ceil(len(panels) / columns)
    parts = [_text(8, 16, caption)]
    for number, panel in enumerate(panels):
        left, top = LABELS + number % columns * (WIDTH + GAP), 24 + number // columns * height
        if number % columns == 0:
            parts.append(_text(8, top + 14, panel.line, weight="bold"))
            parts += [_text(LABELS - 8, top + HEAD + ROW * at + 4, name, "end") for at, name in enumerate(rows)]
        parts += _panel(panel, left, top, least, most)
    size = f'width="{width}" height="{24 + lines * height}" viewBox="0 0 {width} {24 + lines * height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">\n' + "".join(
        f"{part}\n" for part in [*parts, "</svg>"]
    )


def _panel(panel: Panel, left: int, top: int, least: float, most: float) -> Iterator[str]:
    def place(value: float) -> float:
        return left + WIDTH * math.log(value / least) / math.log(most / least)

    bottom = top + HEAD + ROW * len(panel.values) - ROW // 2
    yield _text(left, top + 32, panel.title)
    for tick in (base * 10**power for power in range(-2, 6) for base in (1, 2, 5)):
        if least <= tick <= most:
            yield _line(place(tick), top + HEAD - ROW // 2, place(tick), bottom, FAINT)
            yield _text(place(tick), bottom + 13, f"{tick:g}", "middle")
    best = min((values[0] for values in panel.values if values is not None), default=0.0)
    for at, values in enumerate(panel.values):
        if values is None:
            continue
        value, low, high = values
        y = top + HEAD + ROW * at
        colour = BEST if value == best else MARK
        yield _line(place(low), y, place(high), y, colour)
        yield f'<circle cx="{place(value):.1f}" cy="{y}" r="4" fill="{colour}"/>'
        yield _text(place(high) + 6, y + 4, f"{value:.0f}")


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    style = f'text-anchor="{anchor}" font-weight="{weight}" fill="{INK}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
