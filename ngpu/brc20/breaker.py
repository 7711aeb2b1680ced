"""When a source that fails is left alone."""

from __future__ import annotations

LONGEST_REST = 3600.0
"""Seconds that a source's own Retry-After is believed for."""

TRIAL = 1.0
"""Seconds after which those that a trial kept away may ask again."""


class Breaker:
    """A circuit breaker: after ``failures`` in a row it is open for ``rest`` seconds, then lets one call try.

    That call closes it, or opens it again. A source that says itself when to come back opens it at once, for that long.
    """

    def __init__(self, failures: int, rest: float) -> None:
        self._failures = failures
        self._rest = rest
        self._row = 0
        self._until = 0.0
        self._trying = False

    def wait(self, now: float) -> float:
        """Seconds until the source may be asked; 0: now."""
        if now < self._until:
            return self._until - now
        return TRIAL if self._trying else 0.0

    def begin(self) -> None:
        """A call is made, which ends with one of the three below."""
        self._trying = self._row >= self._failures

    def succeeded(self, now: float) -> None:
        """The source answered. An answer that was on its way when the breaker opened does not close it."""
        self._trying = False
        if now >= self._until:
            self._row = 0

    def failed(self, now: float, retry_after: float | None = None) -> None:
        """The source failed, and may have said when to come back."""
        self._trying = False
        self._row += 1
        if retry_after is not None:
            self._row = max(self._row, self._failures)
            self._until = max(self._until, now + min(retry_after, LONGEST_REST))
        elif self._row >= self._failures:
            self._until = max(self._until, now + self._rest)

    def left(self) -> None:
        """The call ended in a way that says nothing about the source."""
        self._trying = False
