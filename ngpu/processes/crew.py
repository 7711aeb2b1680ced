"""The workers: each has a place, and a place is never empty for long."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from twisted.internet.defer import DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ngpu.processes.backoff import Backoff
from ngpu.processes.child import Child, how
from ngpu.processes.handed import Role, command
from ngpu.processes.outline import Plan
from ngpu.processes.sockets import Sockets
from ngpu.processes.vigil import Vigil
from ngpu.waiting import echo

FIGURES_WITHIN = 3.0
"""Seconds that a worker has for its figures; one that is slower is left out of that scrape."""

STOPPED_WITHIN = 40.0
"""Seconds that workers have to end in after SIGTERM, which is longer than they take to let calls end."""

REFUSED = "refused: "
"""What workers are told when a reload has changed nothing, before why."""

STORE = "store"
"""What workers are asked for before one process takes the place of all; they have it where the store answers them."""


class Crew:
    """Starts, watches, replaces and stops workers.

    :param out: where what they print goes: standard output and standard error.
    :ivar generation: of the workers that serve: how many reloads have taken effect.
    :ivar said: the last lines of the worker that could not start.
    """

    log = Logger("ngpu")

    def __init__(
        self, path: Path, sockets: Sockets, reactor: Any, out: tuple[IO[bytes], IO[bytes]], generation: int = 0
    ) -> None:
        self.generation = generation
        self.said: Sequence[str] = ()
        self._path = path
        self._sockets = sockets
        self._reactor = reactor
        self._out = out
        self._plan: Plan | None = None
        self._places: dict[int, Child] = {}
        self._backoffs: dict[int, Backoff] = {}
        self._pending: dict[int, IDelayedCall] = {}
        self._all: set[Child] = set()
        self._stopping = False
        # those that start, too: one that hangs would keep its place; and those that retire: it would keep connections
        self._vigil = Vigil(lambda: self._all, reactor)
        self._registry = CollectorRegistry()
        self._ready = Gauge("ngpu_workers", "Worker processes that serve", registry=self._registry)
        self._ready.set_function(lambda: sum(child.is_ready for child in self._places.values()))
        self._deaths = Counter(
            "ngpu_worker_deaths", "Worker processes that died and were replaced", registry=self._registry
        )

    async def put(self, plan: Plan) -> int:
        """Let as many workers as the plan has take the places of those that there are, once all of them are ready.

        The first is waited for before the others are started: what it has to make is there then, and what it cannot do
        is said once.

        :returns: 0; or the status of one that has ended before it was ready: then all is as before.
        """
        self._vigil.begin()
        fresh: dict[int, Child] = {}
        generation = self.generation + 1 if self._places else self.generation
        for numbers in (range(1, 2), range(2, plan.outline.processes + 1)):
            for number in numbers:
                fresh[number] = self._start(number, plan, generation)
            for child in tuple(fresh.values()):
                await child.ready
            failed = [child for child in fresh.values() if not child.is_ready or child.ended.called]
            if failed or self._stopping:
                for child in fresh.values():
                    child.signal(signal.SIGTERM)
                status = await failed[0].ended or 1 if failed else 1
                self.said = tuple(failed[0].last) if failed else ()
                return status
        before, self._places, self._plan = self._places, fresh, plan
        self.generation = generation
        self._backoffs = {number: Backoff() for number in fresh}
        for pending in self._pending.values():
            pending.cancel()
        self._pending.clear()
        for number, child in fresh.items():
            child.ended.addCallback(self._died, number, child)
        for child in before.values():
            child.channel.tell("retire")
        return 0

    async def retire(self, seconds: float) -> None:
        """Let all of them come to their end, for so many seconds; connections wait meanwhile."""
        self._stopping = True
        for child in self._all:
            child.channel.tell("retire")
        over = DeferredList([echo(child.ended) for child in self._all])
        over.addTimeout(seconds, self._reactor, lambda result, _: None)
        await over
        await self.stop()

    async def stop(self) -> None:
        """End all of them; returns when they have."""
        self._stopping = True
        self._vigil.stop()
        for pending in self._pending.values():
            pending.cancel()
        self._pending.clear()
        for child in self._all:
            child.signal(signal.SIGTERM)
        late = self._reactor.callLater(STOPPED_WITHIN, self._kill)
        await DeferredList([echo(child.ended) for child in self._all])
        late.cancel()

    def tell(self, word: str) -> None:
        """Say a word to one of the workers that serve."""
        for child in self._places.values():
            if child.is_ready and child.channel.there:
                child.channel.tell(word)
                return

    async def figures(self, which: str = "") -> list[str]:
        """The figures of all workers; where those are the metrics, of what is known of them here, too."""
        asked = [child.channel.ask(which) for child in self._places.values() if child.is_ready]
        for one in asked:
            one.addTimeout(FIGURES_WITHIN, self._reactor)
        answers = await DeferredList(asked, consumeErrors=True)
        found = [text for fine, text in answers if fine and text is not None]
        return found if which else [*found, generate_latest(self._registry).decode()]

    async def misses_store(self) -> bool:
        """Whether workers serve, and the store answers none of them."""
        return any(child.is_ready for child in self._places.values()) and not await self.figures(STORE)

    def refused(self, why: str) -> None:
        """A reload has changed nothing."""
        for child in self._places.values():
            child.channel.tell(REFUSED + why)

    def _start(self, number: int, plan: Plan, generation: int) -> Child:
        child = Child(number, self._reactor, self._out, self.figures)
        descriptors = self._sockets.descriptors(*plan.outline.listen)
        child.start(command(self._path), Role.WORKER, descriptors, plan.text, generation)
        self._all.add(child)
        child.ended.addCallback(self._over, child)
        if child.pid:
            self.log.info("worker {number} is process {pid}", number=number, pid=child.pid)
        return child

    def _over(self, status: int, child: Child) -> int:
        self._all.discard(child)
        return status

    def _died(self, status: int, number: int, child: Child) -> int:
        """One that serves has ended: somebody else takes its place."""
        if self._stopping or self._places.get(number) is not child:
            return status
        self._deaths.inc()
        lived = self._reactor.seconds() - child.started
        wait = self._backoffs[number].after(lived)
        self.log.error(
            "worker {number} (process {pid}) {how} after {lived:.1f} s; another one takes its place {when}{said}",
            journal="worker_died",
            number=number,
            pid=child.pid,
            how=how(status),
            lived=lived,
            when=f"in {wait:g} s" if wait else "now",
            said="".join(f"\n    {line}" for line in ("; it said last:", *child.last)) if child.last else "",
        )
        self._pending[number] = self._reactor.callLater(wait, self._replace, number)
        return status

    def _replace(self, number: int) -> None:
        del self._pending[number]
        assert self._plan is not None
        child = self._places[number] = self._start(number, self._plan, self.generation)
        child.ended.addCallback(self._died, number, child)

    def _kill(self) -> None:
        self.log.error("{count} workers did not end in time, and are killed", count=len(self._all))
        for child in self._all:
            child.signal(signal.SIGKILL)
