"""Tasks that fail are logged, and a storm of them is a line a second and workspace."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher

from ngpu.model import DataForm, Outcome, Placement, Task, TaskStatus, UpstreamRequest
from ngpu.tasks.failures import MOST, QUIET, Failures

FAILED = Outcome(TaskStatus.FAILED, 502, "the worker broke off")


class Lab(Failures):
    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(self.clock, lambda workspace: f"{workspace}-label")
        self.seen: list[dict[str, Any]] = []
        self.log = Logger("test", observer=LogPublisher(self.seen.append))

    def fail(self, workspace: str = "w", outcome: Outcome = FAILED, direct: bool = False) -> None:
        task = Task(
            id="t1",
            workspace=workspace,
            method="x",
            request=UpstreamRequest("POST", "/", 80),
            submitted_at=0.0,
            expires_at=0.0,
            timeout=1.0,
            form=DataForm.RAW,
            direct=direct,
            placement=Placement("r", "0xN", "h"),
        )
        self.note(task, outcome)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_a_failure_is_told_with_all_that_is_known(lab: Lab) -> None:
    lab.fail()
    (event,) = lab.seen
    told = [event[name] for name in ("journal", "workspace", "node", "task_id")]
    assert told == ["task_failed", "w-label", "0xN", "t1"]
    lab.fail(outcome=Outcome(TaskStatus.FAILED, 504, "too late"))
    assert lab.seen[-1]["journal"] == "task_timed_out"


def test_a_storm_is_a_line_a_second_that_counts(lab: Lab) -> None:
    for _ in range(1000):
        lab.fail()
    lab.fail("other")
    assert len(lab.seen) == 2
    lab.clock.advance(QUIET)
    lab.fail()
    assert [each["times"] for each in lab.seen] == [1, 1, 1000]


def test_what_a_worker_refuses_a_waiting_client_is_its_own_business(lab: Lab) -> None:
    lab.fail(outcome=Outcome(TaskStatus.FAILED, 404, "not found"), direct=True)
    lab.fail(outcome=Outcome(TaskStatus.FINISHED))
    assert not lab.seen
    lab.fail(outcome=Outcome(TaskStatus.FAILED, 404, "not found"))
    assert len(lab.seen) == 1, "of a task nobody else would know"


def test_it_is_bounded(lab: Lab) -> None:
    for number in range(MOST + 10):
        lab.fail(str(number))
        lab.clock.advance(QUIET / 4)
    assert len(lab._quiet) < 20
