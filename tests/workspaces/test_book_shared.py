"""Workspaces that are made through one gateway, and served by all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from desk_rig import OK, Desk, digest
from gateway_rig import begun, done
from roster_rig import Hall, block
from twisted.internet.defer import Deferred, DeferredLock

from ngpu.errors import BadSettings, Conflict
from ngpu.model import TaskStatus
from ngpu.testing.sharing import Hall as Meeting

SOON = 0.1


class Two:
    """Two gateways over one store; ``turn`` is what makes one of them wait for the other."""

    def __init__(self) -> None:
        shelf: dict[str, dict[str, str]] = {}
        meeting, self.turn = Meeting(), DeferredLock()
        self.a = Desk(shelf, meeting=meeting, exclusively=self.exclusively)
        self.b = Desk(shelf, Hall(shelf=self.a.hall.shelf), meeting=meeting, exclusively=self.exclusively)
        self.pass_time(SOON)

    async def exclusively(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        return await self.turn.run(Deferred.fromCoroutine, work())

    def pass_time(self, seconds: float) -> None:
        for desk in (self.a, self.b):
            desk.hall.clock.advance(seconds)


@pytest.fixture
def two() -> Iterator[Two]:
    made = Two()
    yield made
    for desk in (made.a, made.b):
        desk.following.stop()
        desk.hall.stop()


def test_made_changed_and_removed_on_one_it_is_so_on_the_other(two: Two) -> None:
    two.b.hall.forwarder.answers[18080] = OK
    done(two.a.workspaces.create(block("w1", 18080, keys=[digest("k")])))
    two.pass_time(SOON)
    assert two.b.opens("k") and two.b.workspaces.get("w1").workspace is not None
    line = two.b.hall.roster.lines["w1"]
    done(two.a.workspaces.replace("w1", block("w1", 18080, keys=[digest("other")])))
    two.pass_time(SOON)
    assert two.b.opens("other") and not two.b.opens("k")
    assert two.b.hall.roster.lines["w1"] is line, "it was changed, not made anew"
    done(two.b.workspaces.delete("w1"))
    two.pass_time(SOON)
    assert not two.a.opens("other") and two.a.workspaces.entries() == two.b.workspaces.entries()
    assert two.a.kept == {}


def test_what_is_as_it_was_is_not_touched(two: Two) -> None:
    done(two.a.workspaces.create(block("w1", 18080)))
    two.pass_time(SOON)
    told: list[Any] = []
    for desk in (two.a, two.b):
        desk.hall.roster.watch(lambda before, after: told.append(after))
    two.pass_time(30)
    assert told == []


def test_two_with_one_key_or_id_cannot_be_made_at_once(two: Two) -> None:
    two.a.documents.held = Deferred()
    first = begun(two.a.workspaces.create(block("w1", 1, keys=[digest("k")])))
    second = begun(two.b.workspaces.create(block("w2", 2, keys=[digest("k")])))
    third = begun(two.b.workspaces.create(block("w1", 3)))
    assert not first.over and not second.over and not third.over
    held, two.a.documents.held = two.a.documents.held, None
    held.callback(None)
    assert first.value.id == "w1"
    assert isinstance(second.error, BadSettings) and isinstance(third.error, Conflict)
    assert list(two.b.kept) == ["w1"]


def test_a_key_that_goes_from_one_to_another_opens_the_other_everywhere(two: Two) -> None:
    done(two.a.workspaces.create(block("w2", 1, keys=[digest("a")])))
    done(two.a.workspaces.create(block("w1", 1, keys=[digest("b")])))
    two.pass_time(SOON)
    done(two.a.workspaces.replace("w2", block("w2", 1, keys=[digest("c")])))
    done(two.a.workspaces.replace("w1", block("w1", 1, keys=[digest("a")])))
    two.pass_time(SOON)
    assert two.b.workspaces.broken() == []
    assert two.b.hall.roster.tenancy.open("a").workspace.id == "w1"


def test_queued_tasks_of_one_that_is_removed_end_though_the_gateway_that_did_it_died(two: Two) -> None:
    done(two.a.workspaces.create(block("w1", 18080)))
    two.pass_time(SOON)
    task_id = two.a.hall.submit("w1")
    clear: Deferred[None] = Deferred()

    async def dies(workspace_id: str) -> None:
        await clear

    two.a.workspaces._clear = dies
    assert not begun(two.a.workspaces.delete("w1")).over
    two.pass_time(SOON)
    assert done(two.b.hall.store.get(task_id)).status is TaskStatus.FAILED
    assert two.b.kept == {}
    clear.callback(None)
