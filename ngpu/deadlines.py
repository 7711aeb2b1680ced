"""Times by which things have to be over, behind one timer of the reactor: a timer for each call would cost more."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

_NEVER = float("inf")


class Bounded(Protocol):
    """What may not go on for ever.

    :ivar due: the clock's time at which it is cut; whoever has it may put it off at any time.
    """

    due: float

    def cut(self) -> None:
        """Its time is over, and it is not watched any more."""


class Deadlines:
    """Cuts what is not over by its time."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._watched: dict[Bounded, None] = {}
        self._alarm: IDelayedCall | None = None
        self._alarm_at = _NEVER

    def watch(self, what: Bounded) -> None:
        """Cut this once it is due; to be called again where it becomes due sooner than it was."""
        self._watched[what] = None
        if what.due < self._alarm_at:
            self._set_alarm(what.due)

    def forget(self, what: Bounded) -> None:
        """It is over; does nothing where it is not watched."""
        self._watched.pop(what, None)
        if not self._watched:
            self._set_alarm(_NEVER)

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._alarm_at = at
        if at < _NEVER:
            self._alarm = self._clock.callLater(max(at - self._clock.seconds(), 0.001), self._look)

    def _look(self) -> None:
        self._alarm, self._alarm_at = None, _NEVER
        now = self._clock.seconds()
        try:
            for what in [each for each in self._watched if each.due <= now]:
                if self._watched.pop(what, what) is None:  # those before it may have ended it
                    what.cut()
        finally:  # one that cannot be cut keeps nobody else for ever
            if self._watched:
                self._set_alarm(min(each.due for each in self._watched))
