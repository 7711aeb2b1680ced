"""Jobs of an earlier process whose replica is a copy that is not let in yet: they wait for it, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from gateway_rig import begun, done
from roster_rig import Hall, copy
from task_stores import sample
from twisted.internet.defer import Deferred

from ngpu.adapter import WorkerReply
from ngpu.model import BytesBody, Placement, TaskStatus
from ngpu.testing.forwarder import FakeReply

ID = "w1"
OK = FakeReply(pieces=(b"ok",))


class Follower:
    """An adapter that asks its worker once more."""

    deadline = 60.0

    async def run(self, work: Any) -> WorkerReply:
        await work.call("GET", "/job")
        return WorkerReply(200, (), b"done")

    async def cancel(self, work: Any) -> None:
        """Nothing to tell."""


@pytest.fixture
def hall() -> Iterator[Hall]:
    made = Hall({18080: OK}, adapters={"app": Follower()})
    made.put(ID)
    yield made
    made.stop()


def job(hall: Hall, replica: str = "w-1") -> None:
    """A job that a worker has, since a moment ago."""
    task = sample("job", workspace=ID, status=TaskStatus.RUNNING, attempt=1, started_at=hall.clock.seconds())
    done(hall.store.add(replace(task, app="app", checkpoint="{}", placement=Placement(replica)), BytesBody()))


def test_it_waits_for_a_copy_that_is_expected_and_goes_on_there(hall: Hall) -> None:
    job(hall)
    hall.serving.expect(ID, "w-1")
    hall.start()
    hall.pass_time(5)
    assert hall.task("job").status is TaskStatus.RUNNING
    hall.serving.add(ID, copy("w-1"))
    hall.pass_time(12)
    assert hall.task("job").status is TaskStatus.FINISHED


def test_it_is_there_before_a_copy_that_leaves_counts_as_drained(hall: Hall) -> None:
    job(hall)
    hall.serving.expect(ID, "w-1")
    hall.start()
    wait: Deferred[None] = Deferred()
    hall.forwarder.answers[18080] = FakeReply(pieces=(b"ok",), wait=wait)
    hall.serving.add(ID, copy("w-1"))
    drained = begun(hall.serving.drain(ID, "w-1"))
    assert not drained.over
    hall.pass_time(2)
    assert not drained.over
    wait.callback(None)
    assert drained.over
    assert hall.task("job").status is TaskStatus.FINISHED


def test_it_ends_once_the_copy_does_not_come_back(hall: Hall) -> None:
    job(hall)
    hall.serving.expect(ID, "w-1")
    hall.start()
    hall.serving.remove(ID, "w-1")
    assert hall.task("job").status is TaskStatus.FAILED


def test_it_ends_at_its_deadline(hall: Hall) -> None:
    job(hall)
    hall.serving.expect(ID, "w-1")
    hall.start()
    hall.pass_time(Follower.deadline - 1)
    assert hall.task("job").status is TaskStatus.RUNNING
    hall.pass_time(2)
    assert hall.task("job").status is TaskStatus.FAILED


def test_it_ends_at_once_where_nobody_expects_the_copy(hall: Hall) -> None:
    job(hall, "gone")
    hall.serving.expect(ID, "w-1")
    hall.start()
    assert hall.task("job").status is TaskStatus.FAILED


def test_it_waits_on_when_the_gateway_stops_again(hall: Hall) -> None:
    job(hall)
    hall.serving.expect(ID, "w-1")
    hall.start()
    hall.stop()
    assert hall.task("job").status is TaskStatus.RUNNING
