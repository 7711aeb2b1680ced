"""When a delivery is tried again. Pure."""

from __future__ import annotations

from random import Random

DELAYS = (5.0, 20.0, 80.0, 320.0, 1280.0, 5120.0, *[14400.0] * 5)
"""Seconds from a try that failed to the next: twelve tries within 22 hours."""

JITTER = 0.2
"""The part of a delay by which it is made shorter or longer, so that receivers that come back are not overrun."""

LONGEST_WAIT = 14400.0
"""Seconds of a receiver's Retry-After that are heeded at most."""

GONE = 410
"""The status by which a receiver says that it wants nothing more (RFC 9110 §15.5.11)."""


def next_try(tries: int, status: int | None, retry_after: float | None, now: float, rng: Random) -> float | None:
    """When to try again what failed; ``None`` gives it up.

    :param tries: how many there were.
    :param status: of the receiver's reply; ``None``: there was none.
    :param retry_after: the seconds that it asked for.
    """
    if status == GONE or tries > len(DELAYS):
        return None
    delay = DELAYS[tries - 1] * rng.uniform(1 - JITTER, 1 + JITTER)
    return now + max(delay, min(retry_after or 0.0, LONGEST_WAIT))
