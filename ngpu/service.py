"""The gateway as a Twisted service: starts in the order in which nothing can be lost, and stops the other way round."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.assembly import Parts
from ngpu.errors import NgpuError
from ngpu.http.listener import ListenerSite
from ngpu.settings import Settings

DRAIN = 20.0
"""Seconds that running calls get to end in when the gateway stops; what is left is settled at the next start."""

FLUSH = 5.0
"""Seconds that replies then get to go out in; a connection cut before would take its client's result with it."""

_LOOK_AGAIN = 0.05


class GatewayService(Service):
    """Starts and stops the parts.

    :param reactor: the one that runs; a start that fails stops it, and the process ends with status 1.
    """

    log = Logger("ngpu")

    def __init__(self, parts: Parts, settings: Settings, reactor: Any) -> None:
        self._parts = parts
        self._settings = settings
        self._reactor = reactor
        self._ports: list[IListeningPort] = []
        self._starting: Deferred[None] | None = None
        self._settling: Deferred[None] | None = None

    def startService(self) -> None:
        """Open the store, settle what an earlier process left, check the replicas, then listen."""
        super().startService()  # type: ignore[no-untyped-call]
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._failed)

    async def _start(self) -> None:
        parts = self._parts
        await parts.store.open()
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
        for site, descriptions in ((parts.public, self._settings.listen), (parts.admin, self._settings.admin.listen)):
            for description in descriptions:
                self._ports.append(await self._listen(site, description))

    async def _listen(self, site: ListenerSite, description: str) -> IListeningPort:
        try:
            port: IListeningPort = await serverFromString(self._reactor, description).listen(site)
        except CannotListenError as error:
            raise NgpuError(f"cannot listen on {description}: {error.socketError}") from None
        except OSError as error:
            raise NgpuError(f"cannot listen on {description}: {error}") from None
        self.log.info("listening on {description}", description=description)
        return port

    def _not_settled(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self.log.failure("removed workspaces are not settled", failure=failure)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        if failure.check(NgpuError):
            print(f"ngpu: {failure.getErrorMessage()}", file=sys.stderr)
        else:
            self.log.failure("the gateway could not start", failure=failure)
        # twistd has no other way to end with a status of ours
        self._reactor.addSystemEventTrigger("after", "shutdown", self._exit)
        self._reactor.stop()

    def _exit(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    def stopService(self) -> Deferred[None]:
        """Take in nothing more, let calls end, then let go of everything."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        parts = self._parts
        for pending in (self._starting, self._settling):
            if pending is not None:
                pending.cancel()
        for port in self._ports:
            stopped = port.stopListening()
            if stopped is not None:
                await stopped
        parts.health.stop()
        parts.following.stop()
        if parts.desk is not None:
            parts.desk.close()
        await parts.fleet.stop()
        for site in (parts.public, parts.admin):
            site.close_idle()
        for line in parts.roster.lines.values():
            line.close()
        await parts.dispatcher.stop(DRAIN)
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
        await parts.store.close()
