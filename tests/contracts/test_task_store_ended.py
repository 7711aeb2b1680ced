"""What every `ITaskStore` does with a task that has ended when it comes: of a call whose client waited for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from task_stores import DONE, HERE, pattern, sample, whole
from twisted.internet.defer import DeferredList, ensureDeferred, gatherResults
from twisted.python.failure import Failure

from ngpu.errors import Conflict
from ngpu.model import CHUNK, BytesBody, Outcome, Task, TaskStatus

EMPTY = BytesBody()


def over(task_id: str, outcome: Outcome) -> Task:
    return sample(task_id, status=outcome.status, outcome=outcome, attempt=1, started_at=1000.5, ended_at=1001.0)


@pytest.mark.parametrize("size", [0, 1, CHUNK])
@pytest.mark.parametrize("sent", [0, 1, CHUNK + 1])
@pytest_twisted.ensureDeferred
async def test_it_has_its_bodies(store: Any, sent: int, size: int) -> None:
    task = replace(over("t", replace(DONE, size=size)), request_size=sent, placement=HERE, direct=True, attempt=2)
    stored = await store.add(task, BytesBody(pattern(sent)), None, None, pattern(size))
    assert stored == replace(task, number=stored.number)
    assert await store.get("t") == stored
    assert await whole(store.request_body(stored)) == pattern(sent)
    assert await whole(store.result_body(stored)) == pattern(size)
    assert await store.orphans() == []
    assert await store.cancel("t", 1002.0) is TaskStatus.FINISHED


@pytest_twisted.ensureDeferred
async def test_many_at_once_each_get_their_number(store: Any) -> None:
    adding = [
        ensureDeferred(store.add(over(f"t{n}", replace(DONE, size=len(b"%d" % n))), EMPTY, None, None, b"%d" % n))
        for n in range(50)
    ]
    stored = await gatherResults(adding)
    assert [await store.get(f"t{n}") for n in range(50)] == stored
    assert [task.number for task in stored] == sorted({task.number for task in stored})
    for n in range(50):
        assert await whole(store.result_body(stored[n])) == b"%d" % n


@pytest_twisted.ensureDeferred
async def test_an_id_that_is_taken_harms_no_other(store: Any) -> None:
    await store.add(sample("t1"), EMPTY)
    adding = [ensureDeferred(store.add(over(f"t{n}", DONE), EMPTY)) for n in range(3)]
    results = await DeferredList(adding, consumeErrors=True)
    assert [fine for fine, _ in results] == [True, False, True]
    assert isinstance(results[1][1], Failure)
    assert results[1][1].check(Conflict)
    assert (await store.get("t1")).status is TaskStatus.QUEUED
    assert [(await store.get(name)).status for name in ("t0", "t2")] == [TaskStatus.FINISHED] * 2


@pytest_twisted.ensureDeferred
async def test_ends_come_together(store: Any) -> None:
    tasks = [replace(over(f"t{n}", DONE), placement=HERE, direct=True) for n in range(70)]
    await store.add_ended(tasks)
    kept = [await store.get(task.id) for task in tasks]
    assert [replace(task, number=0) for task in kept] == tasks
    assert len({task.number for task in kept}) == 70
    added = await store.add(sample("later"), EMPTY)
    assert added.number > max(task.number for task in kept)
    assert await store.queue_position(added) == 1


@pytest_twisted.ensureDeferred
async def test_what_is_there_already_is_left_as_it_is(store: Any) -> None:
    await store.add(sample("t1"), EMPTY)
    tasks = [over(f"t{n}", DONE) for n in range(3)]
    await store.add_ended(tasks)
    await store.add_ended(tasks)  # one whose answer was lost is asked for once more
    assert (await store.get("t1")).status is TaskStatus.QUEUED
    assert [(await store.get(name)).status for name in ("t0", "t2")] == [TaskStatus.FINISHED] * 2
    assert await store.queued(sample("t1").workspace) == 1


@pytest_twisted.ensureDeferred
async def test_one_that_runs_in_the_same_attempt_ends_so(store: Any) -> None:
    for n in range(3):
        await store.add(sample(f"t{n}", status=TaskStatus.RUNNING, attempt=1, started_at=1000.5, direct=True), EMPTY)
    assert await store.reattempt("t1", 1, HERE) == 2
    await store.cancel("t2", 1000.7)
    await store.add_ended([over(f"t{n}", DONE) for n in range(4)])
    kept = [await store.get(f"t{n}") for n in range(4)]
    statuses = [TaskStatus.FINISHED, TaskStatus.RUNNING, TaskStatus.CANCELLED, TaskStatus.FINISHED]
    assert [task.status for task in kept] == statuses
    assert (kept[0].outcome, kept[0].ended_at) == (DONE, 1001.0)
    assert [task.id for task in await store.orphans()] in ([], ["t1"])
