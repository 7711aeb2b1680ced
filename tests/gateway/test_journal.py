"""The journal: what is logged for it is found there, storms push nothing out, and gateways hear of each other's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher
from zope.interface import implementer

from ngpu.journal import KEPT, KINDS, MOST_APART, WINDOW, Entry, Journal
from ngpu.sharing import Alone, INews, Listener

SOURCES = Path(__file__).parents[2] / "ngpu"


class Lab:
    def __init__(self, news: INews = Alone.news, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.publisher = LogPublisher()
        self.log = Logger("test", observer=self.publisher)
        self.journal = Journal("here:1", self.clock, news, self.publisher)
        self.journal.start()

    def all(self) -> list[Entry]:
        return list(self.journal.after(0))


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.journal.stop()
    assert not lab.clock.getDelayedCalls()


def test_what_is_logged_for_it_is_kept_and_nothing_else(lab: Lab) -> None:
    lab.log.info("not for the journal")
    lab.log.warn("{replica} is down: {why}", journal="replica_down", replica="r1", workspace="w-1", why="gone")
    lab.log.failure("broke", failure=_failure(), journal="reload_refused")
    down, broke = lab.all()
    assert (down.severity, down.kind, down.message) == ("warning", "replica_down", "r1 is down: gone")
    assert (down.workspace, down.replica, down.node, down.task, down.gateway) == ("w-1", "r1", "", "", "here:1")
    assert (broke.severity, broke.message) == ("error", "broke")
    assert down.id < broke.id == lab.journal.last


def test_a_storm_is_told_of_at_once_and_then_once_a_window(lab: Lab) -> None:
    for _ in range(400):
        lab.log.warn("no", journal="task_failed", workspace="w")
        lab.clock.advance(WINDOW / 80)
    assert [each.count for each in lab.all()] == [1, 79, 80, 80, 80, 80]
    lab.clock.advance(3 * WINDOW)
    assert sum(each.count for each in lab.all()) == 400
    assert len(lab.all()) == 6, "what is over is not told of again"
    lab.log.warn("no", journal="task_failed", workspace="w")
    assert lab.all()[-1].count == 1


def test_a_storm_in_one_place_hides_nothing_of_another(lab: Lab) -> None:
    for replica in ("a", "a", "b"):
        lab.log.warn("down", journal="replica_down", replica=replica)
    assert [each.replica for each in lab.all()] == ["a", "b"]


def test_a_storm_in_many_places_is_told_of_as_one(lab: Lab) -> None:
    for number in range(10_000):
        lab.log.warn("down", journal="replica_down", replica=str(number))
    lab.log.info("up", journal="replica_up", replica="1")
    assert len(lab.all()) == MOST_APART + 2
    lab.clock.advance(WINDOW)
    rest = lab.all()[-1]
    assert (rest.count, rest.replica) == (10_000 - MOST_APART - 1, "")


def test_what_counts_for_several(lab: Lab) -> None:
    lab.log.warn("failed", journal="task_failed", times=7)
    lab.log.warn("failed", journal="task_failed", times=5)
    lab.clock.advance(WINDOW)
    assert [each.count for each in lab.all()] == [7, 5]


def test_it_is_bounded_and_ids_grow(lab: Lab) -> None:
    for number in range(KEPT + 100):
        lab.log.info("x", journal="replica_up", replica=str(number % 40))
        lab.clock.advance(WINDOW)
    kept = lab.all()
    assert len(kept) == KEPT
    assert [each.id for each in kept] == sorted({each.id for each in kept})
    assert [each.id for each in lab.journal.after(kept[-3].id)] == [each.id for each in kept[-2:]]


def test_ids_of_a_later_life_are_later() -> None:
    clock = Clock()
    clock.advance(1e9)
    first = Lab(clock=clock)
    first.log.info("x", journal="replica_up")
    first.journal.stop()
    clock.advance(0.001)
    second = Lab(clock=clock)
    second.log.info("x", journal="replica_up")
    second.journal.stop()
    assert first.journal.last < second.journal.last


@implementer(INews)
class Street:
    """News between two journals, in memory."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.other: Street

    def say(self, topic: str, words: str) -> None:
        for listener in self.other.listeners:
            listener(words)

    def hear(self, topic: str, listener: Listener) -> Callable[[], None]:
        self.listeners.append(listener)
        listener(None)
        return lambda: self.listeners.remove(listener)


def test_others_are_heard_and_not_told_again() -> None:
    one, two = Street(), Street()
    one.other, two.other = two, one
    here, there = Lab(one), Lab(two)
    there.log.error("x", journal="node_away", node="n")
    here.clock.advance(5)
    assert [(each.kind, each.node, each.time) for each in here.all()] == [("node_away", "n", 0.0)]
    assert len(there.all()) == 1
    two.say("events", '{"id": 1, "time": 2.0, "severity": "info", "kind": "new", "message": "m", "what": "later"}')
    assert here.all()[-1].kind == "new", "of a version that says more"
    here.journal.stop()
    there.journal.stop()
    assert not one.listeners and not two.listeners


def test_every_kind_is_logged_somewhere_and_no_other() -> None:
    found: set[str] = set()
    for file in SOURCES.rglob("*.py"):
        text = file.read_text("utf-8")
        for literal in re.findall(r'journal(?:=|": )((?:f?"[a-z_{}]+"(?: if [\w.]+ else )?)+)', text):
            found.update(re.findall(r'"([a-z_{}]+)"', literal))
        if "journal=kind" in text:
            found.update(re.findall(r'"(task_[a-z_]+)"', text))
    patterns = [re.compile(re.sub(r"\{\w+\}", "[a-z]+", each) + "$") for each in found]
    for kind in KINDS:
        assert any(pattern.match(kind) for pattern in patterns), f"nobody tells of {kind}"
    for each, pattern in zip(found, patterns, strict=True):
        assert any(pattern.match(kind) for kind in KINDS), f"{each} is not described"


def _failure() -> BaseException:
    from twisted.python.failure import Failure

    return Failure(ValueError("x"))  # type: ignore[no-any-return]
