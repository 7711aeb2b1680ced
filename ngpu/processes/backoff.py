"""How long to wait before a worker that died is replaced."""

from __future__ import annotations

SETTLED = 10.0
"""Seconds for which a worker has to have lived to be replaced at once."""

FIRST, LONGEST = 1.0, 30.0
"""Seconds before the second try, doubled with each that dies young, up to the longest."""


class Backoff:
    """Of one worker's place."""

    def __init__(self) -> None:
        self._young = 0

    def after(self, lived: float) -> float:
        """Seconds to wait, after a worker that lived for so many. The first that dies young is replaced at once too."""
        self._young = 0 if lived >= SETTLED else self._young + 1
        return 0.0 if self._young <= 1 else min(LONGEST, FIRST * 2.0 ** min(self._young - 2, 10))
