"""How much memory the bodies of requests may take at once: who comes while it is used up waits, unread."""

from __future__ import annotations

from collections import deque

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ngpu.errors import Unavailable
from ngpu.scratch import LARGE

SMALL = 256 * 1024
"""Bodies of up to so many bytes are not counted."""

READING_COSTS = 4
"""Bytes of memory for each byte of a body while it is read and parsed (measured: tests/api/test_api_large.py).

One of over `ngpu.scratch.LARGE` bytes counts once: it is in a file, which a machine may keep in memory, too.
"""

PATIENCE = 30.0
"""Seconds that a request waits for room at most."""


class Share:
    """A part of the budget, until it is released; releasing it again does nothing."""

    def __init__(self, budget: BodyBudget | None, cost: int) -> None:
        self._budget = budget
        self.cost = cost

    def shrink(self, cost: int) -> None:
        """Keep no more than so much of it."""
        if cost < self.cost and self._budget is not None:
            freed, self.cost = self.cost - cost, cost
            self._budget.free(freed)

    def release(self) -> None:
        """Give it back."""
        self.shrink(0)


NOTHING = Share(None, 0)
"""The share of a body that is not counted."""


class BodyBudget:
    """First come, first served; a body that is larger than the whole budget has it alone.

    :param total: bytes of memory.
    """

    def __init__(self, total: int, clock: IReactorTime) -> None:
        self._total = total
        self._clock = clock
        self._used = 0
        self._waiting: deque[tuple[int, Deferred[None]]] = deque()

    @property
    def used(self) -> int:
        """Bytes that are taken now."""
        return self._used

    async def share(self, length: int) -> Share:
        """Room for a body of at most so many bytes, while it is read.

        :raises Unavailable: there was none within PATIENCE.
        """
        if length <= SMALL:
            return NOTHING
        cost = min(max(min(length, LARGE) * READING_COSTS, length), self._total)
        if self._waiting or self._used + cost > self._total:
            await self._turn(cost)
        else:
            self._used += cost
        return Share(self, cost)

    async def _turn(self, cost: int) -> None:
        granted: Deferred[None] = Deferred()
        place = (cost, granted)
        self._waiting.append(place)
        granted.addTimeout(PATIENCE, self._clock)
        try:
            await granted
        except defer.TimeoutError:
            raise Unavailable("the gateway has too many large requests just now; try again") from None
        finally:
            if place in self._waiting:  # it has waited too long, or its client has gone: those behind may fit
                self._waiting.remove(place)
                self.free(0)

    def free(self, cost: int) -> None:
        """Take back so much, and let in who fits now."""
        self._used -= cost
        while self._waiting and self._used + self._waiting[0][0] <= self._total:
            cost, granted = self._waiting.popleft()
            self._used += cost
            granted.callback(None)
