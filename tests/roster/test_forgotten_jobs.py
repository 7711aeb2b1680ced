"""Jobs of apps whose record the store has forgotten meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gateway_rig import done
from roster_rig import Hall

from ngpu.adapter import WorkerReply
from ngpu.changing import changed
from ngpu.errors import Conflict
from ngpu.model import TaskStatus
from ngpu.testing.forwarder import FakeReply

ID = "w1"


class Saver:
    """An adapter that saves how far it is; ``meanwhile`` happens before that."""

    deadline = 60.0
    meanwhile: Callable[[], Any]

    async def check(self, request: bytes, urls: Any) -> None:
        """All will do."""

    async def run(self, work: Any) -> WorkerReply:
        await work.call("GET", "/job")
        self.meanwhile()
        await work.save({"job": 1})
        return WorkerReply(200, (), b"done")

    async def cancel(self, work: Any) -> None:
        """Nothing to tell."""


@pytest.fixture
def saver() -> Saver:
    return Saver()


@pytest.fixture
def hall(saver: Saver) -> Iterator[Hall]:
    made = Hall({18080: FakeReply(pieces=(b"ok",))}, adapters={"app": saver})
    made.put(ID, 18080)
    made.start()
    made.pass_time(2)
    yield made
    made.stop()


def test_whoever_waits_for_one_gets_its_answer(hall: Hall, saver: Saver) -> None:
    saver.meanwhile = hall.shelf.records.clear
    calling = hall.call(app="app")
    hall.pass_time(2)
    task = calling.value.task
    assert hall.task(task.id).status is TaskStatus.FINISHED


def test_so_does_who_waits_for_one_of_which_only_its_last_attempt_was_forgotten(hall: Hall, saver: Saver) -> None:
    def forget() -> None:
        for record in hall.shelf.records.values():
            record.task = changed(record.task, attempt=record.task.attempt - 1)

    saver.meanwhile = forget
    calling = hall.call(app="app")
    hall.pass_time(2)
    task = calling.value.task
    assert hall.task(task.id).status is TaskStatus.FINISHED


def test_one_that_was_cancelled_ends(hall: Hall, saver: Saver) -> None:
    def cancel() -> None:
        for task_id in hall.shelf.records:
            done(hall.store.inner.cancel(task_id, 1.0))

    saver.meanwhile = cancel
    calling = hall.call(app="app")
    hall.pass_time(2)
    with pytest.raises(Conflict, match="cancelled"):
        _ = calling.value
