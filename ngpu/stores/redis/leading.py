"""Which gateway works on the fleet: a lease that one of them has, and what only that one may write.

The key ``leader`` is the identity of the one that leads, and ends by itself unless it is renewed. The leader believes
it for a shorter time than Redis keeps it, counted from before it asked and on a clock of its own, so that it has ceased
to lead by the time at which another one can begin, even where it was stopped meanwhile. A Redis that becomes master
without having heard of the lease, or whose clock jumps ahead, may give it to another one early: what is written for the
fleet is compared with ``leader`` in the same step, and is never written by two.

That it was let go of is said on the topic ``leader``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from ngpu.errors import StoreUnavailable
from ngpu.sharing import ILeadership, INews
from ngpu.stores.redis.desk import Desk
from ngpu.stores.redis.script import writing

RENEWALS = 3
"""How often a lease is renewed while it lasts."""

BELIEVED = 0.8
"""The part of its length for which a lease is believed."""

AGAIN_AFTER = 0.5
"""Seconds until the next try after one that Redis did not answer."""

LEAD = writing("""
local there = redis.call('GET', P .. ':leader')
if there and there ~= ARGV[1] then return answer(redis.call('PTTL', P .. ':leader')) end
redis.call('SET', P .. ':leader', ARGV[1], 'PX', ARGV[4])
return answer(true)
""")
"""Begins to lead, or goes on; or says for how many milliseconds another one's lease lasts yet."""

LEAVE = writing("""
if redis.call('GET', P .. ':leader') ~= ARGV[1] then return answer(false) end
redis.call('DEL', P .. ':leader')
say('leader', '')
return answer(true)
""")


@implementer(ILeadership)
class RedisLeadership:
    """See ``ILeadership``.

    :param identity: who this gateway is, in its present life as a member.
    :param length: seconds of the lease.
    :param now: seconds on a clock that goes on while this process is stopped, and never jumps.
    """

    log = Logger("ngpu.store")

    def __init__(
        self,
        desk: Desk,
        news: INews,
        identity: Callable[[], bytes],
        length: float,
        reactor: Any,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._news = news
        self._identity = identity
        self._length = length
        self._reactor = reactor
        self._now = now
        self._until = float("-inf")
        self._told = False
        self._watchers: list[Callable[[], None]] = []
        self._ends: IDelayedCall | None = None
        self._deaf: Callable[[], None] = lambda: None
        self._work: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._soon = self._stopped = False

    def leads(self) -> bool:
        """See ``ILeadership.leads``."""
        return self._now() < self._until

    def watch(self, changed: Callable[[], None]) -> None:
        """See ``ILeadership.watch``."""
        self._watchers.append(changed)

    def start(self) -> None:
        """Begin to try; once the store is open."""
        self._work = Deferred.fromCoroutine(self._tries())
        self._deaf = self._news.hear("leader", lambda words: self._wake())

    async def resign(self) -> None:
        """See ``ILeadership.resign``; before the store is closed."""
        if self._work is None or self._stopped:
            return
        self._stopped = True
        self._deaf()
        self._wake()
        self._believe(float("-inf"))
        try:
            await self._desk.write(LEAVE)
        except StoreUnavailable as error:
            self.log.warn("the lease of the leader runs out by itself: {reason}", reason=str(error))

    def rejoined(self) -> None:
        """This gateway was counted as gone, and has another identity now."""
        self._believe(float("-inf"))
        self._wake()

    async def _tries(self) -> None:
        while not self._stopped:
            self._soon = False
            pause = await self._tried()
            if self._soon or self._stopped:
                continue
            self._pause = deferLater(self._reactor, pause)
            with suppress(CancelledError):  # woken
                await self._pause
            self._pause = None

    async def _tried(self) -> float:
        """Ask for the lease once; the seconds until it is asked for again."""
        pause, before, identity = self._length / RENEWALS, self._now(), self._identity()
        try:
            answer: Any = await self._desk.write(LEAD, max(int(self._length * 1000), 1))
        except StoreUnavailable as error:
            self.log.debug("the lease of the leader was not renewed: {reason}", reason=str(error))
            return min(pause, AGAIN_AFTER)
        if self._stopped or identity != self._identity():
            return 0.0
        if answer is True:
            self._believe(before + self._length * BELIEVED)
            return pause
        self._believe(float("-inf"))
        return min(pause, max(float(answer), 50.0) / 1000 + 0.01)

    def _wake(self) -> None:
        self._soon = True
        if self._pause is not None:
            self._pause.cancel()

    def _believe(self, until: float) -> None:
        self._until = until
        if self._ends is not None:
            self._ends.cancel()
            self._ends = None
        leads, left = self.leads(), until - self._now()
        if leads:
            self._ends = self._reactor.callLater(left, self._ended)
        if leads is not self._told:
            self._told = leads
            if leads:
                self.log.info("this gateway leads", journal="gateway_leads")
            else:
                self.log.info("this gateway leads no more", journal="gateway_leads_no_more")
            for changed in tuple(self._watchers):
                try:
                    changed()
                except Exception:  # it leads, or does not, all the same
                    self.log.failure("it could not be told who leads")

    def _ended(self) -> None:
        self._ends = None
        self._believe(self._until)
