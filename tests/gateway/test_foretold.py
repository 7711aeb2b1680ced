"""Ends of raw calls that are sure before they are written: kept before their clients know, until the store has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from gateway_rig import done
from leaks import LeakWatch
from raw_ends import FINISHED, Calls

from ngpu.direct import Spool
from ngpu.direct.ends import GATHER_FOR
from ngpu.direct.frames import tasks_of
from ngpu.model import Outcome, Placement, Task, TaskStatus

FAILED = Outcome(TaskStatus.FAILED, 502, "the replica's reply cannot be passed on")


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[Calls]:
    async def add_ended(tasks: Sequence[Task]) -> None:
        raise AssertionError("nothing was left")

    spool = Spool(tmp_path)
    done(spool.open(add_ended))
    yield Calls(spool)
    spool.close()
    assert list(tmp_path.iterdir()) == [], "something is held for ever"


def kept(folder: Path) -> list[Task]:
    (file,) = folder.iterdir()
    return list(tasks_of(file.read_bytes()))


def written(calls: Calls) -> None:
    calls.house.clock.advance(GATHER_FOR * 1.1)


def test_it_is_kept_once_and_until_the_store_has_it(calls: Calls, tmp_path: Path) -> None:
    record = calls.begin("a")
    assert kept(tmp_path) == []
    calls.direct.foretell(record, FINISHED)
    (foretold,) = kept(tmp_path)
    calls.house.clock.advance(GATHER_FOR / 2)
    calls.direct.end(record, record.task, FINISHED)
    assert kept(tmp_path) == [foretold]
    assert (foretold.id, foretold.outcome, foretold.status) == ("a", FINISHED, TaskStatus.FINISHED)
    written(calls)
    assert kept(tmp_path) == []
    assert calls.house.task("a").ended_at == foretold.ended_at


def test_one_that_was_not_sure_is_kept_when_it_ends(calls: Calls, tmp_path: Path) -> None:
    calls.end("a")
    assert [each.id for each in kept(tmp_path)] == ["a"]
    written(calls)
    assert kept(tmp_path) == []


def test_what_comes_otherwise_counts(calls: Calls, tmp_path: Path) -> None:
    record, other = calls.begin("a"), calls.begin("b")
    calls.direct.foretell(other, FINISHED)
    calls.direct.foretell(record, FINISHED)
    calls.direct.end(record, record.task, FAILED)
    assert [each.outcome for each in kept(tmp_path) if each.id == "a"] == [FINISHED, FAILED]
    calls.direct.end(other, other.task, FINISHED)
    written(calls)
    assert calls.house.task("a").outcome == FAILED
    assert kept(tmp_path) == []


def test_it_stays_while_the_store_is_away(calls: Calls, tmp_path: Path) -> None:
    calls.house.store.refusing = {"add_ended"}
    calls.end("a")
    calls.house.pass_time(3, 0.1)
    assert [each.id for each in kept(tmp_path)] == ["a"]
    calls.house.store.refusing.clear()
    calls.house.pass_time(2, 0.1)
    assert kept(tmp_path) == []


def test_a_client_that_leaves_in_between(calls: Calls, tmp_path: Path) -> None:
    record = calls.begin("a")
    calls.direct.foretell(record, FINISHED)
    calls.direct.withdraw(record)
    assert calls.house.task("a").status is TaskStatus.CANCELLED
    assert kept(tmp_path) == []


def test_somebody_who_asks_in_between(calls: Calls, tmp_path: Path) -> None:
    record = calls.begin("a")
    calls.direct.foretell(record, FINISHED)
    done(calls.direct.settle("a"))
    assert calls.house.task("a").status is TaskStatus.RUNNING
    calls.direct.end(record, record.task, FINISHED)
    assert calls.house.task("a").outcome == FINISHED
    assert kept(tmp_path) == []


def test_one_that_runs_in_the_store_ends_there(calls: Calls, tmp_path: Path) -> None:
    record = calls.begin("a")
    done(calls.direct.settle("a"))
    calls.house.store.holding = {"finish"}
    calls.direct.foretell(record, FINISHED)
    (foretold,) = kept(tmp_path)
    calls.direct.end(record, record.task, FINISHED)
    assert kept(tmp_path) == [foretold]
    calls.house.store.release()
    assert calls.house.task("a").outcome == FINISHED
    assert calls.house.task("a").ended_at == foretold.ended_at
    assert kept(tmp_path) == []


def test_one_that_was_sent_again_ends_in_its_last_attempt(calls: Calls, tmp_path: Path) -> None:
    for name, runs in (("a", False), ("b", True)):
        record = calls.begin(name)
        if runs:
            done(calls.direct.settle(name))
        assert done(record.reattempt(name, 1, Placement(node_host="other"))) == 2
        calls.direct.foretell(record, FINISHED)
        (foretold,) = kept(tmp_path)
        assert (foretold.attempt, foretold.placement.node_host) == (2, "other")
        calls.direct.end(record, record.task, FINISHED)
        written(calls)
        assert (calls.house.task(name).attempt, calls.house.task(name).outcome) == (2, FINISHED)


def test_one_that_somebody_else_ends_is_not_held(calls: Calls, tmp_path: Path) -> None:
    record = calls.begin("a")
    done(calls.direct.settle("a"))
    calls.direct.foretell(record, FINISHED)
    done(calls.house.store.cancel("a", calls.house.clock.seconds()))
    calls.direct.leave(record)
    assert kept(tmp_path) == []
    assert calls.house.task("a").status is TaskStatus.CANCELLED


@pytest.mark.parametrize("operation", ["finish", "cancel"])
def test_one_whose_last_write_fails_is_not_held(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_leaks: LeakWatch, operation: str
) -> None:
    no_leaks.expect(ZeroDivisionError)

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    record = calls.begin("a")
    done(calls.direct.settle("a"))
    calls.direct.foretell(record, FINISHED)
    monkeypatch.setattr(calls.house.store, operation, broken, raising=False)
    if operation == "finish":
        calls.direct.end(record, record.task, FINISHED)
    else:
        calls.direct.withdraw(record)
    assert kept(tmp_path) == []


def test_one_that_the_store_cannot_take_is_not_held(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_leaks: LeakWatch
) -> None:
    no_leaks.expect(ZeroDivisionError)

    async def broken(tasks: Sequence[Task]) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(calls.house.store, "add_ended", broken, raising=False)
    calls.end("a", "b")
    written(calls)
    assert kept(tmp_path) == []
