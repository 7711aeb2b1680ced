"""Where calls are handed in: each is answered once, or refused in bounded time, whatever happens to connections."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import StoreUnavailable
from ngpu.stores.redis.asking import LOOK_AGAIN, Asking, Call
from ngpu.stores.redis.link import Link, reason_of
from ngpu.stores.redis.script import SETTLE, Script
from ngpu.stores.redis.wire import Refused
from ngpu.waiting import echo, shielded

MOST_PENDING = 10_000
"""Calls that may be on their way; past it they are refused, since each of them holds memory."""

MOST_PENDING_BYTES = 256 * 1024 * 1024
"""Bytes that these calls may hold or ask for."""

Redo = tuple[Script, tuple[Any, ...]]
Undo = Callable[[Any], Redo | None]
"""What to do about a write that was made though its caller was told that it failed, by the answer that it had."""


class Desk:
    """Takes the calls of one gateway.

    :param links: the way for what is small, and the way for pieces of bodies, which nothing small then waits behind.
    :param timeout: seconds in which a call is answered or refused.
    """

    log = Logger("ngpu.store")

    def __init__(self, asking: Asking, links: tuple[Link, Link], reactor: IReactorTime, timeout: float) -> None:
        self._asking = asking
        self._small, self._bulk = links
        self._reactor = reactor
        self._timeout = timeout
        self._closed = False
        self._pending = self._pending_bytes = 0
        self._begun: set[Deferred[Any]] = set()
        self._unsettled: set[Deferred[None]] = set()
        self._serials = count(1)
        self._slots = count()
        self._free: list[int] = []

    def read(self, script: Script, *arguments: Any) -> Deferred[Any]:
        """The answer of a script that only looks.

        :raises StoreUnavailable: there is none in time, or the store is closed.
        """

        async def asked() -> Any:
            return _value(await self._asking.answer(self._small, Call(script, arguments, self._until())))

        return self._begin(asked, 0)

    def piece(self, script: Script, *arguments: Any, size: int) -> Deferred[bytes | None]:
        """The bytes that such a script gives, not more than ``size``; ``None`` for nil."""
        return self._begin(lambda: self._asking.answer(self._bulk, Call(script, arguments, self._until())), size)

    def plain(self, *command: Any) -> Deferred[Any]:
        """The reply to a command that changes nothing."""

        async def asked() -> Any:
            try:
                return await self._asking.reply(self._small, lambda wire: wire.execute_command(*command), self._until())
            except Refused as error:
                raise self._asking.refused(error) from None

        return self._begin(asked, 0)

    def write(
        self, script: Script, *arguments: Any, size: int = 0, bulk: bool = False, undo: Undo | None = None
    ) -> Deferred[Any]:
        """The answer of a script that changes something. Cancelling stops the wait; the write is made nevertheless.

        Writes that go one way are made in the order in which they are asked for.

        :param size: the bytes that it holds.
        :param bulk: it goes the way of pieces.
        :param undo: for a write that was made though StoreUnavailable was raised.
        :raises StoreUnavailable: there was no answer in time, or it is closed.
        """
        return self._begin(lambda: self._written(script, arguments, bulk, undo), size)

    async def close(self) -> None:
        """Take in nothing more, and wait for what was begun; that is bounded, as each call is."""
        self._closed = True
        await DeferredList([echo(call) for call in self._begun])
        for settling in tuple(self._unsettled):
            settling.cancel()

    def _until(self) -> float:
        return self._reactor.seconds() + self._timeout

    def _begin(self, work: Callable[[], Coroutine[Any, Any, Any]], size: int) -> Deferred[Any]:
        if self._closed:
            raise StoreUnavailable("the task store is closed")
        if self._pending >= MOST_PENDING or self._pending_bytes + size > MOST_PENDING_BYTES:
            raise self._asking.refusal(
                f"is behind by {self._pending} calls and {self._pending_bytes} bytes, as much as may wait"
            )
        self._pending += 1
        self._pending_bytes += size
        begun = Deferred.fromCoroutine(work())
        self._begun.add(begun)

        def over(result: Any) -> Any:
            self._begun.discard(begun)
            self._pending -= 1
            self._pending_bytes -= size
            return result

        return shielded(begun.addBoth(over))

    async def _written(self, script: Script, arguments: tuple[Any, ...], bulk: bool, undo: Undo | None) -> Any:
        until = self._until()
        await self._all_settled(until)
        slot, serial = self._free.pop() if self._free else next(self._slots), next(self._serials)
        call = Call(script, (slot, serial, *arguments), until)
        try:
            answer = await self._asking.answer(self._bulk if bulk else self._small, call)
        except BaseException:
            if call.copies:
                self._settle(slot, serial, undo)
            else:
                self._free.append(slot)
            raise
        self._free.append(slot)
        return _value(answer)

    async def _all_settled(self, until: float) -> None:
        """Nothing is written while it is not known what was."""
        while self._unsettled:
            left = max(until - self._reactor.seconds(), 0.0)
            try:
                await echo(next(iter(self._unsettled))).addTimeout(left, self._reactor)
            except defer.TimeoutError:
                away = self._small.wire is None
                why = reason_of(self._small.failure) if away else "has not said yet what became of earlier writes"
                raise self._asking.refusal(why) from None

    def _settle(self, slot: int, serial: int, undo: Undo | None) -> None:
        settling = Deferred.fromCoroutine(self._settled(slot, serial, undo))
        self._unsettled.add(settling)

        def over(result: Any) -> None:
            self._unsettled.discard(settling)
            if isinstance(result, Failure) and not result.check(CancelledError):
                self.log.failure("a write could not be settled", failure=result)

        settling.addBoth(over)

    async def _settled(self, slot: int, serial: int, undo: Undo | None) -> None:
        """Find out whether a write was made, see that it is not made later, and undo it."""
        answer = await self._insisted(SETTLE, (slot, serial))
        redo = undo(answer) if undo is not None and answer not in (None, False) else None
        if redo is not None:
            script, arguments = redo
            await self._insisted(script, (slot, next(self._serials), *arguments))
        self._free.append(slot)

    async def _insisted(self, script: Script, arguments: tuple[Any, ...]) -> Any:
        """As long as it takes."""
        while True:
            try:
                return _value(await self._asking.answer(self._small, Call(script, arguments, self._until())))
            except StoreUnavailable:
                await deferLater(self._reactor, LOOK_AGAIN)


def _value(answer: bytes | None) -> Any:
    return None if answer is None else json.loads(answer)
