"""This process as one of several: how it and its parent speak."""

from __future__ import annotations

import json
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionClosed
from twisted.logger import Logger

from ngpu.figures import Exposing
from ngpu.journal import EVENTS, Journal
from ngpu.processes.channel import Channel, open_channel
from ngpu.processes.crew import REFUSED, STORE
from ngpu.processes.figures import together
from ngpu.processes.handed import Handed
from ngpu.processes.reloads import Reloads
from ngpu.processes.vigil import ALIVE
from ngpu.series import Rows, Series
from ngpu.series import together as all_together

ANSWER_WITHIN = 5.0
"""Seconds in which the parent has to tell what the others count; then it is this process's figures alone."""


_SERIES = "series:"


class Worker:
    """Its end of the channel.

    :param reloads: hears what became of them.
    :ivar number: which of the workers it is, from 1.
    """

    log = Logger("ngpu")

    def __init__(self, handed: Handed, reactor: Any, reloads: Reloads) -> None:
        self._reloads = reloads
        self.number = handed.number
        self._descriptor = handed.channel
        self._reactor = reactor
        self._channel: Channel | None = None
        self._own: Exposing | None = None
        self._journal: Journal | None = None
        self._series: Series | None = None
        self._retire: Callable[[], None] = lambda: None
        self._ask_store: Callable[[], Awaitable[Any]] | None = None
        # a terminal sends these to every process; the parent says what is to be done
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    def share(self, figures: Exposing, journal: Journal) -> Exposing:
        """Show everybody's figures in place of this process's own; and let others know what the parent tells."""
        self._own, self._journal = figures, journal
        return self

    def share_series(self, series: Series) -> Rows:
        """Show everybody's series in place of this process's own."""
        self._series = series
        return self._rows

    def start(self, retire: Callable[[], None], ask_store: Callable[[], Awaitable[Any]]) -> None:
        """Begin to listen to the parent; where it is gone, this process ends, too.

        :param retire: called when another worker has taken this one's place.
        :param ask_store: raises StoreUnavailable where the store does not answer.
        """
        self._retire, self._ask_store = retire, ask_store
        self._channel = Channel(self._told, self._figures, self._orphaned)
        open_channel(self._reactor, self._descriptor, self._channel)

    def ready(self) -> None:
        """It serves."""
        assert self._channel is not None
        self._channel.tell("ready")

    async def exposition(self) -> bytes:
        """The figures of all workers, in Prometheus' text format."""
        return together(await self._of_all(""))

    async def _rows(self, workspace_id: str, seconds: float) -> list[list[int]]:
        which = _SERIES + json.dumps([workspace_id, seconds])
        texts = await self._of_all(which)
        if any(not text.startswith("[") for text in texts):  # the parent is of a version that knows metrics only
            texts = [await self._figures(which)]
        return all_together(json.loads(text) for text in texts)

    async def _of_all(self, which: str) -> list[str]:
        assert self._channel is not None
        asked = self._channel.ask(which)
        asked.addTimeout(ANSWER_WITHIN, self._reactor)
        try:
            found: list[str] | None = await asked
        except (DeferredTimeout, ConnectionClosed):
            found = None
        return found or [await self._figures(which)]

    async def _figures(self, which: str) -> str:
        if which == ALIVE:
            return ""
        if which == STORE:
            assert self._ask_store is not None
            await self._ask_store()
            return ""
        assert self._own is not None and self._series is not None
        if which.startswith(_SERIES):
            return json.dumps(self._series.rows(*json.loads(which.removeprefix(_SERIES))))
        return (await self._own.exposition()).decode()

    def _told(self, word: str) -> None:
        if word == "retire":
            self._retire()
        elif word.startswith(EVENTS + " ") and self._journal is not None:
            self._journal.pass_on(word.partition(" ")[2])
        elif word.startswith(REFUSED):
            self._reloads.refused(word.removeprefix(REFUSED))

    def _orphaned(self) -> None:
        if self._reactor.running:
            self.log.error("the parent process is gone: this one ends, too")
            self._reactor.stop()
