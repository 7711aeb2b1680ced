"""Following output whose end nobody tells: a Swarm's manager keeps the line open when a task has ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred

from ngpu.waiting import echo

LOOK, QUIET = 2.0, 1.0
"""Seconds without output after which is looked whether it is over, and what may still come after that."""


async def until_over(
    pieces: AsyncGenerator[bytes, None], over: Callable[[], Awaitable[bool]], clock: Any
) -> AsyncIterator[bytes]:
    """The pieces as they come, until there are no more, or it is over and nothing has come for a while.

    :param clock: an IReactorTime.
    """
    silence, ending = LOOK, False
    try:
        while True:
            coming = Deferred.fromCoroutine(_next(pieces))
            while not await _fires(coming, clock, silence):
                if ending:
                    return
                ending = await over()
                silence = QUIET if ending else LOOK
            piece = await coming
            if piece is None:
                return
            yield piece
    finally:
        coming.addErrback(lambda failure: failure.trap(CancelledError))
        coming.cancel()
        await pieces.aclose()


async def _next(pieces: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(pieces, None)


async def _fires(coming: Deferred[Any], clock: Any, within: float) -> bool:
    """Whether a Deferred has a result within some seconds; it keeps it."""
    try:
        await echo(coming).addTimeout(within, clock)
    except defer.TimeoutError:
        return False
    return True
