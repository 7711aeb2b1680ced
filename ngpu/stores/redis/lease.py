"""Whose the store is: a lease that is renewed, and a fence that every write shows.

The lease says to other gateways that this one lives. The fence is what keeps a gateway away that was paused for longer
than its lease: it has the number of its holder, and once another one has a higher number, no script takes the older.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from ngpu.errors import ConfigError, StoreUnavailable
from ngpu.stores.redis.script import unfenced

RENEWALS = 3
"""How often a lease is renewed while it lasts."""

LOOK_EVERY = 0.25
"""Seconds between looks at the lease of another gateway."""

SLACK = 200.0
"""Milliseconds by which a lease that nobody renews may seem to grow, between two looks."""

ACQUIRE = unfenced("""
local me, holder, length = unpack(ARGV)
local lease = redis.call('GET', P .. ':lease')
if lease and lease ~= holder then return cjson.encode({lease, redis.call('PTTL', P .. ':lease')}) end
local fence = redis.call('GET', P .. ':fence') or '0'
if lease and string.match(fence, ' (.*)$') == me then return cjson.encode({fence}) end
fence = tonumber(string.match(fence, '^%d+')) + 1 .. ' ' .. me
redis.call('SET', P .. ':fence', fence)
redis.call('SET', P .. ':lease', holder, 'PX', length)
redis.call('DEL', P .. ':answers')
for _, id in ipairs(redis.call('HKEYS', P .. ':uploads')) do redis.call('UNLINK', P .. ':request:' .. id) end
redis.call('DEL', P .. ':uploads')
return cjson.encode({fence})
""")
"""Takes the store, and clears away what a killed gateway left half done; or says who has it, and for how long.

Asked again by its holder it changes nothing.
"""

RENEW = unfenced("""
local fence, holder, length = unpack(ARGV)
local there = redis.call('GET', P .. ':fence') or '0'
if there ~= fence then
    if tonumber(string.match(there, '^%d+')) >= tonumber(string.match(fence, '^%d+')) then return 'false' end
    redis.call('SET', P .. ':fence', fence)
end
local lease = redis.call('GET', P .. ':lease')
if lease and lease ~= holder then return 'false' end
redis.call('SET', P .. ':lease', holder, 'PX', length)
return 'true'
""")
"""A lower fence is ours nevertheless: a replica that became master had not heard of ours yet."""

RELEASE = unfenced("""
if redis.call('GET', P .. ':lease') == ARGV[1] then redis.call('DEL', P .. ':lease') end
return 'true'
""")

Ask = Callable[..., Awaitable[Any]]
"""Calls a script with its arguments and gives its answer."""


class Lease:
    """This gateway's hold on the store.

    :param me: no two gateways have the same, nor one in two of its lives.
    :param length: seconds after which a gateway that does not renew it counts as gone.
    """

    log = Logger("ngpu.store")

    def __init__(self, ask: Ask, me: str, length: float, reactor: IReactorTime) -> None:
        self.fence = b""
        self.lost = False
        self._ask = ask
        self._me = me
        self._holder = json.dumps({"id": me, "host": socket.gethostname(), "pid": os.getpid()}, sort_keys=True)
        self._length = length
        self._reactor = reactor
        self._renewing = LoopingCall(self._renew)
        self._renewing.clock = reactor

    async def acquire(self, what: str) -> None:
        """Take the store; that of a gateway that is gone once its lease has run out.

        :param what: the store, as the beginning of a sentence.
        :raises ConfigError: another gateway has it, and renews its lease.
        """
        ends: float | None = None
        while True:
            found = await self._ask(ACQUIRE, self._me, self._holder, self._milliseconds())
            if len(found) == 1:
                self.fence = found[0].encode()
                break
            holder, left = found
            now = self._reactor.seconds() * 1000
            if ends is None:
                ends = now + left
                self.log.info(
                    "waiting for the lease of {holder} to run out, in {left} ms", holder=_told(holder), left=left
                )
            elif now + left > ends + SLACK:
                raise ConfigError(
                    f"{what} is in use by the gateway with {_told(holder)}; "
                    "stop that one, or give this one a prefix or a database of its own"
                )
            await deferLater(self._reactor, min(LOOK_EVERY, max(left, 10) / 1000))
        self._renewing.start(self._length / RENEWALS, now=False)

    async def still_ours(self) -> bool:
        """Renew the lease; false, for good, once another gateway has the store."""
        if not self.lost and not await self._ask(RENEW, self.fence, self._holder, self._milliseconds()):
            self.lost = True
            self.log.critical("another gateway has taken the store over; this one can write nothing any more")
        return not self.lost

    async def release(self) -> None:
        """Let go, so that the next gateway need not wait."""
        if self._renewing.running:
            self._renewing.stop()
        if self.fence and not self.lost:
            await self._ask(RELEASE, self._holder)

    def _milliseconds(self) -> int:
        return max(int(self._length * 1000), 1)

    def _renew(self) -> Deferred[None]:
        async def renewed() -> None:
            try:
                await self.still_ours()
            except StoreUnavailable as error:
                self.log.warn("the lease of the store was not renewed: {reason}", reason=str(error))
            if self.lost:
                self._renewing.stop()

        return Deferred.fromCoroutine(renewed())


def _told(holder: str) -> str:
    """Who has a lease, for people."""
    try:
        known = json.loads(holder)
        return f"pid {known['pid']} on {known['host']}"
    except (ValueError, KeyError, TypeError):
        return "a name that this version cannot read"
