"""The clock that timers and records go by: it never stands still, jumps or runs back, whoever sets the machine's clock.

Twisted's reactors schedule by the wall clock. Set back by an hour, they start nothing that is due for an hour: leases
are not renewed, health is not checked, nothing times out. Set forward by an hour, every timeout is over at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

SLEW = 0.1
"""How much faster or slower than real time this clock runs, at most, while it comes back to the wall clock.

An hour's jump is made up for in ten hours; a wait of ten seconds takes nine to eleven for so long.
"""


LOOK = 0.01
"""Seconds between two looks at the wall clock, which cost as much as all else here; a call reads the time often."""


class SteadyClock:
    """Seconds since the epoch: the wall clock's at the start, then real time, drawn slowly towards the wall clock.

    :param wall: seconds since the epoch, which somebody may set.
    :param steady: seconds that only go on, from anywhere.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._at = steady()
        self._now = wall()
        self._pace = 1.0  # until LOOK seconds after the last look; then that of real time

    def __call__(self) -> float:
        """The time now."""
        passed = self._steady() - self._at
        if passed < LOOK:
            return self._now + passed * self._pace
        return self._look(passed)

    def _look(self, passed: float) -> float:
        """The time, so many seconds after the last look, with a look at the wall clock."""
        straight = self._now + LOOK * self._pace + passed - LOOK
        off = self._wall() - straight
        drawn = min(max(off, (LOOK - passed) * SLEW), (passed - LOOK) * SLEW)
        self._at += passed
        self._now = straight + drawn
        self._pace = 1.0 + min(max((off - drawn) / LOOK, -SLEW), SLEW)
        return self._now


def steady(reactor: Any) -> None:
    """Have a reactor that has not begun to run go by a clock of this kind, its timers and ``seconds()`` alike."""
    reactor.seconds = SteadyClock()
