"""Waiting for what one does not own, and the small arithmetic of tasks."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_rig import begun
from task_stores import sample
from twisted.internet.defer import CancelledError, Deferred

from ngpu.errors import CallTimeout
from ngpu.model import Placement, TaskStatus
from ngpu.tasks.lifecycle import ended, failed, may_run_again, placed, unknown_outcome, wait_estimate
from ngpu.waiting import confined, echo, shielded


def test_a_shield_takes_the_result_and_a_cancel_does_not_pass_it() -> None:
    cancelled: list[Any] = []
    source: Deferred[int] = Deferred(cancelled.append)
    shield = begun(shielded(source))
    shield.deferred.cancel()
    assert isinstance(shield.error, CancelledError) and cancelled == []
    source.errback(ZeroDivisionError())  # nobody is there to take it, and nothing is logged


@pytest.mark.parametrize("result", [5, ZeroDivisionError("x")])
def test_a_shield_fires_as_its_source_does(result: Any) -> None:
    source: Deferred[int] = Deferred()
    shield = begun(shielded(source))
    if isinstance(result, int):
        source.callback(result)
        assert shield.value == 5
    else:
        source.errback(result)
        assert shield.error is result


@pytest.mark.parametrize("cancel", [False, True])
def test_an_echo_takes_nothing(cancel: bool) -> None:
    source: Deferred[int] = Deferred()
    heard, result = begun(echo(source)), begun(source)
    if cancel:
        heard.deferred.cancel()
        assert isinstance(heard.error, CancelledError)
    source.callback(5)
    assert result.value == 5
    assert cancel or heard.value is None


def test_what_does_not_let_itself_be_cancelled_is_over_all_the_same() -> None:
    told: list[str] = []
    last: Deferred[int] = Deferred()

    async def stubborn() -> int:
        try:
            await Deferred()
        except Exception:
            told.append("cancelled")
        return await last

    held = begun(confined(stubborn, lambda: told.append("cut")))
    held.deferred.cancel()
    assert isinstance(held.error, CancelledError) and told == ["cut", "cancelled"]
    last.errback(ZeroDivisionError())  # nobody is there to take it, and nothing is logged


def test_a_deferred_in_a_coroutines_result_is_not_waited_for() -> None:
    async def method() -> Any:
        return Deferred()

    assert isinstance(begun(confined(method)).error, TypeError)


def test_what_ends_well_while_it_is_cancelled_has_ended_well() -> None:
    async def prompt() -> int:
        try:
            await Deferred()
        except CancelledError:
            return 5
        return 6

    held = begun(confined(prompt))
    held.deferred.cancel()
    assert held.value == 5


@pytest.mark.parametrize("gives", [None, 7, ZeroDivisionError(), SystemExit(3), KeyboardInterrupt(), CancelledError()])
@pytest.mark.parametrize("at_once", [True, False])
def test_whatever_a_method_does_its_caller_gets_an_exception(gives: Any, at_once: bool) -> None:
    async def method() -> Any:
        if isinstance(gives, BaseException):
            raise gives
        return gives

    def call() -> Any:
        if isinstance(gives, BaseException):
            raise gives
        return gives

    held = begun(confined(call if at_once else method))
    if at_once or isinstance(gives, BaseException):
        assert isinstance(held.error, Exception) and not isinstance(held.error, CancelledError)
    else:
        assert held.value == gives


@pytest.mark.parametrize(
    ("position", "slots", "average", "estimate"),
    [(1, 1, 10.0, 10), (3, 2, 10.0, 20), (4, 2, 0.4, 1), (1, 0, 10.0, None), (1, 2, None, None)],
)
def test_the_estimate_of_a_wait(position: int, slots: int, average: float | None, estimate: int | None) -> None:
    assert wait_estimate(position, slots, average) == estimate


def test_how_tasks_begin_and_end() -> None:
    begun_task = placed(sample(), Placement("r", "0x1", "h"), 5.0)
    assert (begun_task.status, begun_task.attempt, begun_task.direct) == (TaskStatus.RUNNING, 1, True)
    outcome = failed(CallTimeout("too slow"))
    over = ended(begun_task, outcome, 9.0)
    assert (over.status, over.ended_at, outcome.code, outcome.reason) == (TaskStatus.FAILED, 9.0, 504, "too slow")
    assert failed(ZeroDivisionError("inner")).code == 500
    assert "inner" not in failed(ZeroDivisionError("inner")).reason
    assert "on h" in unknown_outcome(begun_task).reason
    assert not may_run_again(begun_task, "idempotent") and may_run_again(sample(), "idempotent")
    assert not may_run_again(sample(), "connect")
