"""The turn of Twisted's epoll reactor, without what it does around each event for a log that nobody reads.

Such a reactor also knows when it has nothing to do; see `when_idle`.
"""

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

    waiting: list[tuple[float, Callable[[], None]]] = []

    def turn(timeout: float | None) -> None:
        try:
            events = poll(0 if waiting else -1 if timeout is None else timeout, len(selectables))
        except InterruptedError:
            return
        for fd, event in events:
            selectable = selectables.get(fd)
            if selectable is not None:  # else another one's event has closed it
                try:
                    work(selectable, fd, event)
                except Exception:
                    log.failure("the end of a connection could not be handled")
        if waiting and (not events or waiting[0][0] <= reactor.seconds()):
            due = [call for _, call in waiting]
            waiting.clear()
            for call in due:
                call()

    reactor.doIteration = turn  # type: ignore[method-assign]
    reactor.when_idle = lambda call, within: waiting.append((reactor.seconds() + within, call))  # type: ignore[attr-defined]


def when_idle(reactor: Any, call: Callable[[], None], within: float) -> None:
    """Make a call, which must not fail, at the end of the first turn of the reactor that brings no events.

    :param reactor: a `lean` one; another one makes it at the end of this turn.
    :param within: seconds; then it is made at the end of any turn.
    """
    ask = getattr(reactor, "when_idle", None)
    if ask is None:
        reactor.callLater(0, call)
    else:
        ask(call, within)
