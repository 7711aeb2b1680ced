"""Writes of one kind that gather while the writer is busy, and are then made together."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ngpu.errors import StoreUnavailable
from ngpu.polling import when_idle
from ngpu.stores.sqlite.lane import BATCH_BYTES, MOST_PENDING, MOST_PENDING_BYTES

GATHER_FOR = 0.02
"""Seconds that a write of which nobody waits waits for others, so that one commit serves many."""

HURRY_FOR = 0.01
"""The same of one that somebody waits for, while the reactor has more to do, which may bring others."""

MOST_AT_ONCE = 1024
"""Writes that are made together at most."""

I = TypeVar("I")  # noqa: E741


@dataclass(slots=True, eq=False)
class Entry(Generic[I]):
    """One write and what became of it; ``error`` decides whether ``value`` means anything."""

    item: I
    size: int
    done: Deferred[Any] = field(default_factory=Deferred)
    value: Any = None
    error: Exception | None = None


class Gathered(Generic[I]):
    """Gathers them.

    A commit of its own for each would cost the writer's thread several times as much, and take the interpreter from the
    reactor's as often. So they wait until the reactor has nothing else to do, and its thread leaves the interpreter to
    the writer's.

    :param write: has a call run in the writer's thread.
    :param keep: makes the writes, in that thread, perhaps twice; fills in ``value`` or ``error`` of each.
    :param beside: others, which are made along with these.
    """

    def __init__(
        self,
        write: Callable[..., Deferred[Any]],
        keep: Callable[[sqlite3.Connection, Sequence[Entry[I]]], None],
        clock: IReactorTime,
        beside: Gathered[Any] | None = None,
    ) -> None:
        self._beside = beside
        self._asked = False
        self._write = write
        self._keep = keep
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._gathered: deque[Entry[I]] = deque()
        self._due: list[Entry[I]] | None = None  # a call of the writer is on its way that takes what has gathered
        self._pending = 0
        self._pending_bytes = 0

    def add(self, item: I, size: int, hurry: bool = True) -> Deferred[Any]:
        """Have a write made; fires with its value once that is durable, with StoreUnavailable where it cannot be.

        :param size: the bytes that it holds.
        :param hurry: false: it may wait for others.
        """
        entry = Entry(item, size)
        if self._pending >= MOST_PENDING or self._pending_bytes + size > MOST_PENDING_BYTES:
            behind = f"the task store's writer is behind by {self._pending} tasks, as many as may wait"
            return fail(StoreUnavailable(f"{behind}; the disk is too slow for this load"))
        self._gathered.append(entry)
        self._pending += 1
        self._pending_bytes += size
        if hurry:
            if not self._asked:
                self._asked = True
                when_idle(self._clock, self.flush, HURRY_FOR)
        elif self._timer is None:
            self._timer = self._clock.callLater(GATHER_FOR, self.flush)
        return entry.done

    def flush(self) -> None:
        """Have what has gathered written now."""
        self._asked = False
        if self._beside is not None:
            self._beside.flush()
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if self._gathered:
            try:
                self._take()
            except StoreUnavailable as error:
                self._fire(Failure(error), self._all())

    def _take(self) -> None:
        if self._due is not None:
            return
        taken: list[Entry[I]] = []
        self._due = taken
        try:
            writing = self._write(self._make, taken)
        except BaseException:
            self._due = None
            raise
        writing.addBoth(self._made, taken)

    def _make(self, db: sqlite3.Connection, taken: list[Entry[I]]) -> None:
        """On the writer's thread, perhaps twice: once more, by itself, where the commit failed."""
        if self._due is taken:
            self._due = None  # before the last look at what has gathered, so that nothing is left behind
        size = sum(entry.size for entry in taken)
        while self._gathered and len(taken) < MOST_AT_ONCE and size < BATCH_BYTES:
            taken.append(self._gathered.popleft())
            size += taken[-1].size
        if taken:
            self._keep(db, taken)

    def _made(self, result: object, taken: list[Entry[I]]) -> None:
        if self._due is taken:  # the writer could not even begin, and no other call will take what has gathered
            self._due = None
            taken = self._all()
        self._fire(result, taken)

    def _all(self) -> list[Entry[I]]:
        """What has gathered, which has not then."""
        left = []
        while self._gathered:
            left.append(self._gathered.popleft())
        return left

    def _fire(self, result: object, taken: Sequence[Entry[I]]) -> None:
        """On the reactor."""
        self._pending -= len(taken)
        self._pending_bytes -= sum(entry.size for entry in taken)
        for entry in taken:
            error = result.value if isinstance(result, Failure) else entry.error
            if error is None:
                entry.done.callback(entry.value)
            else:
                entry.done.errback(Failure(error))
        if self._gathered and self._timer is None:  # more than are made at once
            self.flush()
