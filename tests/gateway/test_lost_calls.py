"""Calls that are cut since their gateway was away: others have taken over what the store has of them, and no more."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from gateway_rig import NO_SPOOL, House
from twisted.internet.defer import Deferred

from ngpu.direct import START_AFTER, DirectCalls
from ngpu.errors import StoreUnavailable
from ngpu.model import TaskStatus
from ngpu.passing import PassedRequest
from ngpu.raw import calls
from ngpu.raw.body import ReadBody
from ngpu.tenancy import Access
from ngpu.testing.forwarder import FakeReply
from ngpu.waiting import Handle


def test_one_of_which_the_store_has_nothing_is_ended_here() -> None:
    house = House({18080: FakeReply(wait=Deferred())})
    call = house.call()
    house.runs.lose()
    assert isinstance(call.error, StoreUnavailable)
    house.pass_time(START_AFTER + 5)
    assert [task.status for task in house.tasks] == [TaskStatus.CANCELLED]
    house.assert_at_rest()


def test_one_that_the_store_has_is_left_to_those_who_took_it_over() -> None:
    house = House({18080: FakeReply(wait=Deferred())})
    call = house.call()
    house.pass_time(START_AFTER + 0.5)
    house.runs.lose()
    assert isinstance(call.error, StoreUnavailable)
    house.pass_time(5)
    assert [task.status for task in house.tasks] == [TaskStatus.RUNNING]
    assert house.in_flight == 0


class NoReply:
    """Where the reply of a raw call would go."""

    begun = False

    def started(self, task: Any) -> None:
        """See `ngpu.raw.recorded.PassedReply`."""

    def write(self, data: bytes) -> None:
        """Nothing comes."""

    def relay(self, source: Any, count: int, over: Any) -> None:
        """Nor passes by."""


def test_a_raw_one_of_which_the_store_has_nothing_is_ended_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "IdleForwarder", lambda forwarder, clock, idle: forwarder)
    house = House({18080: FakeReply(wait=Deferred())})
    direct = DirectCalls(house.store, house.runs, house.clock, house.metrics, NO_SPOOL)
    forwarder: Any = house.forwarder
    lines = {house.workspace.id: house.line}
    raw = calls.RawCalls(direct, house.runs, forwarder, lines, {}, ZoneInfo("UTC"), house.clock, house.metrics)
    request = PassedRequest("GET", "/x", 8080, ())
    call = calls.RawCall(Access(house.workspace, ""), request, "", "192.0.2.1", "/proxy/x", lambda name: None)
    reply: Any = NoReply()
    handle = Handle()
    handle.work = Deferred.fromCoroutine(raw.call(call, ReadBody(b""), reply, handle))
    failures: list[Any] = []
    handle.work.addErrback(failures.append)
    house.runs.lose()
    assert failures[0].check(StoreUnavailable)
    house.pass_time(START_AFTER + 5)
    assert [task.status for task in house.tasks] == [TaskStatus.CANCELLED]
    house.assert_at_rest()
