"""The gateway as a Twisted service: starts in the order in which nothing can be lost, and stops the other way round."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu import __version__
from ngpu.errors import NgpuError
from ngpu.parts import Parts
from ngpu.processes.ending import Ending
from ngpu.processes.hangup import Hangups
from ngpu.processes.outline import Checker
from ngpu.processes.reloads import Reloads
from ngpu.processes.sockets import Sockets
from ngpu.processes.worker import Worker
from ngpu.settings import Settings
from ngpu.systemd import Systemd

DRAIN = 20.0
"""Seconds that running calls get to end in when the gateway stops; what is left is settled at the next start."""

FLUSH = 5.0
"""Seconds that replies then get to go out in; a connection cut before would take its client's result with it."""

IDLE = 1.0
"""Seconds in which a client that has a connection may still send a request on it, before another process takes over."""

_LOOK_AGAIN = 0.05


class GatewayService(Service):
    """Starts and stops the parts.

    :param reactor: the one that runs; a start that fails stops it, and the process ends with status 1.
    :param checker: looks at the configuration when it is to be read anew.
    :param worker: this process as one of several.
    :param systemd: is told once it serves.
    :param reloads: what became of them.
    """

    log = Logger("ngpu")

    def __init__(
        self,
        parts: Parts,
        settings: Settings,
        reactor: Any,
        sockets: Sockets,
        ending: Ending,
        checker: Checker,
        worker: Worker | None,
        systemd: Systemd,
        reloads: Reloads,
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._reactor = reactor
        self._sockets = sockets
        self._ending = ending
        self._checker = checker
        self._worker = worker
        self._systemd = systemd
        self._generation = reloads.generation
        self._hangups = Hangups(reactor, self._reload, systemd, reloads.refused)
        self._starting: Deferred[None] | None = None
        self._settling: Deferred[None] | None = None
        self._retiring: Deferred[None] | None = None
        self._retired = self._succeeded = False

    def startService(self) -> None:
        """Open the store, settle what an earlier process left, check the replicas, then listen."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._worker is None:
            self._hangups.install()
        else:
            self._worker.start(self._give_way, self._ask_store)
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._ending.failed)

    async def _start(self) -> None:
        parts = self._parts
        parts.journal.start()
        await parts.store.open()
        await parts.spool.open(parts.store.add_ended)
        await parts.workspaces.load()
        if parts.desk is not None:
            await parts.desk.open()
        await parts.fleet.load()
        parts.health.start()
        await parts.dispatcher.start()
        parts.fleet.start()
        parts.following.start()
        self._settling = Deferred.fromCoroutine(parts.workspaces.settle())
        self._settling.addErrback(self._not_settled)
        parts.webhooks.start()
        parts.series.start()
        parts.pulse.start()
        for site, descriptions in ((parts.public, self._settings.listen), (parts.admin, self._settings.admin.listen)):
            for description in descriptions:
                await self._sockets.listen(description, site)
                self.log.info("listening on {description}", description=description)
        if self._worker is not None:
            self._worker.ready()
        self.log.info("ngpu {version} serves", journal="gateway_started", version=__version__)
        self._systemd.ready()
        self._hangups.ready()

    def _not_settled(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self.log.failure("removed workspaces are not settled", failure=failure)

    async def _reload(self) -> str:
        """Become a process with the configuration, and the code, that is there now; connections wait meanwhile."""
        plan, why = await self._checker.plan()
        listen: tuple[str, ...] = ()
        try:
            if plan is not None:  # another process could not begin, and what this one holds for the store would be lost
                await self._ask_store()
            for description in plan.outline.listen if plan is not None else ():
                if description not in self._sockets:
                    await self._sockets.hold(description)
                listen += (description,)
        except NgpuError as error:
            plan, why = None, str(error)
        if plan is None:
            await self._sockets.close(*self._settings.listen, *self._settings.admin.listen)
            return why
        self.log.info("the configuration is read anew: calls end, and new ones wait", journal="reload_begun")
        self._sockets.pause()
        await self._retire(DRAIN)
        await self._sockets.close(*listen)
        self._succeeded = True
        self._hangups.retire()
        descriptors = self._sockets.descriptors()
        self._ending.become_successor(descriptors, plan.text, self._generation + 1, lambda: self._hangups.due)
        return ""

    async def _ask_store(self) -> None:
        await self._parts.store.get("")

    def _give_way(self) -> None:
        """Another worker has taken this one's place."""
        if self._retiring is None:
            self._retiring = Deferred.fromCoroutine(self._end_slowly())
            self._retiring.addErrback(lambda failure: failure.trap(CancelledError))

    async def _end_slowly(self) -> None:
        await self._sockets.close()
        longest = max((each.timeout for each in self._parts.roster.workspaces.values()), default=0.0)
        await self._retire(max(DRAIN, longest))
        self._reactor.stop()

    async def _retire(self, seconds: float) -> None:
        """Let everything that has come in come to its end, for so many seconds; nothing is refused."""
        until = self._reactor.seconds() + seconds
        self._parts.dispatcher.retire()
        self._parts.webhooks.retire()
        self._parts.live.close()
        await self._last_requests()
        await self._parts.store.leadership.resign()
        while self._busy() and self._reactor.seconds() < until:
            await deferLater(self._reactor, _LOOK_AGAIN)
        self._retired = True

    async def _last_requests(self) -> None:
        """Give every connection time for a request that may be on its way; it ends with the reply, or without one."""
        sites = (self._parts.public, self._parts.admin)
        until = self._reactor.seconds() + IDLE
        for site in sites:
            site.retire()
        while sum(site.idle for site in sites) and self._reactor.seconds() < until:
            await deferLater(self._reactor, _LOOK_AGAIN)
        for site in sites:
            site.close_idle()

    def _busy(self) -> bool:
        parts = self._parts
        waiting = any(line.waiting for line in parts.roster.lines.values())
        return bool(parts.public.connections or parts.admin.connections or parts.dispatcher.busy or waiting)

    def stopService(self) -> Deferred[None]:
        """Take in nothing more, let calls end, then let go of everything."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        parts = self._parts
        self._hangups.stop()
        self._sockets.certificates.stop()
        for pending in (self._starting, self._settling, self._retiring):
            if pending is not None:
                pending.cancel()
        if not self._succeeded:
            await self._sockets.close()
        if not self._retired and any(each.startswith("systemd:") for each in self._settings.listen):
            await self._last_requests()  # the socket stays, and whoever waits in it finds the next process
        parts.live.close()
        parts.series.stop()
        parts.pulse.stop()
        parts.health.stop()
        parts.following.stop()
        if parts.desk is not None:
            parts.desk.close()
        await parts.fleet.stop()
        for site in (parts.public, parts.admin):
            site.close_idle()
        for line in parts.roster.lines.values():
            line.close()
        await parts.dispatcher.stop(FLUSH if self._retired else DRAIN)
        until = self._reactor.seconds() + FLUSH
        while parts.public.unfinished and self._reactor.seconds() < until:
            await deferLater(self._reactor, _LOOK_AGAIN)
        for site in (parts.public, parts.admin):
            site.abort_all()
        await parts.webhooks.stop()
        await parts.connections.close()
        await parts.fetcher.close()
        parts.archives.close()
        await parts.receivers.close()
        parts.spool.close()
        await parts.store.close()
        if parts.tracing is not None:
            await parts.tracing.close()
        parts.journal.stop()
