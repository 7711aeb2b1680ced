"""How much of what costs a client nothing one connection takes, before it counts as an attack."""

from __future__ import annotations

import enum


class Kind(enum.Enum):
    """What is counted."""

    RESET = "streams that end before their reply"  # CVE-2023-44487, and CVE-2025-8671 where we are made to
    PING = "PING"
    SETTINGS = "SETTINGS"
    PRIORITY = "PRIORITY"
    EMPTY = "DATA without data"
    WINDOW = "WINDOW_UPDATE"  # `PER_FRAME` more for each DATA frame that was sent
    UNKNOWN = "unknown frames"


_BOUNDS = {
    Kind.RESET: (200, 20.0),
    Kind.PING: (100, 10.0),
    Kind.SETTINGS: (20, 1.0),
    Kind.PRIORITY: (500, 50.0),
    Kind.EMPTY: (100, 10.0),
    Kind.WINDOW: (1000, 50.0),
    Kind.UNKNOWN: (100, 10.0),
}
"""So many at once, and so many more a second."""

PER_FRAME = 10


class Flood(Exception):
    """The client has sent too many of one kind; the connection ends with ENHANCE_YOUR_CALM."""


class Floods:
    """The counters of one connection."""

    def __init__(self, now: float) -> None:
        self._left = {kind: float(most) for kind, (most, _) in _BOUNDS.items()}
        self._at = dict.fromkeys(Kind, now)

    def count(self, kind: Kind, now: float) -> None:
        """One more of that kind.

        :raises Flood: it is one too many.
        """
        most, rate = _BOUNDS[kind]
        left = self._left[kind]
        if left < most:
            left = min(float(most), left + (now - self._at[kind]) * rate)
        self._at[kind] = now
        if left < 1:
            raise Flood(f"too many of a kind: {kind.value}")
        self._left[kind] = left - 1

    def allow(self, kind: Kind, more: int) -> None:
        """So many more are fine."""
        self._left[kind] += more
