"""A gateway's process is killed at any moment: what it had been told is kept stays kept."""

from __future__ import annotations

import random
import select
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest_twisted
from sqlite_store import CHILD, opened
from task_stores import pattern, whole

from ngpu.model import TaskQuery, TaskStatus

ROUNDS = 10


@contextmanager
def child(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, CHILD, "work", path], stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def work_and_be_killed(path: Path, moment: float) -> list[list[str]]:
    """Let a process work for ``moment`` seconds and kill it.

    :returns: the words of each line that it printed.
    """
    with child(path) as process:
        stdout = process.stdout
        assert stdout is not None
        said = bytearray(stdout.read1())  # the first line, however long the start took
        end = time.monotonic() + moment
        while (left := end - time.monotonic()) > 0:
            if select.select([stdout], [], [], left)[0]:
                said += stdout.read1()
        process.kill()
        said += stdout.read()
    assert process.returncode == -9
    return [line.split() for line in said.decode().splitlines()]


async def all_ids(store: Any) -> list[str]:
    page = await store.list(TaskQuery("w"))
    ids = list(page.ids)
    while page.next_cursor:
        page = await store.list(TaskQuery("w", cursor=page.next_cursor))
        ids += page.ids
    return ids


async def check(store: Any, said: list[list[str]], path: Path) -> None:
    added = {task_id: int(size) for what, task_id, size in said if what == "added"}
    claimed = {task_id: int(attempt) for what, task_id, attempt in said if what == "claimed"}
    finished = {task_id: int(size) for what, task_id, size in said if what == "finished"}
    ids = await all_ids(store)
    assert [task_id for task_id, times in Counter(ids).items() if times > 1] == []
    assert set(added) - set(ids) == set()
    orphans = {task.id: task for task in await store.orphans()}
    for task_id, size in added.items():
        assert await whole(store.request_body(await store.get(task_id))) == pattern(size)
    for task_id, size in finished.items():
        task = await store.get(task_id)
        assert (task.status, task.outcome.size) == (TaskStatus.FINISHED, size)
        assert await whole(store.result_body(task)) == pattern(size)
    for task_id in set(claimed) - set(finished):
        task = await store.get(task_id)
        # it may have finished without being told so
        assert task.attempt == claimed[task_id]
        assert task.status is TaskStatus.FINISHED or task == orphans[task_id]
    with closing(sqlite3.connect(path)) as db:
        lost = db.execute("SELECT count(*) FROM pieces WHERE task NOT IN (SELECT id FROM tasks)").fetchone()
        counted = db.execute("SELECT sum(queued) FROM queue").fetchone()
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert lost == (0,)
    assert (counted[0] or 0) == Counter([(await store.get(task_id)).status for task_id in ids])[TaskStatus.QUEUED]


@pytest_twisted.ensureDeferred
async def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    """Ten lives of one file; what was running when one ended is put back for the next."""
    path = tmp_path / "ngpu.sqlite"
    rng = random.Random()
    steps: Counter[str] = Counter()
    for _ in range(ROUNDS):
        said = work_and_be_killed(path, rng.uniform(0.0, 0.3))
        steps.update(line[0] for line in said)
        store = await opened(path)
        await check(store, said, path)
        for task in await store.orphans():
            assert await store.requeue(task.id, task.attempt)
        assert await store.orphans() == []
        await store.close()
    assert min(steps[what] for what in ("added", "claimed", "finished")) > ROUNDS
