"""Replicas that have just come are asked often until they are up, for as long as their grace; then as is configured."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from roster_rig import Hall, copy

from ngpu.testing.forwarder import FakeReply

ID = "w1"


@pytest.fixture
def hall() -> Iterator[Hall]:
    made = Hall({18080: FakeReply(503)})
    made.put(ID, health={"interval": "10s", "grace": "20s"})
    made.serving.add(ID, copy("w-1"))
    yield made
    made.stop()


def checks(hall: Hall, seconds: float) -> int:
    before = len(hall.forwarder.calls)
    hall.pass_time(seconds)
    return len(hall.forwarder.calls) - before


def test_one_that_comes_up_late_serves_a_second_later(hall: Hall) -> None:
    assert 7 <= checks(hall, 8) <= 8
    hall.forwarder.answers[18080] = FakeReply()
    hall.pass_time(1)
    assert hall.roster.lines[ID].pool.any_up
    assert checks(hall, 30) == 3


def test_one_that_does_not_come_up_is_asked_less_once_its_grace_is_over(hall: Hall) -> None:
    hall.pass_time(20)
    assert checks(hall, 40) <= 5


def test_one_that_was_up_and_went_down_is_asked_as_configured(hall: Hall) -> None:
    hall.forwarder.answers[18080] = FakeReply()
    hall.pass_time(1)
    hall.forwarder.answers[18080] = FakeReply(503)
    assert checks(hall, 20) == 2
    assert not hall.roster.lines[ID].pool.any_up
    assert checks(hall, 30) == 3
