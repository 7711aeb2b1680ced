"""New tasks, and ends of tasks, that have gathered: as few statements as there can be. In the writer's thread.

Each step of a statement gives the interpreter's lock to the reactor's thread, and waits to get it back. So many rows go
with one step.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from ngpu.changing import changed
from ngpu.errors import Conflict, QueueFull
from ngpu.model import Outcome, Task, TaskStatus
from ngpu.stores.record import outcome_json
from ngpu.stores.sqlite import writes
from ngpu.stores.sqlite.admission import behind_its_own, check_limit
from ngpu.stores.sqlite.gathered import Entry
from ngpu.stores.sqlite.reads import queued
from ngpu.stores.sqlite.rows import INSERTED, row_of
from ngpu.stores.sqlite.schema import REQUEST

ROWS = (32, 8, 1)
"""So many rows go with one step; each of these is a statement of its own."""

Values = tuple[Any, ...]


class New(NamedTuple):
    """A task to be added, with what its bodies hold; see ``ITaskStore.add``."""

    task: Task
    data: bytes
    queue_limit: int | None
    result: bytes


class End(NamedTuple):
    """See ``ITaskStore.finish``."""

    task_id: str
    attempt: int
    outcome: Outcome
    now: float
    last: tuple[int, bytes] | None


def add_all(db: sqlite3.Connection, entries: Sequence[Entry[New]]) -> None:
    """Add tasks; the value of each is the task with its number and place."""
    db.execute("SAVEPOINT together")
    try:
        _insert(db, entries)
    except sqlite3.IntegrityError:
        db.execute("ROLLBACK TO together")
        for entry in entries:
            _alone(db, entry, _add)
    db.execute("RELEASE together")


def add_ended(db: sqlite3.Connection, tasks: Sequence[Task]) -> None:
    """See ``ITaskStore.add_ended``."""
    db.execute("SAVEPOINT together")
    try:
        rows = enumerate(tasks, _last_number(db) + 1)
        _run(db, _insertion, [(*row_of(task, task.place), number, number) for number, task in rows])
    except sqlite3.IntegrityError:
        db.execute("ROLLBACK TO together")
        for task in tasks:
            if db.execute("SELECT 1 FROM tasks WHERE id = ?", (task.id,)).fetchone() is None:
                writes.add(db, task, b"")
            elif task.outcome is not None:
                writes.finish(db, task.id, task.attempt, task.outcome, task.ended_at or 0.0, None)
    db.execute("RELEASE together")


def end_all(db: sqlite3.Connection, entries: Sequence[Entry[End]]) -> None:
    """End tasks; the value of each is whether it was the attempt's to end."""
    if len(entries) == 1:
        _alone(db, entries[0], _end)
        return
    db.execute("SAVEPOINT together")
    if not _update(db, [entry.item for entry in entries]):
        db.execute("ROLLBACK TO together")
        for entry in entries:
            _alone(db, entry, _end)
    else:
        for entry in entries:
            entry.value, entry.error = True, None
    db.execute("RELEASE together")


def _insert(db: sqlite3.Connection, taken: Sequence[Entry[New]]) -> None:
    entries = _admitted(db, taken)
    number = _last_number(db)
    rows, pieces = [], []
    for entry in entries:
        number += 1
        task = entry.value = changed(entry.value, number=number)
        rows.append((*row_of(task, task.place), number, number))
        if entry.item.data:
            pieces.append((task.id, REQUEST, 0, entry.item.data))
        if entry.item.result:
            pieces.append((task.id, task.attempt, 0, entry.item.result))
    _run(db, _insertion, rows)
    _run(db, _keeping, pieces)


def _last_number(db: sqlite3.Connection) -> int:
    """The number that a task got last."""
    found = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'tasks'").fetchone()
    return int(found[0])


def _admitted(db: sqlite3.Connection, taken: Sequence[Entry[New]]) -> list[Entry[New]]:
    """Those that no limit refuses, each behind the live ones of its priority; see `writes.add`."""
    waiting: dict[str, int] = {}
    last: dict[tuple[str, int], float] = {}
    admitted = []
    for entry in taken:
        task, limit = entry.item.task, entry.item.queue_limit
        try:
            if limit is not None:
                if task.workspace not in waiting:
                    waiting[task.workspace] = queued(db, task.workspace)
                check_limit(waiting[task.workspace], limit)
                waiting[task.workspace] += task.status is TaskStatus.QUEUED
        except QueueFull as error:
            entry.error = error
            continue
        if not task.direct and not task.status.ended:  # only these ever wait in the queue
            key = task.workspace, int(task.priority)
            last[key] = max(task.place, last[key]) if key in last else behind_its_own(db, *key, task.place)
            task = changed(task, place=last[key])
        entry.value, entry.error = task, None
        admitted.append(entry)
    return admitted


def _update(db: sqlite3.Connection, ends: Sequence[End]) -> bool:
    """Make all of them; false where one was not to be made, and nothing counts."""
    rows = [(end.task_id, end.attempt, str(end.outcome.status), end.now, outcome_json(end.outcome)) for end in ends]
    if _run(db, _ending, rows) != len(ends):
        return False
    for end in ends:
        if end.last is None:
            writes.drop_result(db, end.task_id)
    _run(db, _keeping, [(end.task_id, end.attempt, *end.last) for end in ends if end.last is not None and end.last[1]])
    return True


def _alone(db: sqlite3.Connection, entry: Entry[Any], write: Callable[[sqlite3.Connection, Any], Any]) -> None:
    db.execute("SAVEPOINT alone")
    try:
        entry.value, entry.error = write(db, entry.item), None
    except (Conflict, QueueFull) as error:
        db.execute("ROLLBACK TO alone")
        entry.error = error
    db.execute("RELEASE alone")


def _add(db: sqlite3.Connection, new: New) -> Task:
    return writes.add(db, new.task, new.data, new.queue_limit, result=new.result)


def _end(db: sqlite3.Connection, end: End) -> bool:
    return writes.finish(db, *end)


def _run(db: sqlite3.Connection, statement: Callable[[int], str], rows: Sequence[Values]) -> int:
    """Run a statement for all of the rows; how many it changed."""
    at = done = 0
    for many in ROWS:
        while len(rows) - at >= many:
            values = [value for row in rows[at : at + many] for value in row]
            done += db.execute(statement(many), values).rowcount
            at += many
    return done


def _many(row: str, count: int) -> str:
    return ", ".join([row] * count)


@lru_cache
def _insertion(count: int) -> str:
    columns = INSERTED + ", number, turn"
    row = f"({_many('?', columns.count(',') + 1)})"
    return f"INSERT INTO tasks ({columns}) VALUES {_many(row, count)}"


@lru_cache
def _keeping(count: int) -> str:
    return f"INSERT INTO pieces (task, attempt, piece, data) VALUES {_many('(?, ?, ?, ?)', count)}"


@lru_cache
def _ending(count: int) -> str:
    # not with a WITH before it: Python counts the rows of what begins with UPDATE only
    return (
        "UPDATE tasks SET status = ends.column3, ended_at = ends.column4, outcome = ends.column5 "
        f"FROM (VALUES {_many('(?, ?, ?, ?, ?)', count)}) AS ends "
        "WHERE tasks.id = ends.column1 AND tasks.attempt = ends.column2 AND +tasks.status = 'running'"
    )
