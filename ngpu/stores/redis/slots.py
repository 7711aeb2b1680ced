"""Slots of replicas that the gateways on one Redis share: what this one holds, and what it knows of the others.

Redis counts; see `ngpu.stores.redis.turns`. What others hold is known from what they say, from the answers to one's own
calls, and from a look at all counts each second. At that look each gateway also sees to it that Redis counts for it
what it holds itself: a slot whose giving back was lost is given back then.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ngpu.errors import StoreUnavailable
from ngpu.sharing import INews, ISlots
from ngpu.stores.redis.desk import Desk, Redo
from ngpu.stores.redis.script import Script
from ngpu.stores.redis.turns import COUNTS, FREE, MEND, PASS, RESERVED, TAKE

LOOK_EVERY = 1.0
"""Seconds between looks at all counts."""

PASS_AFTER = 0.03
"""Seconds after which a turn that nobody here makes use of is left to the next gateway."""


@implementer(ISlots)
class RedisSlots:
    """See ``ISlots``. Each `take` that gave true needs one `free`, whatever happens to the gateway meanwhile.

    :param identity: who this gateway is, in its present life as a member.
    """

    log = Logger("ngpu.store")

    def __init__(self, desk: Desk, news: INews, identity: Callable[[], bytes], reactor: Any) -> None:
        self._desk = desk
        self._news = news
        self._identity = identity
        self._reactor = reactor
        self._mine: Counter[str] = Counter()
        self._sizes: dict[str, int] = {}  # slots of the replicas of which some are held
        self._elsewhere: dict[str, int] = {}
        self._asked: Counter[str] = Counter()  # calls on their way, and those of them that take
        self._taking: Counter[str] = Counter()
        self._looks: dict[object, set[str]] = {}  # for each look on its way, what it may be behind of
        self._refused: set[str] = set()
        self._stirred: set[str] = set()  # of which something was said while a call to take one was on its way
        self._later: dict[tuple[Callable[[str], None], str], IDelayedCall] = {}
        self._watchers: list[Callable[[str], None]] = []
        self._deaf: Callable[[], None] = lambda: None
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def start(self) -> None:
        """Begin to look; once the store is open."""
        self._looking.start(LOOK_EVERY, now=False)
        self._deaf = self._news.hear("slots", self._heard)

    def stop(self) -> None:
        """Look no more; what is held stays so until the gateway leaves the store."""
        self._deaf()
        self._watchers.clear()
        if self._looking.running:
            self._looking.stop()
        for call in self._later.values():
            call.cancel()
        self._later.clear()

    def rejoined(self) -> None:
        """This gateway was counted as gone, and has another identity now: what it still holds is counted anew."""
        self._refused.clear()
        self._look()

    def watch(self, changed: Callable[[str], None]) -> None:
        """See ``ISlots.watch``."""
        self._watchers.append(changed)

    def elsewhere(self, replica: str) -> int:
        """See ``ISlots.elsewhere``."""
        return self._elsewhere.get(replica, 0)

    def take(self, replica: str, slots: int) -> Deferred[bool]:
        """See ``ISlots.take``."""
        self._cancel(self._pass, replica)
        self._taking[replica] += 1
        taken: Deferred[bool] = Deferred(lambda gone: None)  # the write goes on, and `over` sees to it

        def over(result: list[Any] | Failure) -> None:
            _decrease(self._taking, replica)
            stirred = replica in self._stirred
            self._stirred.discard(replica)
            given_up = taken.called
            if isinstance(result, Failure):
                self._swallow(result) if given_up else taken.errback(result)
                return
            done, holders, turn = result
            new = not stirred and self._count(replica, holders)  # what was said is newer
            if done:
                self._mine[replica] += 1
                self._sizes[replica] = slots
                self._refused.discard(replica)
                self._cancel(self._pass, replica)
            else:
                self._refused.add(replica)
            if not done and stirred:
                self._in(0.0, self._call, replica)
            elif not done and turn >= 0:  # until another one's turn is over
                self._in((turn + 10) / 1000, self._call, replica)
            if not given_up:
                taken.callback(done)
            elif done:
                self.free(replica)
            if new:
                self._call(replica)

        self._write(TAKE, replica, slots, undo=_undo(replica, slots)).addBoth(over)
        return taken

    def free(self, replica: str) -> None:
        """See ``ISlots.free``."""
        if self._mine[replica] <= 0:
            return
        _decrease(self._mine, replica)
        self._tell_redis(FREE, replica, self._sizes[replica])
        if not self._mine[replica]:
            del self._sizes[replica]

    def _tell_redis(self, script: Script, replica: str, *arguments: Any) -> None:
        """Nobody waits for it, and the next look mends what comes to nothing."""
        self._write(script, replica, *arguments).addErrback(self._swallow)

    def _write(self, script: Script, replica: str, *arguments: Any, undo: Any = None) -> Deferred[Any]:
        async def written() -> Any:
            try:
                return await self._desk.write(script, replica, *arguments, undo=undo)
            finally:
                _decrease(self._asked, replica)
                self._moved(replica)

        self._asked[replica] += 1
        self._moved(replica)
        return Deferred.fromCoroutine(written())

    def _moved(self, replica: str) -> None:
        for behind in self._looks.values():
            behind.add(replica)

    def _swallow(self, failure: Failure) -> None:
        if not failure.check(StoreUnavailable):
            self.log.failure("a slot could not be counted", failure=failure)

    def _heard(self, words: str | None) -> None:
        if words is None:
            self._look()
            return
        replica, holders, whose = json.loads(words)
        self._moved(replica)
        self._cancel(self._call, replica)
        if self._taking[replica]:
            self._stirred.add(replica)
        new, ours = self._count(replica, holders), whose == self._identity().decode()
        if ours:
            self._in(PASS_AFTER, self._pass, replica)
        elif whose and replica in self._refused:
            self._in((RESERVED + 10) / 1000, self._call, replica)
        if new or ours:
            self._call(replica)

    def _count(self, replica: str, holders: Iterable[str]) -> bool:
        """Take in who holds how many; whether that is new."""
        counts = _counts(holders)
        others = sum(counts.values()) - counts.get(self._identity().decode(), 0)
        new = others != self.elsewhere(replica)
        if others:
            self._elsewhere[replica] = others
        else:
            self._elsewhere.pop(replica, None)
        return new

    def _call(self, replica: str) -> None:
        for changed in tuple(self._watchers):
            try:
                changed(replica)
            except Exception:  # the slots are counted all the same
                self.log.failure("it could not be told that slots changed")

    def _pass(self, replica: str) -> None:
        if self._taking[replica]:
            self._in(PASS_AFTER, self._pass, replica)
        else:
            self._refused.discard(replica)
            self._tell_redis(PASS, replica)

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._looked()).addErrback(self._swallow)

    async def _looked(self) -> None:
        look, behind, identity = object(), set(self._asked), self._identity()
        self._looks[look] = behind
        try:
            found = dict(await self._desk.read(COUNTS))
        finally:
            del self._looks[look]
        for replica in {*found, *self._elsewhere, *self._mine} - behind if identity == self._identity() else ():
            holders = found.get(replica, ())
            there, mine = _counts(holders).get(identity.decode(), 0), self._mine[replica]
            if there != mine:
                self._tell_redis(MEND, replica, there, mine)
            if self._count(replica, holders):
                self._call(replica)

    def _in(self, seconds: float, call: Callable[[str], None], replica: str) -> None:
        """Call that once, at the last time that was asked for."""
        self._cancel(call, replica)
        if not self._looking.running:
            return

        def due() -> None:
            del self._later[call, replica]
            call(replica)

        self._later[call, replica] = self._reactor.callLater(seconds, due)

    def _cancel(self, call: Callable[[str], None], replica: str) -> None:
        later = self._later.pop((call, replica), None)
        if later is not None:
            later.cancel()


def _counts(holders: Iterable[str]) -> dict[str, int]:
    """Of a reply to HGETALL in JSON, where nothing is ``{}``."""
    flat = list(holders)
    return {who: int(count) for who, count in zip(flat[::2], flat[1::2], strict=True)}


def _decrease(counter: Counter[str], replica: str) -> None:
    counter[replica] -= 1
    if counter[replica] <= 0:
        del counter[replica]


def _undo(replica: str, slots: int) -> Callable[[Any], Redo | None]:
    return lambda answer: (FREE, (replica, slots)) if answer[0] else None
