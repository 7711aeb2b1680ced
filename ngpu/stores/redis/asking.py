"""Asking Redis until it answers, for a bounded time, over connections that come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from ngpu.errors import StoreUnavailable
from ngpu.stores.redis.link import Link, reason_of
from ngpu.stores.redis.script import Script
from ngpu.stores.redis.wire import Lost, Refused, Wire, code, said

LOOK_AGAIN = 0.05
"""Seconds until the next try after Redis has said that it cannot just now."""

_PASSING = ("LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN")
_NOT_HERE = ("READONLY", "UNBLOCKED")
_WORDS = {
    "OOM": "has no memory left (maxmemory): give it more, or shorten the workspaces' retention",
    "MISCONF": "cannot write to its disk",
    "NOPERM": "does not let its user do this",
    "FENCED": "has counted this gateway as gone",
    "STALE": "was asked for something that had been given up",
}


class Member(Protocol):
    """This gateway among those that share the store. ``identity`` goes with every write."""

    @property
    def identity(self) -> bytes:
        """What writes have to show."""

    async def come_back(self, shown: bytes) -> None:
        """Have another identity, after a write that showed this one was refused; raises StoreUnavailable."""


class Call:
    """A script on its way, with its arguments.

    :param until: when it is given up.
    :ivar copies: how many of it were sent and not answered: any of them may have been run, or may be run yet.
    """

    def __init__(self, script: Script, arguments: tuple[Any, ...], until: float) -> None:
        self.script = script
        self.arguments = arguments
        self.until = until
        self.copies = 0


class Asking:
    """Sends, and sends again what got no answer: the scripts see to it that this does no harm.

    :param where: the Redis, for messages.
    :param patience: seconds that one connection gets to answer, before another one is made.
    """

    def __init__(self, prefix: str, where: str, reactor: IReactorTime, patience: float) -> None:
        self.member: Member | None = None
        self._keys = f"{prefix}:".encode()
        self._where = where
        self._reactor = reactor
        self._patience = patience

    def refusal(self, why: str) -> StoreUnavailable:
        """An error that says which Redis it is about."""
        return StoreUnavailable(f"Redis at {self._where} {why}")

    async def answer(self, link: Link, call: Call) -> bytes | None:
        """What a script answers.

        :raises StoreUnavailable: there was no answer in time.
        """
        script, member = call.script, self.member
        how = ("EVALSHA", script.digest)
        shown = b""

        def ask(wire: Wire) -> Deferred[Any]:
            nonlocal shown
            shown = member.identity if member is not None else b""
            identity = (shown,) if script.writes else ()
            asked: Deferred[Any] = wire.execute_command(*how, 1, self._keys, *identity, *call.arguments)
            call.copies += 1
            return asked.addErrback(not_run)

        def not_run(failure: Failure) -> Failure:
            if failure.check(Refused):
                call.copies -= 1
            return failure

        while True:
            try:
                return await self.reply(link, ask, call.until)  # type: ignore[no-any-return]
            except Refused as error:
                word = code(error)
                if word == "NOSCRIPT":
                    how = ("EVAL", script.text)
                elif word == "FENCED" and member is not None and self._reactor.seconds() < call.until:
                    await member.come_back(shown)
                else:
                    raise self.refused(error) from None

    def refused(self, error: Refused) -> StoreUnavailable:
        """What an error that Redis answered with means to whoever waits for the store."""
        word = code(error)
        words = _WORDS.get(word, "refuses")
        return self.refusal(words if word in ("FENCED", "STALE") else f"{words}: {said(error)}")

    async def reply(self, link: Link, ask: Callable[[Wire], Deferred[Any]], until: float) -> Any:
        """What is replied to a question that may be asked more than once.

        :raises Refused: Redis answered with an error that will not pass by itself.
        :raises StoreUnavailable: there was no reply in time.
        """
        while True:
            wire = await self._up(link, until)
            left = until - self._reactor.seconds()
            if left <= 0:
                raise self.refusal("gives no answer")
            try:
                return await ask(wire).addTimeout(min(left, self._patience), self._reactor)
            except (Lost, defer.TimeoutError):
                link.give_up(wire)
            except Refused as error:
                if code(error) in _PASSING:
                    await deferLater(self._reactor, LOOK_AGAIN)
                elif code(error) in _NOT_HERE:
                    link.give_up(wire)
                else:
                    raise

    async def _up(self, link: Link, until: float) -> Wire:
        while link.wire is None:
            left = until - self._reactor.seconds()
            try:
                await link.change().addTimeout(max(left, 0.0), self._reactor)
            except defer.TimeoutError:
                raise self.refusal(reason_of(link.failure)) from None
        return link.wire
