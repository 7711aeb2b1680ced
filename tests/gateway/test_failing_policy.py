"""A selection policy that raises, or chooses nonsense: it costs the request whose turn it was, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from gateway_rig import WORKSPACE, House, done
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from ngpu.errors import CallCut, DialFailed, PolicyFailed
from ngpu.model import Candidate, SelectionRequest, TaskStatus
from ngpu.tasks.dispatcher import CHOOSE_AGAIN
from ngpu.testing.forwarder import FakeReply

REQUEST = SelectionRequest(WORKSPACE, 8080, "/")
Choose = Callable[[Any, SelectionRequest], Any]


class Policy:
    """Chooses the first replica, until a test sets ``choose``."""

    def __init__(self) -> None:
        self.asked = 0
        self.choose: Choose = lambda replicas, request: replicas[0]

    def select(self, replicas: Any, request: SelectionRequest) -> Any:
        self.asked += 1
        return self.choose(replicas, request)


def raising(replicas: Any, request: SelectionRequest) -> Candidate:
    raise ZeroDivisionError("no weight")


def leaving(replicas: Any, request: SelectionRequest) -> Candidate:
    raise SystemExit(3)


NONSENSE: dict[str, Choose] = {
    "raises": raising,
    "exits": leaving,
    "a name": lambda replicas, request: replicas[0].replica.id,
    "a replica": lambda replicas, request: replicas[0].replica,
    "a look-alike": lambda replicas, request: SimpleNamespace(replica=replicas[0].replica),
    "all of them": lambda replicas, request: replicas,
    "false": lambda replicas, request: False,
    "sorts what it got": lambda replicas, request: replicas.sort() or replicas[0],
    "empties what it got": lambda replicas, request: replicas.clear() or None,
}


@pytest.fixture
def policy(no_leaks: Any) -> Policy:
    no_leaks.expect(ZeroDivisionError, SystemExit, AttributeError)  # each is logged, with its traceback
    return Policy()


@pytest.mark.parametrize("kind", NONSENSE)
def test_the_call_gets_a_503_and_its_record_and_the_next_one_is_served(policy: Policy, kind: str) -> None:
    told: list[Any] = []
    globalLogPublisher.addObserver(told.append)
    house = House({18080: FakeReply()}, policy=policy)
    policy.choose = NONSENSE[kind]
    try:
        refused = house.call()
    finally:
        globalLogPublisher.removeObserver(told.append)
    assert isinstance(refused.error, PolicyFailed) and "selection policy" in str(refused.error)
    assert [event["workspace"] for event in told if event["log_level"].name == "critical"] == [house.workspace.label]
    assert [(task.status, task.outcome.code) for task in house.tasks if task.outcome] == [(TaskStatus.FAILED, 503)]
    policy.choose = lambda replicas, request: replicas[0]
    assert house.call().value.task.status is TaskStatus.FINISHED
    house.assert_at_rest()


def test_a_replica_that_is_busy_meanwhile_cannot_be_chosen(policy: Policy) -> None:
    """A policy that keeps candidates between choices must not get one over its slots."""
    house = House({18080: FakeReply(wait=Deferred()), 18081: FakeReply()}, replicas=2, policy=policy)
    kept: list[Any] = []
    policy.choose = lambda replicas, request: kept.append(replicas[0]) or kept[0]  # type: ignore[func-returns-value]
    first = house.call()
    assert isinstance(house.call().error, PolicyFailed)
    assert house.in_flight == 1
    first.deferred.cancel()


def test_those_who_wait_behind_it_are_served(policy: Policy) -> None:
    """A thousand bad turns one after another, and the good one behind them, all on one slot that is given back."""
    answer: Deferred[None] = Deferred()
    house = House({18080: FakeReply(wait=answer)}, policy=policy, queue={"limit": 2000})
    first = house.call()
    bad = [house.call() for _ in range(1000)]
    good = house.call(port=9090)
    house.forwarder.answers[19090] = FakeReply()
    policy.choose = lambda replicas, request: replicas[0] if request.port == 9090 else raising(replicas, request)
    answer.callback(None)
    assert first.over and all(isinstance(each.error, PolicyFailed) for each in bad)
    assert good.value.task.status is TaskStatus.FINISHED
    house.assert_at_rest()


def test_queued_tasks_wait_and_are_not_lost(policy: Policy) -> None:
    """They stay in the queue, the policy is asked once in a while and not in a loop, and both go on once it can."""
    house = House({18080: FakeReply()}, policy=policy)
    policy.choose = raising
    tasks = [house.submit() for _ in range(3)]
    assert policy.asked == 2  # for the first task as it came, and for the queue
    house.pass_time(10 * CHOOSE_AGAIN)
    assert policy.asked == 12
    assert {house.task(task).status for task in tasks} == {TaskStatus.QUEUED}
    policy.choose = lambda replicas, request: replicas[0]
    house.pass_time(CHOOSE_AGAIN)
    assert {house.task(task).status for task in tasks} == {TaskStatus.FINISHED}
    house.assert_at_rest()


@pytest.mark.parametrize("error", [DialFailed("refused"), CallCut("reset")])
def test_a_retry_for_which_it_cannot_choose_ends_with_the_workers_failure(policy: Policy, error: Any) -> None:
    house = House({18080: FakeReply(error=error), 18081: FakeReply()}, replicas=2, policy=policy, retry="idempotent")
    choices = iter([lambda replicas, request: next(each for each in replicas if each.replica.id == "r0")])
    policy.choose = lambda replicas, request: next(choices, raising)(replicas, request)
    over = house.call().value.task
    assert over.outcome.code == 502 and over.outcome.reason == str(error)
    house.assert_at_rest()


@pytest.mark.parametrize(("error", "ends"), [(DialFailed("refused"), "finished"), (CallCut("reset"), "failed")])
def test_a_queued_task_that_cannot_be_retried_goes_back_or_ends(policy: Policy, error: Any, ends: str) -> None:
    """One that was never sent goes back into the queue; one that was ends with what its worker did."""
    house = House({18080: error, 18081: FakeReply()}, replicas=2, policy=policy, retry="idempotent")
    house.forwarder.answers[18080] = lambda call: error
    turns = iter(
        [lambda replicas, request: next(each for each in replicas if each.replica.id == "r0"), raising, raising]
    )
    last: Choose = lambda replicas, request: next(each for each in replicas if each.replica.id == "r1")  # noqa: E731
    policy.choose = lambda replicas, request: next(turns, last)(replicas, request)
    task = house.submit()
    house.pass_time(5)
    assert house.task(task).status == ends
    house.assert_at_rest()


def test_the_start_finds_a_broken_policy_and_still_starts(policy: Policy) -> None:
    house = House({18080: FakeReply()}, policy=policy)
    policy.choose = raising
    done(house.dispatcher.start())
    house.submit()
    house.stop()
    assert [task.status for task in house.tasks] == [TaskStatus.QUEUED]
