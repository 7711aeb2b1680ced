"""Whether workers still turn, looked at by their parent."""

from __future__ import annotations

import io
import signal
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from ngpu.processes.crew import Crew
from ngpu.processes.vigil import ALIVE, EVERY, LAST_WORDS, LOOKS, STARTING, Vigil


class FakeWorker:
    """Both a worker and its channel."""

    def __init__(self, number: int, answers: bool = True, is_ready: bool = True) -> None:
        self.number, self.pid = number, 100 + number
        self.answers, self.is_ready = answers, is_ready
        self.ready: Deferred[None] = Deferred()
        if is_ready:
            self.ready.callback(None)
        self.asked: list[Deferred[str]] = []
        self.ended: Deferred[int] = Deferred()
        self.signals: list[signal.Signals] = []

    @property
    def channel(self) -> Any:
        return self

    def ask(self, which: str) -> Deferred[str]:
        assert which == ALIVE
        self.asked.append(Deferred())
        if self.answers:
            self.asked[-1].callback("")
        return self.asked[-1]

    def signal(self, number: signal.Signals) -> None:
        self.signals.append(number)


class Watch:
    def __init__(self, *workers: FakeWorker) -> None:
        self.clock = Clock()
        self.vigil = Vigil(lambda: workers, self.clock)
        self.vigil.begin()
        self.vigil.begin()

    def looks(self, count: int) -> None:
        for _ in range(count):
            self.clock.advance(EVERY)


def test_those_that_answer_live() -> None:
    worker = FakeWorker(1)
    watch = Watch(worker)
    watch.looks(50)
    assert len(worker.asked) == 50 and worker.signals == []
    watch.vigil.stop()
    watch.vigil.stop()
    assert watch.clock.getDelayedCalls() == []


def test_one_that_does_not_is_ended_and_may_say_where_it_stands_before() -> None:
    hangs, fine = FakeWorker(1, answers=False), FakeWorker(2)
    watch = Watch(hangs, fine)
    with capturedLogs() as events:
        watch.looks(LOOKS)
        assert hangs.signals == []
        watch.looks(1)
        assert hangs.signals == [signal.SIGABRT] and len(hangs.asked) == 1
        watch.clock.advance(LAST_WORDS)
        assert hangs.signals == [signal.SIGABRT, signal.SIGKILL]
        watch.looks(3)
    assert len(hangs.signals) == 2 and fine.signals == []
    (event,) = (each for each in events if each.get("journal"))
    assert (event["number"], event["pid"], event["seconds"]) == (1, 101, 30.0)


def test_one_that_ends_of_the_first_signal_gets_no_other() -> None:
    hangs = FakeWorker(1, answers=False)
    watch = Watch(hangs)
    watch.looks(LOOKS + 1)
    hangs.ended.callback(-6)
    watch.clock.advance(LAST_WORDS * 2)
    assert hangs.signals == [signal.SIGABRT]


def test_one_that_was_slow_begins_anew() -> None:
    slow = FakeWorker(1, answers=False)
    watch = Watch(slow)
    for _ in range(5):
        watch.looks(LOOKS)
        slow.asked[-1].callback("")
    watch.looks(1)
    assert slow.signals == []


def test_a_parent_that_was_stopped_itself_blames_nobody() -> None:
    slow = FakeWorker(1, answers=False)
    watch = Watch(slow)
    watch.looks(1)
    watch.clock.advance(EVERY * LOOKS * 10)
    assert slow.signals == []
    slow.asked[-1].callback("")
    watch.looks(LOOKS)
    assert slow.signals == []


def test_one_that_starts_has_as_long_as_a_start_may_take() -> None:
    starts, hangs = FakeWorker(1, is_ready=False), FakeWorker(2, answers=False, is_ready=False)
    watch = Watch(starts, hangs)
    watch.looks(STARTING)
    assert hangs.signals == []
    watch.looks(1)
    watch.clock.advance(LAST_WORDS)
    assert hangs.signals == [signal.SIGABRT, signal.SIGKILL] and starts.signals == []


def test_one_that_retires_is_watched_too() -> None:
    hangs = FakeWorker(1, answers=False)
    clock = Clock()
    nothing: Any = None
    crew = Crew(Path("ngpu.yaml"), nothing, clock, (io.BytesIO(), io.BytesIO()))
    retiring: Any = {hangs}
    crew._all = retiring  # as after a reload: others have their places
    crew._vigil.begin()
    for _ in range(LOOKS + 1):
        clock.advance(EVERY)
    assert hangs.signals == [signal.SIGABRT]
    crew._vigil.stop()
