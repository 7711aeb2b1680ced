"""How a replica has done of late: the average time of its calls, and whether too many of them failed. No I/O.

A replica that fails fast is the first to be free again, and would draw work for ever. So a failed call counts as a slow
one in its average, and one that fails often is *suspect* for a while: it gets calls only where no other is free.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

LATENCY_WEIGHT = 0.2
"""Weight of the newest call in a replica's average latency, once there are a few."""

PENALTY = 4.0
"""A failed call counts as one that took so many times the median of all replicas' averages, at least."""

UNKNOWN_PENALTY = 5.0
"""Seconds that it counts as while nothing is known of any replica."""

ERROR_WEIGHT = 0.2
"""Weight of the newest call in a replica's share of failed calls."""

SUSPECT_ABOVE = 0.3
"""The share of failed calls from which a replica is suspect: two failures in a row, or one of three for long."""

REST_ABOVE = 0.5
"""The share of failed calls from which each failure rests a replica, while another one is there that does well.

Where none does well, it is the requests that are bad.
"""

FIRST_SUSPICION, LONGEST_SUSPICION = 5.0, 60.0
"""Seconds of the first suspicion; each that follows before a replica does well again is twice as long, up to these."""


class Median:
    """The median of some numbers that change, kept up to date."""

    def __init__(self) -> None:
        self._sorted: list[float] = []

    def replace(self, before: float | None, after: float | None) -> None:
        """One of the numbers was ``before``, and is ``after`` now; ``None``: it was, or is, not among them."""
        if before is not None:
            del self._sorted[bisect_left(self._sorted, before)]
        if after is not None:
            insort(self._sorted, after)

    @property
    def value(self) -> float | None:
        """The median; ``None`` of none."""
        return self._sorted[len(self._sorted) // 2] if self._sorted else None


@dataclass(slots=True)
class Standing:
    """The figures of one replica.

    :ivar latency: the average, ``None`` before its first call.
    :ivar calls: how many count in it.
    :ivar errors: the share of calls that failed, a moving average from 0 to 1.
    """

    latency: float | None = None
    calls: int = 0
    errors: float = 0.0
    suspect_until: float = 0.0
    suspicions: int = 0

    def count(self, seconds: float, failed: bool, start: float | None, median: float | None, now: float) -> float:
        """Take a call in.

        :param start: the average that it began with, before any call of its own.
        :param median: of the averages of all replicas.
        :returns: the seconds that it counts as.
        """
        if failed:
            usual = UNKNOWN_PENALTY if median is None else PENALTY * median
            seconds = max(seconds, usual, self.latency or 0.0)
        before = start if self.latency is None else self.latency
        known = self.calls + (start is not None)
        self.latency = seconds if before is None else before + max(LATENCY_WEIGHT, 1 / (known + 1)) * (seconds - before)
        self.calls += 1
        self.errors += ERROR_WEIGHT * (failed - self.errors)
        self._judge(failed, now)
        return seconds

    def _judge(self, failed: bool, now: float) -> None:
        if self.errors <= SUSPECT_ABOVE:
            self.suspect_until = 0.0
            if not failed:
                self.suspicions = 0
        elif failed and self.suspect_until <= now:
            self.suspect_until = now + min(FIRST_SUSPICION * 2**self.suspicions, LONGEST_SUSPICION)
            self.suspicions = min(self.suspicions + 1, 16)
