"""Work that is done again and again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger


def ticker(work: Callable[[], Coroutine[Deferred[Any], Any, None]], clock: IReactorTime, log: Logger) -> LoopingCall:
    """Does it at each tick, once the one before is done; failures are logged, and do not end it."""

    def tick() -> Deferred[None]:
        done = Deferred.fromCoroutine(work())
        done.addErrback(lambda failure: log.error("{error}", error=failure.getErrorMessage()))
        return done

    looping = LoopingCall(tick)
    looping.clock = clock
    return looping
