"""One Docker daemon, asked in threads of its own: what any engine plugin over Docker's API stands on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, TypeVar

from twisted.logger import Logger

from ngpu.engines.client import Client
from ngpu.engines.dialling import Way
from ngpu.engines.sentences import told
from ngpu.engines.streams import Feed
from ngpu.engines.threads import Threads
from ngpu.errors import EngineUnreachable

T = TypeVar("T")

CALLS, STREAMS, LOGS = 4, 16, 32
"""Threads of one engine at most: for calls that end soon, for pulls and loads, and for logs, which may be read on for
as long as somebody likes and must take no place from those."""

MARGIN = 1.0
"""Seconds after a call's deadline at which its thread itself gives up, should nobody have ended it."""


class _Tool(Client):
    """A client as a thread's tool."""

    def abort(self) -> None:
        """End its connections; from another thread."""
        self.opened.abort()


class Daemon:
    """Asks an engine; whatever comes back, or does not, becomes an EngineError.

    :param reactor: IReactorTime and IReactorFromThreads.
    :param timeout: of a call, in seconds.
    :param stall: how long a pull or a load may say nothing, in seconds.
    """

    log = Logger("ngpu.engine")

    def __init__(self, way: Way, reactor: Any, timeout: float, stall: float) -> None:
        self.where = way.where
        self.timeout = timeout
        self.reactor = reactor
        self._way = way
        self._stall = stall
        self._calls: Threads[_Tool] = Threads(reactor, CALLS, self._make, f"the engine at {way.where}")
        self._streams: Threads[_Tool] = Threads(reactor, STREAMS, self._make, f"the engine at {way.where}")
        self._logs: Threads[_Tool] = Threads(reactor, LOGS, self._make, f"the engine at {way.where}")

    def _make(self) -> _Tool:
        return _Tool(self._way)

    async def ask(self, question: Callable[[Client], T], about: str = "", extra: float = 0.0) -> T:
        """The answer to a question, which is put in a thread.

        :param about: the image or container it is about, for the sentences of refusals.
        :param extra: seconds that it may take beyond the timeout.
        :raises EngineError: see `ngpu.containers.IContainerEngine`.
        """
        seconds = self.timeout + extra

        def put(client: _Tool) -> T:
            client.allow(seconds + MARGIN)
            return self._guarded(client, question, about)

        return await self._calls.run(put, seconds)

    async def follow(self, work: Callable[[Client], T], about: str = "") -> T:
        """The same for work that goes on for as long as the engine says something, such as a pull."""

        def put(client: _Tool) -> T:
            client.allow(float("inf"), self._stall)
            return self._guarded(client, work, about)

        return await self._streams.run(put, None)

    async def feed(
        self, source: Callable[[Client], Iterator[bytes]], about: str, quiet: bool
    ) -> AsyncGenerator[bytes, None]:
        """What an endless call brings, piece by piece, at the reader's pace; closing it ends the call.

        :param quiet: whether it may say nothing for as long as it likes, once it has answered.
        """
        feed = Feed(self.reactor, self.where)

        def put(client: _Tool) -> None:
            client.allow(float("inf"), self.timeout + MARGIN)
            pieces = self._guarded(client, source, about)
            self.reactor.callFromThread(feed.begun)
            if quiet:
                client.opened.be_patient()
            self._guarded(client, lambda _: feed.take_all(pieces), about)

        running = self._logs.run(put, None)
        feed.watch(running, self.timeout)
        try:
            async for piece in feed:
                yield piece
        finally:
            feed.close()
            running.cancel()

    def _guarded(self, client: _Tool, work: Callable[[Client], T], about: str) -> T:
        """In the thread: do it, and put what goes wrong into a sentence."""
        try:
            client.negotiate()
            return work(client)
        except Exception as error:
            said = client.opened.said
            known = told(error, self.where, about, said)
            if isinstance(known, EngineUnreachable):
                client.forget()
            if known is None:
                raise
            raise known from None

    async def close(self) -> None:
        """Give up what is under way."""
        self._calls.close()
        self._streams.close()
        self._logs.close()
