"""What systemd is told, message by message."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from ngpu.systemd import Systemd


class Reactor(Clock):
    """A clock that can shut down."""

    def __init__(self) -> None:
        super().__init__()
        self.triggers: list[Any] = []

    def addSystemEventTrigger(self, phase: str, event: str, call: Any) -> None:
        assert (phase, event) == ("before", "shutdown")
        self.triggers.append(call)


class Ear:
    """systemd's end."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """What came since it was asked last; each message by its first line."""
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode().split("\n")[0])
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    made = Ear(str(tmp_path / "n"))
    yield made
    made.close()


def told(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(tmp_path / "n"), **more}


def test_the_watchdog_gets_two_signs_of_life_a_period(tmp_path: Path, ear: Ear) -> None:
    reactor = Reactor()
    systemd = Systemd(reactor, told(tmp_path, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(os.getpid())))
    reactor.advance(60)
    assert ear.heard() == [], "before it is ready, the time for a start counts"
    systemd.ready()
    assert ear.heard() == ["READY=1", "WATCHDOG=1"]
    reactor.advance(14.9)
    assert ear.heard() == []
    reactor.pump([0.1, 15, 15])
    assert ear.heard() == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize(
    "asked", [{}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "often"}, {"WATCHDOG_USEC": "0"}]
)
def test_nobody_asked_this_process_for_signs_of_life(tmp_path: Path, ear: Ear, asked: dict[str, str]) -> None:
    reactor = Reactor()
    Systemd(reactor, told(tmp_path, **asked)).ready()
    reactor.advance(600)
    assert ear.heard() == ["READY=1"]


def test_a_successor_is_the_one_who_is_ready(tmp_path: Path, ear: Ear) -> None:
    reactor = Reactor()
    systemd = Systemd(reactor, told(tmp_path, WATCHDOG_USEC="2000000"))
    systemd.ready()
    systemd.reloading()
    systemd.handed_over()
    systemd.ready()
    for trigger in reactor.triggers:
        trigger()
    assert ear.heard() == ["READY=1", "WATCHDOG=1", "RELOADING=1"]
    reactor.advance(1)
    assert ear.heard() == ["WATCHDOG=1"], "the process lives until the other program begins"


def test_an_end_in_the_middle_of_a_reload_is_an_end(tmp_path: Path, ear: Ear) -> None:
    reactor = Reactor()
    systemd = Systemd(reactor, told(tmp_path))
    systemd.reloading()
    for trigger in reactor.triggers:
        trigger()
    assert ear.heard() == ["RELOADING=1", "STOPPING=1"]


def test_an_abstract_address(ear: Ear) -> None:
    name = f"ngpu-test-{os.getpid()}-{time.monotonic_ns()}"
    other = Ear("\0" + name)
    try:
        Systemd(Reactor(), {"NOTIFY_SOCKET": "@" + name}).ready()
        assert other.heard() == ["READY=1"]
    finally:
        other.close()


def test_it_serves_on_where_systemd_does_not_listen_any_more(tmp_path: Path) -> None:
    Systemd(Reactor(), told(tmp_path)).ready()


def test_without_systemd_nothing_is_said_and_nothing_is_left_on_the_reactor() -> None:
    reactor = Reactor()
    systemd = Systemd(reactor, {"WATCHDOG_USEC": "2000000"})
    systemd.ready()
    systemd.stopping()
    assert (reactor.triggers, reactor.getDelayedCalls()) == ([], [])
