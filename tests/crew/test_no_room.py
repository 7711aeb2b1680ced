"""Workers that cannot be started, or hang or die as others start: a reload changes nothing, a place is tried again."""

from __future__ import annotations

import errno
import io
import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from ngpu.processes.child import LAST_WORDS, Child
from ngpu.processes.crew import Crew
from ngpu.processes.outline import Checker, Outline, Plan
from ngpu.processes.sockets import Sockets
from ngpu.processes.vigil import EVERY, STARTING

PLAN = Plan("text", Outline(("tcp:1",), ("tcp:2",), 2))


class Spawned:
    """A process that does nothing; those that were told to end."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.signals: list[int] = []

    def signalProcess(self, number: int) -> None:
        self.signals.append(number)


class Machine(Clock):
    """A reactor that starts processes, as long as there is room."""

    def __init__(self) -> None:
        super().__init__()
        self.room = 99
        self.children: list[Child] = []

    def spawnProcess(self, child: Child, *_: Any, **__: Any) -> Spawned:
        if self.room == 0:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.room -= 1
        self.children.append(child)
        child.transport = Spawned(100 + len(self.children))  # type: ignore[assignment]
        return child.transport  # type: ignore[return-value]

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        factory.buildProtocol(None).makeConnection(StringTransport())

    def end(self, child: Child, number: int) -> None:
        child.channel.connectionLost()
        child.processEnded(Failure(ProcessTerminated(signal=number)))  # type: ignore[no-untyped-call]


def crew_of(machine: Machine) -> Crew:
    crew = Crew(Path("/c.yaml"), Sockets(machine, {}, shared=True), machine, (io.BytesIO(), io.BytesIO()))
    putting = Deferred.fromCoroutine(crew.put(PLAN))
    for index in range(2):
        machine.children[index].told("ready")
    assert putting.result == 0
    return crew


def test_a_worker_that_cannot_be_replaced_now_is_replaced_later() -> None:
    machine = Machine()
    crew_of(machine)
    machine.room = 0
    with capturedLogs() as events:
        machine.end(machine.children[1], signal.SIGKILL)
        machine.advance(0)  # at once
        machine.advance(1)  # then after a second
    said = [formatEvent(event) for event in events]
    assert len(machine.children) == 2
    assert len(said) == 3
    assert "it could not be started: Resource temporarily unavailable" in said[-1]
    machine.room = 1
    machine.advance(2)
    assert [child.number for child in machine.children] == [1, 2, 2]


def test_a_reload_without_room_for_all_workers_changes_nothing() -> None:
    machine = Machine()
    crew = crew_of(machine)
    machine.room = 1
    putting = Deferred.fromCoroutine(crew.put(PLAN))
    new = machine.children[2]
    new.told("ready")
    assert putting.result == 1
    assert crew.said == ("it could not be started: Resource temporarily unavailable",)
    assert new.transport.signals == [signal.SIGTERM]  # type: ignore[union-attr]
    assert machine.children[0].transport.signals == []  # type: ignore[union-attr]
    assert crew.generation == 0


def test_a_worker_that_dies_while_others_start_is_heard_out() -> None:
    """What it said last comes after the news of its end."""
    machine = Machine()
    crew = Crew(Path("/c.yaml"), Sockets(machine, {}, shared=True), machine, (io.BytesIO(), io.BytesIO()))
    putting = Deferred.fromCoroutine(crew.put(PLAN))
    first = machine.children[0]
    first.told("ready")
    first.processExited(Failure(ProcessTerminated(exitCode=3)))  # type: ignore[no-untyped-call]
    machine.children[1].told("ready")
    first.childDataReceived(2, b"no memory\n")
    machine.advance(LAST_WORDS)
    assert putting.result == 3
    assert crew.said == ("no memory",)


def test_a_worker_that_hangs_before_it_is_ready_does_not_keep_a_start_or_a_reload_for_ever() -> None:
    for ready in (0, 1):
        machine = Machine()
        crew = Crew(Path("/c.yaml"), Sockets(machine, {}, shared=True), machine, (io.BytesIO(), io.BytesIO()))
        putting = Deferred.fromCoroutine(crew.put(PLAN))
        for child in machine.children[:ready]:
            child.told("ready")
            child.channel.ask = lambda which: succeed("")  # type: ignore[method-assign]
        hangs = machine.children[ready]
        machine.pump([EVERY] * (STARTING + 1))
        assert hangs.transport.signals == [signal.SIGABRT]  # type: ignore[union-attr]
        machine.end(hangs, signal.SIGABRT)
        assert putting.result == -signal.SIGABRT
        Deferred.fromCoroutine(crew.stop())


def test_a_check_without_room_says_why(tmp_path: Path) -> None:
    machine = Machine()
    machine.room = 0
    (tmp_path / "c.yaml").write_text("x: 1")
    checked = Deferred.fromCoroutine(Checker(tmp_path / "c.yaml", machine, (io.BytesIO(), io.BytesIO())).plan())
    plan, why = checked.result
    assert plan is None
    assert "it could not be started: Resource temporarily unavailable" in why
    assert machine.getDelayedCalls() == []
