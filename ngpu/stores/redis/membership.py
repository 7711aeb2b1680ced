"""This gateway as one of those that share the store: it says that it lives, and comes back after it was away."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import StoreUnavailable
from ngpu.stores.redis.gone import JOIN, LEAVE, RENEW
from ngpu.waiting import echo

HEARD_FOR, MISSED_FOR = 0.7, 0.3
"""Parts of a lease: for how long a gateway counts as there after a word of it, and for how long it is then missed."""

RENEWALS = 5
"""How often a gateway says that it lives while its lease lasts."""

Ask = Callable[..., Awaitable[Any]]
"""Calls a script with its arguments and gives its answer."""


class Membership:
    """See the module.

    :param process: no two gateways have the same, nor one and the next one in its place.
    :param length: seconds after which a gateway that is not heard of counts as gone.
    :ivar identity: what each write shows: the process, and which of its lives this is.
    """

    log = Logger("ngpu.store")

    def __init__(self, ask: Ask, process: str, length: float, reactor: IReactorTime) -> None:
        self.identity = b""
        self.missed = length * MISSED_FOR
        self._ask = ask
        self._process = process
        self._holder = json.dumps({"host": socket.gethostname(), "pid": os.getpid()}, sort_keys=True)
        self._heard = max(int(length * HEARD_FOR * 1000), 1)
        self._every = length / RENEWALS
        self._lives = count(1)
        self._returning: Deferred[None] | None = None
        self._watchers: list[Callable[[], None]] = []
        self._renewing = LoopingCall(self._renew)
        self._renewing.clock = reactor

    async def join(self) -> None:
        """Become one of them, or one of them again.

        :raises StoreUnavailable: Redis gives no answer.
        """
        while True:
            identity = f"{self._process}:{next(self._lives)}".encode()
            if await self._ask(JOIN, identity, self._holder, self._heard):
                break
        self.identity = identity
        self.log.info("this gateway shares the store from now on", journal="gateway_joined")
        if not self._renewing.running:
            self._renewing.start(self._every, now=False)

    def watch_loss(self, lost: Callable[[], None]) -> None:
        """See ``IStore.watch_loss``."""
        self._watchers.append(lost)

    async def come_back(self, shown: bytes) -> None:
        """After a write that showed this identity was refused: have one that may write.

        :raises StoreUnavailable: Redis gives no answer.
        """
        if self._returning is None:
            if shown != self.identity:
                return
            self._returning = Deferred.fromCoroutine(self._come_back())
            if self._returning.called:  # it may have failed at once
                returning, self._returning = self._returning, None
                await returning
                return
            self._returning.addErrback(self._not_back)
            self._returning.addBoth(self._over)
        await echo(self._returning)
        if self.identity == shown:
            raise StoreUnavailable("the store has counted this gateway as gone, and does not let it back in")

    async def _come_back(self) -> None:
        await self.join()
        self.log.critical(
            "this gateway was away for so long that others have taken over what it ran, or Redis has forgotten it",
            journal="gateway_lost",
        )
        for lost in self._watchers:
            lost()

    def _not_back(self, failure: Failure) -> None:
        failure.trap(StoreUnavailable, CancelledError)

    def _over(self, result: object) -> None:
        self._returning = None

    async def leave(self) -> None:
        """Write no more, so that what is still running here is taken over at once."""
        if self._renewing.running:
            self._renewing.stop()
        if self.identity:
            await self._ask(LEAVE, self.identity)

    def _renew(self) -> Deferred[None]:
        async def renewed() -> None:
            shown = self.identity
            try:
                if not await self._ask(RENEW, shown, self._holder, self._heard):
                    await self.come_back(shown)
            except StoreUnavailable as error:
                self.log.warn("the store has not heard that this gateway lives: {reason}", reason=str(error))

        return Deferred.fromCoroutine(renewed())
