"""What the store refuses to write: ends of tasks, which must be made however long it does, and new tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import StoreUnavailable
from ngpu.metrics import Metrics

RECORD_AGAIN = 1.0
"""Seconds between tries while the store refuses."""

QUIET = 1.0
"""Seconds after a new task that was refused is told of, in which others are only counted."""

T = TypeVar("T")
log = Logger("ngpu.tasks")


async def until_stored(
    task_id: str, what: str, write: Callable[[], Awaitable[T]], clock: IReactorTime, metrics: Metrics
) -> T:
    """Make a write, again and again until it is made.

    :param what: what is written, for the log.
    """
    told = False
    while True:
        try:
            return await write()
        except StoreUnavailable as error:
            if not told:
                log.error(
                    "the {what} of {task_id} is not recorded yet: {error}",
                    journal="store_unavailable",
                    what=what,
                    task_id=task_id,
                    error=str(error),
                )
                metrics.store_errors.inc()
            told = True
        await deferLater(clock, RECORD_AGAIN)


class Refusals:
    """Tells operators of new tasks that the store refuses: their clients know, and nobody else would."""

    def __init__(self, clock: IReactorTime, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._quiet_until = 0.0
        self._untold = 0

    def note(self, failure: Failure) -> Failure:
        """One could not be stored, for this reason.

        :returns: the same.
        """
        if failure.check(StoreUnavailable) is None:
            return failure
        self._metrics.store_errors.inc()
        self._untold += 1
        now = self._clock.seconds()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            log.error(
                "new tasks are refused, {times} since the last time that this was told: {error}",
                journal="store_unavailable",
                times=self._untold,
                error=failure.getErrorMessage(),
            )
            self._untold = 0
        return failure
