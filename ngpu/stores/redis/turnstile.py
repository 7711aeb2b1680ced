"""Work that one gateway at a time does: locks by name.

The key ``lock:<name>`` is the identity of the gateway whose turn it is, and a word for this turn; it ends by itself
unless it is renewed. Within a gateway whoever asked first is first; between gateways it is whoever asks at the right
moment. That a lock was let go of is said on the topic ``lock:<name>``.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ngpu.errors import StoreUnavailable
from ngpu.sharing import INews
from ngpu.stores.redis.desk import Desk
from ngpu.stores.redis.script import writing

T = TypeVar("T")

LENGTH = 10.0
"""Seconds after which the lock of a gateway that does not renew it is another one's."""

ASK_EVERY = 0.25
"""Seconds between asking for a lock that another gateway has, where nobody says that it is free."""

LOCK = writing("""
local got = redis.call('SET', P .. ':lock:' .. ARGV[4], ARGV[1] .. ' ' .. ARGV[5], 'NX', 'PX', ARGV[6])
return answer(got and true or false)
""")

_OURS = """
local name, word = P .. ':lock:' .. ARGV[4], ARGV[5]
local there = redis.call('GET', name)
if not there or string.match(there, ' (.*)$') ~= word then return answer(false) end
"""

RENEW = writing(_OURS + "return answer(redis.call('PEXPIRE', name, ARGV[6]) == 1)")

UNLOCK = writing(
    _OURS
    + """
redis.call('DEL', name)
say('lock:' .. ARGV[4], '')
return answer(true)
"""
)


class Turnstile:
    """See ``IStore.exclusively``.

    :param timeout: seconds in which the turn has to come.
    """

    log = Logger("ngpu.store")

    def __init__(self, desk: Desk, news: INews, reactor: Any, timeout: float) -> None:
        self._desk = desk
        self._news = news
        self._reactor = reactor
        self._timeout = timeout
        self._queues: dict[str, list[Deferred[None]]] = {}

    async def exclusively(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """See ``IStore.exclusively``."""
        until = self._reactor.seconds() + self._timeout
        await self._first_here(name, until)
        try:
            word = secrets.token_hex(8)
            await self._locked(name, word, until)
            renewing = LoopingCall(self._renew, name, word)
            renewing.clock = self._reactor
            renewing.start(LENGTH / 3, now=False)
            try:
                return await work()
            finally:
                renewing.stop()
                await self._unlocked(name, word)
        finally:
            self._next_here(name)

    async def _first_here(self, name: str, until: float) -> None:
        """Wait until nobody in this gateway is before us."""
        queue = self._queues.setdefault(name, [])
        turn: Deferred[None] = Deferred()
        queue.append(turn)
        if len(queue) == 1:
            return
        try:
            await turn.addTimeout(max(until - self._reactor.seconds(), 0.0), self._reactor)
        except BaseException as error:
            queue.remove(turn)
            if isinstance(error, defer.TimeoutError):
                raise self._too_long(name) from None
            raise

    def _next_here(self, name: str) -> None:
        queue = self._queues[name]
        del queue[0]
        if queue:
            queue[0].callback(None)
        else:
            del self._queues[name]

    async def _locked(self, name: str, word: str, until: float) -> None:
        freed: list[Deferred[None]] = []

        def heard(words: str | None) -> None:
            waiting = freed.pop() if freed else None
            if waiting is not None:
                waiting.callback(None)

        deaf = self._news.hear(f"lock:{name}", heard)
        try:
            while not await self._asked(name, word):
                left = until - self._reactor.seconds()
                if left <= 0:
                    raise self._too_long(name)
                freed.append(Deferred(lambda gone: freed.clear()))
                with suppress(defer.TimeoutError):
                    await freed[0].addTimeout(min(left, ASK_EVERY), self._reactor)
        finally:
            deaf()

    def _asked(self, name: str, word: str) -> Deferred[Any]:
        """Ask for the lock; what was got by a call that nobody waits for is given back."""
        asked: Deferred[Any] = self._desk.write(
            LOCK, name, word, int(LENGTH * 1000), undo=lambda answer: (UNLOCK, (name, word))
        )
        waiting: Deferred[Any] = Deferred(lambda gone: None)

        def over(result: Any) -> None:
            if not waiting.called:
                waiting.callback(result)
            elif result is True:
                Deferred.fromCoroutine(self._unlocked(name, word))

        asked.addBoth(over)
        return waiting

    async def _renew(self, name: str, word: str) -> None:
        try:
            if not await self._desk.write(RENEW, name, word, int(LENGTH * 1000)):
                self.log.warn("{name}: the turn was over before the work was done", name=name)
        except StoreUnavailable as error:
            self.log.warn("{name}: the turn was not made longer: {reason}", name=name, reason=str(error))

    async def _unlocked(self, name: str, word: str) -> None:
        try:
            await self._desk.write(UNLOCK, name, word)
        except StoreUnavailable as error:
            self.log.warn("{name}: the turn ends by itself: {reason}", name=name, reason=str(error))

    def _too_long(self, name: str) -> StoreUnavailable:
        return StoreUnavailable(f"another gateway is at it already, and was not done in {self._timeout:g} s ({name})")
