"""How much a workspace may submit: its rate and its quota, as values and pure decisions, and the port that counts.

The rate is counted by the generic cell rate algorithm (ITU-T I.371), which needs one number for each workspace: the
theoretical arrival time, here ``full_at``, the time at which the whole burst is there again.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from zope.interface import Interface

_ROUNDING = 1e-6
"""Seconds: sums of floats that stand for times fall short of what they stand for."""


class Rate(NamedTuple):
    """Submissions a second in the long run, and how many may come at once."""

    per_second: float
    burst: int


class Quota(NamedTuple):
    """So many tasks in a window of time.

    ``window`` names it, such as ``2026-11-25``: of two names the later one sorts after the earlier. ``retry_after`` is
    the seconds until the next one begins.
    """

    limit: int
    window: str
    retry_after: int


class Pace(NamedTuple):
    """What the rate says to one more submission.

    ``wait`` is 0 where it may come, else the seconds after which another try may; ``left`` is how many more may come at
    once, ``full_in`` the seconds until the whole burst may.
    """

    wait: float
    left: int
    full_in: float


class Allowance(NamedTuple):
    """How one limit of a workspace stands: of ``limit`` in ``window`` seconds ``left`` are left, until ``reset``."""

    name: str
    limit: int
    window: int
    left: int
    reset: int


class ILimits(Interface):
    """What is counted of submissions, for all gateways that share a store."""

    async def pace(workspace: str, rate: Rate, now: float) -> Pace:
        """Count a submission against the workspace's rate, unless it has to wait. May be forgotten by a restart."""

    async def used(workspace: str, window: str) -> int:
        """How many tasks were counted in that window of a `Quota`; 0 for one that is over."""


def paced(full_at: float, rate: Rate, now: float) -> tuple[float, Pace]:
    """One submission at ``now``, where the whole burst is there again at ``full_at``.

    :returns: the new ``full_at``, the same as before where the submission has to wait.
    """
    each = 1.0 / rate.per_second
    before = min(max(full_at, now), now + rate.burst * each)  # never behind by more, whatever clock or settings did
    wait = before + each - now - rate.burst * each
    if wait > _ROUNDING:
        return before, Pace(wait, 0, before - now)
    after = before + each
    left = math.floor(rate.burst - (after - now - _ROUNDING) / each)
    return after, Pace(0.0, left, after - now)
