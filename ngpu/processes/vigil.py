"""Whether workers still turn: one that does not answer is ended, so that another one takes its place."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ngpu.processes.channel import Channel

EVERY = 5.0
"""Seconds between two looks."""

LOOKS = 6
"""Looks that a worker may leave unanswered, one after the other: half a minute, as systemd gives a single process."""

STARTING = 60
"""The same for one that has not been ready yet, and may have much to read: five minutes, as systemd gives a start."""

LAST_WORDS = 2.0
"""Seconds that it has to say where it stands, before it is killed."""

ALIVE = "alive"
"""What it is asked for."""


class Watched(Protocol):
    """A worker; `ngpu.processes.child.Child`."""

    number: int
    pid: int
    is_ready: bool
    ready: Deferred[None]
    channel: Channel
    ended: Deferred[int]

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended gets none."""


class Vigil:
    """Looks at workers again and again.

    :param watched: those that have to answer, at each look.
    """

    log = Logger("ngpu")

    def __init__(self, watched: Callable[[], Iterable[Watched]], reactor: Any) -> None:
        self._watched = watched
        self._reactor = reactor
        self._unanswered: dict[Watched, int] = {}
        # looks that this process itself was late for are left out, so nobody dies of them
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def begin(self) -> None:
        """Look from now on."""
        if not self._looking.running:
            self._looking.start(EVERY, now=False)

    def stop(self) -> None:
        """End."""
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        before, self._unanswered = self._unanswered, {}
        for child in self._watched():
            missed = self._unanswered[child] = before.get(child, -1) + 1
            if missed == 0:
                self._ask(child)
            elif missed == (LOOKS if child.ready.called else STARTING):
                self._end(child, missed)

    def _ask(self, child: Watched) -> None:
        def answered(_: Any) -> None:
            self._unanswered.pop(child, None)

        child.channel.ask(ALIVE).addBoth(answered)

    def _end(self, child: Watched, missed: int) -> None:
        child.is_ready = False  # it is asked, and told, nothing any more
        self.log.error(
            "worker {number} (process {pid}) has given no sign of life for {seconds:g} s, and is killed; "
            "what it prints now says where each of its threads stands",
            journal="worker_hangs",
            number=child.number,
            pid=child.pid,
            seconds=EVERY * missed,
        )
        child.signal(signal.SIGABRT)  # of which faulthandler makes a report
        killing = self._reactor.callLater(LAST_WORDS, child.signal, signal.SIGKILL)

        def over(status: int) -> int:
            if killing.active():
                killing.cancel()
            return status

        child.ended.addCallback(over)
