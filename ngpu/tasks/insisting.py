"""Writes that must be made, however long the store refuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ngpu.errors import StoreUnavailable
from ngpu.metrics import Metrics

RECORD_AGAIN = 1.0
"""Seconds between tries while the store refuses."""

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
