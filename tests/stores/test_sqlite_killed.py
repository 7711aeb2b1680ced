"""A gateway's process is killed at any moment: what it had been told is kept stays kept."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest_twisted
from sqlite_store import opened
from store_lives import check, work_and_be_killed

from ngpu.model import TaskStatus

ROUNDS = 10
STEPS = ("added", "claimed", "finished")


async def check_file(store: Any, ids: list[str], path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        lost = db.execute("SELECT count(*) FROM pieces WHERE task NOT IN (SELECT id FROM tasks)").fetchone()
        counted = db.execute("SELECT sum(queued) FROM queue").fetchone()
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert lost == (0,)
    assert (counted[0] or 0) == Counter([(await store.get(task_id)).status for task_id in ids])[TaskStatus.QUEUED]


@pytest_twisted.ensureDeferred
async def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    """Ten lives of one file, or more where they do little; what was running when one ended is put back for the next."""
    path = tmp_path / "ngpu.sqlite"
    rng = random.Random()
    steps: Counter[str] = Counter()
    for life in range(10 * ROUNDS):
        if life >= ROUNDS and min(steps[what] for what in STEPS) > ROUNDS:
            break
        said = work_and_be_killed(str(path), rng.uniform(0.0, 0.3))
        steps.update(line[0] for line in said)
        store = await opened(path)
        ids, orphans = await check(store, said)
        await check_file(store, ids, path)
        for task in orphans:
            assert await store.requeue(task.id, task.attempt)
        await store.close()
    assert min(steps[what] for what in STEPS) > ROUNDS
