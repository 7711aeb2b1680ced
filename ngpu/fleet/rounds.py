"""When the fleet's loop goes round: soon after something has happened, and now and then without that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

SOON = 0.02
"""Seconds in which what happens side by side is gathered into one round."""

PACE = 4
"""Planning that took a second is followed by a pause of so many: a large fleet must not starve its calls."""


class Rounds:
    """One round after another, never two at once.

    :param go: one round; gives the seconds until the next one.
    :param interval: seconds until the next one where a round stumbled.
    """

    log = Logger("ngpu.fleet")

    def __init__(self, go: Callable[[], Awaitable[float]], interval: float, clock: IReactorTime) -> None:
        self._go = go
        self._interval = interval
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._round: Deferred[Any] | None = None
        self._pause = SOON
        self._again = False
        self._stopped = True

    def start(self) -> None:
        """Begin."""
        self._stopped = False
        self.nudge()

    def stop(self) -> None:
        """Go round no more, and break off where it is."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._round is not None:
            self._round.cancel()

    def nudge(self) -> None:
        """Something has changed: look at it soon."""
        self._again = True
        if self._round is None:
            self._set_timer(self._pause)

    def took(self, seconds: float) -> None:
        """Planning took so long in this round."""
        self._pause = max(SOON, PACE * seconds)

    def _set_timer(self, seconds: float) -> None:
        if self._stopped:
            return
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= self._clock.seconds() + seconds:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self._begin)

    def _begin(self) -> None:
        self._again = False
        self._round = Deferred()  # while the round takes its first steps
        going: Deferred[float] = Deferred.fromCoroutine(self._go())  # type: ignore[arg-type]
        if not going.called:
            self._round = going
        going.addBoth(self._over)

    def _over(self, result: float | Failure) -> None:
        self._round = None
        if self._stopped:
            return
        seconds = self._interval
        if isinstance(result, Failure):
            self.log.failure("a round of the fleet's loop stumbled", failure=result)
        else:
            seconds = result
        self._set_timer(self._pause if self._again else max(seconds, self._pause))
