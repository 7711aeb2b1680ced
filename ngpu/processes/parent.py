"""What runs where ``processes`` is more than one: it keeps the listening sockets, and the workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from ngpu.errors import NgpuError
from ngpu.journal import Journal, this_process
from ngpu.processes.crew import Crew
from ngpu.processes.ending import Ending
from ngpu.processes.hangup import Hangups
from ngpu.processes.outline import Checker, Plan
from ngpu.processes.sockets import Sockets
from ngpu.sharing import INews, Listener
from ngpu.systemd import Systemd

RETIRED_WITHIN = 20.0
"""Seconds that calls get to end in where nobody serves meanwhile: when one process takes the place of several."""


@implementer(INews)
class _ToWorkers:
    """Tells one of the workers what is put into the parent's journal; that one tells the others."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    def say(self, topic: str, words: str) -> None:
        """See `INews`."""
        self._crew.tell(f"{topic} {words}")

    def hear(self, topic: str, listener: Listener) -> Callable[[], None]:
        """Workers tell their parent nothing of this kind."""
        return lambda: None


class Parent(Service):
    """Serves nothing itself.

    :param plan: the configuration to begin with.
    :param systemd: is told once all workers serve.
    :param generation: of the workers that it begins with.
    """

    log = Logger("ngpu")

    def __init__(
        self,
        path: Path,
        plan: Plan,
        sockets: Sockets,
        reactor: Any,
        out: tuple[IO[bytes], IO[bytes]],
        ending: Ending,
        systemd: Systemd,
        generation: int,
    ) -> None:
        self._plan = plan
        self._sockets = sockets
        self._ending = ending
        self._systemd = systemd
        self._crew = Crew(path, sockets, reactor, out, generation)
        self._journal = Journal(this_process(), reactor, _ToWorkers(self._crew))
        self._checker = Checker(path, reactor, out)
        self._hangups = Hangups(reactor, self._reload, systemd, self._crew.refused)
        self._starting: Deferred[None] | None = None
        self._succeeded = False

    def startService(self) -> None:
        """Bind the sockets, then start the workers."""
        super().startService()  # type: ignore[no-untyped-call]
        self._hangups.install()
        self._journal.start()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._ending.failed)

    async def _start(self) -> None:
        for description in self._plan.outline.listen:
            await self._sockets.hold(description)
            self.log.info("listening on {description}", description=description)
        await self._sockets.close(*self._plan.outline.listen)
        status = await self._crew.put(self._plan)
        if status:
            self._ending.leave(max(1, status))
            return
        self.log.info("{count} workers serve", count=self._plan.outline.processes)
        self._systemd.ready()
        self._hangups.ready()

    async def _reload(self) -> str:
        plan, why = await self._checker.plan()
        if plan is None:
            return why
        if plan.outline.processes == 1 and await self._crew.misses_store():
            return "the store does not answer, and the process that takes the place of all could not begin"
        new = [each for each in plan.outline.listen if each not in self._sockets]
        kept = self._plan.outline.listen
        try:
            for description in new:
                await self._sockets.hold(description)
        except NgpuError as error:
            await self._sockets.close(*kept)
            return str(error)
        if plan.outline.processes == 1:
            await self._crew.retire(RETIRED_WITHIN)
            await self._sockets.close(*plan.outline.listen)
            self._succeeded = True
            self._hangups.retire()
            descriptors = self._sockets.descriptors()
            self._ending.become_successor(descriptors, plan.text, self._crew.generation + 1, lambda: self._hangups.due)
            return ""
        status = await self._crew.put(plan)
        if status:
            await self._sockets.close(*kept)
            said = "".join(f"\n{line}" for line in self._crew.said)
            return f"a worker could not start with the new configuration{said}"
        self._plan = plan
        await self._sockets.close(*plan.outline.listen)
        self.log.info("reloaded: {count} workers serve", journal="reload_done", count=plan.outline.processes)
        return ""

    def stopService(self) -> Deferred[None]:
        """End the workers, and then this process."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._hangups.stop()
        self._journal.stop()
        if self._starting is not None:
            self._starting.cancel()
        stopping = Deferred.fromCoroutine(self._crew.stop())
        if not self._succeeded:
            await self._sockets.close()
        await stopping
