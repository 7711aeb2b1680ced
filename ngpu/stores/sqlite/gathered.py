"""New tasks: all that have gathered become rows with one statement."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ngpu.changing import changed
from ngpu.errors import Conflict, QueueFull, StoreUnavailable
from ngpu.model import Task, TaskStatus
from ngpu.stores.sqlite import writes
from ngpu.stores.sqlite.admission import behind_its_own, check_limit
from ngpu.stores.sqlite.lane import BATCH_BYTES, MOST_PENDING, MOST_PENDING_BYTES
from ngpu.stores.sqlite.reads import queued
from ngpu.stores.sqlite.rows import INSERT, row_of
from ngpu.stores.sqlite.schema import REQUEST

GATHER_FOR = 0.02
"""Seconds that tasks of which nobody waits wait for others, so that one commit serves many."""

MOST_AT_ONCE = 1024
"""Tasks that one statement takes in."""


@dataclass(slots=True, eq=False)
class _Entry:
    task: Task
    data: bytes
    queue_limit: int | None
    result: bytes
    done: Deferred[Task] = field(default_factory=Deferred)
    error: Exception | None = None

    @property
    def size(self) -> int:
        return len(self.data) + len(self.result)


class Gathered:
    """Gathers them while the writer is busy.

    A call of its own for each would cost the writer's thread several times as much, and take the interpreter from the
    reactor's as often.

    :param write: has a call run in the writer's thread.
    """

    def __init__(self, write: Callable[..., Deferred[Any]], clock: IReactorTime) -> None:
        self._write = write
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._gathered: deque[_Entry] = deque()
        self._due = False  # a call of the writer is on its way that takes what has gathered
        self._pending = 0
        self._pending_bytes = 0

    def add(self, task: Task, data: bytes, queue_limit: int | None, result: bytes, hurry: bool) -> Deferred[Task]:
        """Store a task, with its bodies; fires with it, and its number and place, once that is durable.

        :param hurry: false: it may wait for others.
        :raises StoreUnavailable: too much waits already, or the store is closed.
        :raises QueueFull: so many tasks wait already.
        :raises Conflict: there is a task with this id.
        """
        entry = _Entry(task, data, queue_limit, result)
        if self._pending >= MOST_PENDING or self._pending_bytes + entry.size > MOST_PENDING_BYTES:
            raise StoreUnavailable(
                f"the task store's writer is behind by {self._pending} tasks, as many as may wait; "
                "the disk is too slow for this load"
            )
        self._gathered.append(entry)
        self._pending += 1
        self._pending_bytes += entry.size
        if hurry:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(GATHER_FOR, self.flush)
        return entry.done

    def flush(self) -> None:
        """Have what has gathered written now."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if self._gathered:
            try:
                self._take()
            except StoreUnavailable as error:
                left = []
                while self._gathered:
                    left.append(self._gathered.popleft())
                self._fire(Failure(error), left)

    def _take(self) -> None:
        if self._due:
            return
        taken: list[_Entry] = []
        self._due = True
        try:
            writing = self._write(self._insert, taken)
        except BaseException:
            self._due = False
            raise
        writing.addBoth(self._fire, taken)

    def _insert(self, db: sqlite3.Connection, taken: list[_Entry]) -> None:
        """On the writer's thread, perhaps twice: once more, by itself, where the commit failed."""
        self._due = False  # before the last look at what has gathered, so that nothing is left behind
        size = sum(entry.size for entry in taken)
        while self._gathered and len(taken) < MOST_AT_ONCE and size < BATCH_BYTES:
            taken.append(self._gathered.popleft())
            size += taken[-1].size
        if not taken:
            return
        db.execute("SAVEPOINT gathered")
        try:
            _insert_all(db, taken)
        except sqlite3.IntegrityError:
            db.execute("ROLLBACK TO gathered")
            for entry in taken:
                _insert_one(db, entry)
        db.execute("RELEASE gathered")

    def _fire(self, result: object, taken: Sequence[_Entry]) -> None:
        """On the reactor."""
        self._pending -= len(taken)
        self._pending_bytes -= sum(entry.size for entry in taken)
        for entry in taken:
            error = result.value if isinstance(result, Failure) else entry.error
            if error is None:
                entry.done.callback(entry.task)
            else:
                entry.done.errback(Failure(error))
        if self._gathered and self._timer is None:  # more than one statement takes in
            self.flush()


def _insert_all(db: sqlite3.Connection, taken: Sequence[_Entry]) -> None:
    entries = _admitted(db, taken)
    if not entries:
        return
    db.executemany(INSERT, [row_of(entry.task, entry.task.place) for entry in entries])
    ((last,),) = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'tasks'").fetchall()
    pieces = [(entry.task.id, REQUEST, 0, entry.data) for entry in entries if entry.data]
    pieces += [(entry.task.id, entry.task.attempt, 0, entry.result) for entry in entries if entry.result]
    if pieces:
        db.executemany(writes.INSERT_PIECE, pieces)
    first = last - len(entries) + 1
    for number, entry in enumerate(entries, first):
        entry.task = changed(entry.task, number=number)


def _admitted(db: sqlite3.Connection, taken: Sequence[_Entry]) -> list[_Entry]:
    """Those that no limit refuses, each behind the live ones of its priority; the same as `writes.add` for all."""
    waiting: dict[str, int] = {}
    last: dict[tuple[str, int], float] = {}
    admitted = []
    for entry in taken:
        task = entry.task
        try:
            if entry.queue_limit is not None:
                if task.workspace not in waiting:
                    waiting[task.workspace] = queued(db, task.workspace)
                check_limit(waiting[task.workspace], entry.queue_limit)
                waiting[task.workspace] += task.status is TaskStatus.QUEUED
        except QueueFull as error:
            entry.error = error
            continue
        if not task.direct and not task.status.ended:  # only these ever wait in the queue
            key = task.workspace, int(task.priority)
            place = max(task.place, last[key]) if key in last else behind_its_own(db, *key, task.place)
            last[key] = place
            if place != task.place:
                entry.task = changed(task, place=place)
        entry.error = None
        admitted.append(entry)
    return admitted


def _insert_one(db: sqlite3.Connection, entry: _Entry) -> None:
    db.execute("SAVEPOINT one")
    try:
        entry.task = writes.add(db, entry.task, entry.data, entry.queue_limit, result=entry.result)
        entry.error = None
    except (Conflict, QueueFull) as error:
        db.execute("ROLLBACK TO one")
        entry.error = error
    db.execute("RELEASE one")
