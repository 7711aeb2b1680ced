"""Adapters that do what they may not: it costs their task, never its slot, and what is said names the app."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from gateway_rig import Watched, begun
from roster_rig import Hall
from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer
from zope.interface.exceptions import Invalid

from ngpu.adapter import Adapter, IAppAdapter, WorkerReply
from ngpu.adapting import Adapting
from ngpu.errors import AdapterFailed, JobFailed, Unavailable
from ngpu.families import FAMILIES
from ngpu.model import TaskStatus
from ngpu.tasks.conversations import CHECK_WITHIN
from ngpu.testing.forwarder import FakeReply


@implementer(IAppAdapter)
class Stubborn(Adapter):
    """Takes whatever happens for a failure of its worker, and tries again."""

    deadline = 100.0

    def __init__(self) -> None:
        self.tries = 0

    async def run(self, work: Any) -> WorkerReply:
        while True:
            self.tries += 1
            try:
                await work.call("GET", "/job")
                await work.sleep(10)
            except Exception:
                pass


class Abrupt(Stubborn):
    """Its ``cancel`` is no coroutine."""

    def cancel(self, work: Any) -> Any:
        raise ZeroDivisionError


class Deaf(Stubborn):
    """Its ``cancel`` does not let itself be cancelled either."""

    async def cancel(self, work: Any) -> None:
        while True:
            with contextlib.suppress(Exception):
                await Deferred()


class Talkative(Stubborn):
    """Says how far it is whatever has become of its task, and while it cancels."""

    async def run(self, work: Any) -> WorkerReply:
        try:
            return await super().run(work)
        finally:
            work.progress("run")

    async def cancel(self, work: Any) -> None:
        await work.sleep(1)
        work.progress("cancel")


def hall_of(adapter: Any) -> Hall:
    hall = Hall({8081: FakeReply()}, adapters={"talk": Adapting("talk", "odd", adapter)})
    hall.put("w1", 8081, timeout="30s")
    hall.start()
    hall.clock.advance(1)
    return hall


def slot_is_free(hall: Hall) -> bool:
    call: Watched = hall.call()
    return call.over and call.value.task.status is TaskStatus.FINISHED


def jobs(hall: Hall) -> int:
    """How often the worker was asked for the job."""
    return sum(call.request.target == "/job" for call in hall.forwarder.calls)


@pytest.mark.parametrize("adapter", [Stubborn, Abrupt, Deaf])
def test_one_that_does_not_end_is_ended(adapter: Callable[[], Stubborn], no_leaks: Any) -> None:
    """By its deadline, and by its customer: its slot is free again at once, or once its `cancel` has had its time."""
    no_leaks.expect(ZeroDivisionError)
    hall = hall_of(odd := adapter())
    first = hall.submit(app="talk")
    assert not slot_is_free(hall)
    hall.clock.pump([10.0] * 12)
    assert hall.task(first).status is TaskStatus.FAILED and "deadline" in str(hall.task(first).outcome)
    tries, asked = odd.tries, jobs(hall)
    hall.clock.pump([10.0] * 3)
    assert odd.tries == tries and jobs(hall) == asked, "what it awaits never comes"
    assert slot_is_free(hall)
    second = hall.submit(app="talk")
    begun(hall.gateway.cancel(second, hall.roster.tenancy.open("w1")))
    hall.clock.pump([5.0] * 2)
    assert hall.task(second).status is TaskStatus.CANCELLED and slot_is_free(hall)


def test_one_that_goes_on_asking_without_a_slot_holds_nobody_up() -> None:
    """Its worker is gone, and every call fails at once: that would go round and round within one turn."""
    hall = hall_of(odd := Stubborn())
    hall.forwarder.answers = {}
    task = hall.submit(app="talk")
    hall.clock.pump([1.0] * 10)
    assert hall.task(task).status in (TaskStatus.RUNNING, TaskStatus.FAILED) and odd.tries < 20


def test_what_is_said_of_a_task_that_is_over_is_not_kept() -> None:
    hall = hall_of(Talkative())
    task = hall.submit(app="talk")
    hall.clock.pump([10.0] * 12)
    assert hall.task(task).status is TaskStatus.FAILED
    conversations = hall.runs.conversations
    assert conversations is not None and conversations.told.of(task) is None
    assert slot_is_free(hall)


class Moody(Adapter):
    """Does one thing in all of some methods."""

    def __init__(self, gives: Any, *names: str) -> None:
        for name in names:
            setattr(self, name, gives)


def raising(error: BaseException) -> Callable[..., Any]:
    def gives(*args: Any) -> Any:
        raise error

    return gives


def coroutine(value: Any) -> Callable[..., Any]:
    async def gives(*args: Any) -> Any:
        if isinstance(value, BaseException):
            raise value
        return value

    return gives


BAD_REPLIES = (None, {}, WorkerReply(999), WorkerReply(200, (), "text"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "gives",
    [
        raising(KeyError("x")),
        raising(SystemExit(3)),
        coroutine(SystemExit(3)),
        lambda *args: None,
        *(coroutine(reply) for reply in BAD_REPLIES),
        coroutine(JobFailed("x", {"no": "reply"})),
    ],
)
def test_whatever_run_gives_names_the_app(gives: Any, no_leaks: Any) -> None:
    no_leaks.expect(KeyError, SystemExit, TypeError, ValueError)
    hall = hall_of(Moody(gives, "run"))
    task = hall.task(hall.submit(app="talk"))
    assert task.outcome is not None and task.outcome.code == 500
    assert "the adapter of the app talk failed" in task.outcome.reason
    assert slot_is_free(hall)


@pytest.mark.parametrize("gives", [raising(KeyError("x")), raising(SystemExit(3)), lambda *args: None])
def test_a_check_that_fails_names_the_app(gives: Any, no_leaks: Any) -> None:
    no_leaks.expect(KeyError, SystemExit, TypeError)
    hall = hall_of(Moody(gives, "check"))
    submitted = begun(hall.gateway.submit(hall.submission(app="talk")))
    assert isinstance(submitted.error, AdapterFailed) and "the app talk failed" in str(submitted.error)


def test_a_check_that_hangs_is_given_up() -> None:
    hall = hall_of(Moody(lambda *args: Deferred(), "check"))
    submitted = begun(hall.gateway.submit(hall.submission(app="talk")))
    assert not submitted.over
    hall.clock.advance(CHECK_WITHIN)
    assert isinstance(submitted.error, Unavailable) and "talk" in str(submitted.error)


@pytest.mark.parametrize(
    "gives",
    [
        raising(KeyError("x")),
        raising(SystemExit(3)),
        raising(CancelledError()),
        *(lambda *args, value=value: value for value in ([1], "text", 7, {"a": {1}}, {"a": float("nan")})),
    ],
)
def test_a_status_that_is_no_object_names_the_app(gives: Any, no_leaks: Any) -> None:
    no_leaks.expect(KeyError, SystemExit, CancelledError, TypeError, ValueError)
    with pytest.raises(AdapterFailed, match="the app talk"):
        Adapting("talk", "odd", Moody(gives, "status")).status(None, b"")


@pytest.mark.parametrize(
    ("name", "value"),
    [("mode", "Sync"), ("deadline", "30m"), ("deadline", float("nan")), ("flat", None), ("peers", None)],
)
def test_what_it_says_of_itself_is_looked_at_when_it_is_made(name: str, value: Any) -> None:
    odd = Stubborn()
    setattr(odd, name, value)
    with pytest.raises(Invalid, match=name):
        FAMILIES["adapter"].verify(odd)
