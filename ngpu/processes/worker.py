"""This process as one of several: how it and its parent speak."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionClosed
from twisted.logger import Logger

from ngpu.figures import Exposing
from ngpu.processes.channel import Channel, open_channel
from ngpu.processes.figures import together
from ngpu.processes.handed import Handed

ANSWER_WITHIN = 5.0
"""Seconds in which the parent has to tell what the others count; then it is this process's figures alone."""


class Worker:
    """Its end of the channel.

    :ivar number: which of the workers it is, from 1.
    """

    log = Logger("ngpu")

    def __init__(self, handed: Handed, reactor: Any) -> None:
        self.number = handed.number
        self._descriptor = handed.channel
        self._reactor = reactor
        self._channel: Channel | None = None
        self._own: Exposing | None = None
        self._retire: Callable[[], None] = lambda: None
        # a terminal sends these to every process; the parent says what is to be done
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    def share(self, figures: Exposing) -> Exposing:
        """Show everybody's figures in place of this process's own."""
        self._own = figures
        return self

    def start(self, retire: Callable[[], None]) -> None:
        """Begin to listen to the parent; where it is gone, this process ends, too.

        :param retire: called when another worker has taken this one's place.
        """
        self._retire = retire
        self._channel = Channel(self._told, self._figures, self._orphaned)
        open_channel(self._reactor, self._descriptor, self._channel)

    def ready(self) -> None:
        """It serves."""
        assert self._channel is not None
        self._channel.tell("ready")

    async def exposition(self) -> bytes:
        """The figures of all workers, in Prometheus' text format."""
        assert self._channel is not None
        asked = self._channel.ask()
        asked.addTimeout(ANSWER_WITHIN, self._reactor)
        try:
            found = await asked
        except (DeferredTimeout, ConnectionClosed):
            found = None
        return together(found or [await self._figures()])

    async def _figures(self) -> str:
        assert self._own is not None
        return (await self._own.exposition()).decode()

    def _told(self, word: str) -> None:
        if word == "retire":
            self._retire()

    def _orphaned(self) -> None:
        if self._reactor.running:
            self.log.error("the parent process is gone: this one ends, too")
            self._reactor.stop()
