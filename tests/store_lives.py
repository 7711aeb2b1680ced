"""Programs that work with a store until they are killed, and what has to be there afterwards."""

from __future__ import annotations

import select
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from task_stores import pattern, whole
from twisted.internet.task import deferLater

from ngpu.listing import TaskQuery
from ngpu.model import Task, TaskStatus

CHILD = Path(__file__).parent / "store_child.py"
"""A program of its own over a store; see there."""


@contextmanager
def child(where: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, CHILD, "work", where], stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def work_and_be_killed(
    where: str,
    moment: float,
    meanwhile: Callable[[], None] | None = None,
    at_last: Callable[[], None] | None = None,
) -> list[list[str]]:
    """Let a process work for ``moment`` seconds and kill it.

    :param meanwhile: what else happens in between.
    :param at_last: what happens right before it is killed; what it prints from then on does not count.
    :returns: the words of each line that it printed.
    """
    with child(where) as process:
        stdout = process.stdout
        assert stdout is not None
        said = bytearray(stdout.read1())  # the first line, however long the start took
        end = time.monotonic() + moment
        if meanwhile is not None:
            thread = threading.Thread(target=meanwhile)
            thread.start()
        while (left := end - time.monotonic()) > 0:
            if select.select([stdout], [], [], left)[0]:
                said += stdout.read1()
        if meanwhile is not None:
            thread.join()
        if at_last is not None:
            at_last()
            process.kill()
        else:
            process.kill()
            said += stdout.read()
    assert process.returncode == -9
    return [line.split() for line in said.decode().splitlines(keepends=True) if line.endswith("\n")]


async def all_ids(store: Any) -> list[str]:
    page = await store.list(TaskQuery("w"))
    ids = list(page.ids)
    while page.next_cursor:
        page = await store.list(TaskQuery("w", cursor=page.next_cursor))
        ids += page.ids
    return ids


async def check(store: Any, said: list[list[str]]) -> tuple[list[str], list[Task]]:
    """Whether everything is there that the process had been told is kept.

    :returns: the ids of all tasks, and those that it was running.
    """
    added = {task_id: int(size) for what, task_id, size in said if what == "added"}
    claimed = {task_id: int(attempt) for what, task_id, attempt in said if what == "claimed"}
    finished = {task_id: int(size) for what, task_id, size in said if what == "finished"}
    ids = await all_ids(store)
    assert [task_id for task_id, times in Counter(ids).items() if times > 1] == []
    assert set(added) - set(ids) == set()
    orphans = await taken_over(store, ids)
    for task_id, size in added.items():
        assert await whole(store.request_body(await store.get(task_id))) == pattern(size)
    for task_id, size in finished.items():
        task = await store.get(task_id)
        assert (task.status, task.outcome.size) == (TaskStatus.FINISHED, size)
        assert await whole(store.result_body(task)) == pattern(size)
    for task_id in set(claimed) - set(finished):
        task = await store.get(task_id)
        if task.status is TaskStatus.FINISHED:  # without being told so
            assert task.attempt == claimed[task_id]
        else:
            assert task == orphans[task_id]
            assert task.attempt == claimed[task_id] + 1
    return ids, list(orphans.values())


async def taken_over(store: Any, ids: list[str]) -> dict[str, Task]:
    """The running ones of these tasks, once all of them are the store's own."""
    from twisted.internet import reactor

    running = {task_id for task_id in ids if (await store.get(task_id)).status is TaskStatus.RUNNING}
    found: dict[str, Task] = {}
    until = time.monotonic() + 15.0
    while found.keys() != running:
        assert time.monotonic() < until, f"nobody takes over {running - found.keys()}"
        found |= {task.id: task for task in await store.orphans()}
        await deferLater(reactor, 0.02)  # type: ignore[arg-type]
    return found
