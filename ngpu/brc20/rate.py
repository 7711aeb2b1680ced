"""How often a source may be asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Rate:
    """At most ``count`` calls in any ``seconds``, for each of ``windows``; a restart forgets what was called.

    :param windows: pairs of count and seconds; none: as often as one likes.
    """

    def __init__(self, windows: Iterable[tuple[int, float]] = ()) -> None:
        self._windows = [(seconds, deque[float](maxlen=count)) for count, seconds in windows]

    def wait(self, now: float) -> float:
        """Seconds until the next call may be made."""
        free = [calls[0] + seconds for seconds, calls in self._windows if len(calls) == calls.maxlen]
        return max([0.0, *(each - now for each in free)])

    def take(self, now: float) -> float:
        """Reserve the next call, in turn; it is to be made in so many seconds."""
        wait = self.wait(now)
        for _, calls in self._windows:
            calls.append(now + wait)
        return wait
