"""The turn of Twisted's epoll reactor, without what it does around each event for a log that nobody reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger

log = Logger("ngpu.polling")


def lean(reactor: Any) -> None:
    """Have a reactor that has not begun to run hand events straight to those whom they are for.

    Twisted's wraps each in a context of its legacy log, which says whose event it was: twelve calls, two dictionaries.
    What a handler raises is logged, and its connection closed. Any other reactor stays as it is.
    """
    if type(reactor) is not EPollReactor:
        return
    poll, selectables = reactor._poller.poll, reactor._selectables
    work: Callable[[Any, int, int], None] = reactor._doReadOrWrite

    def turn(timeout: float | None) -> None:
        try:
            events = poll(-1 if timeout is None else timeout, len(selectables))
        except InterruptedError:
            return
        for fd, event in events:
            selectable = selectables.get(fd)
            if selectable is not None:  # else another one's event has closed it
                try:
                    work(selectable, fd, event)
                except Exception:
                    log.failure("the end of a connection could not be handled")

    reactor.doIteration = turn  # type: ignore[method-assign]
