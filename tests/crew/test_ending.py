"""A process that becomes its own successor, and signals that come while it stops for that."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ngpu.processes.ending import Ending
from ngpu.systemd import Systemd

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """A reactor that stops for as long as a test likes."""

    def __init__(self) -> None:
        self.after: list[Callable[[], None]] = []

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[..., None], *args: Any) -> None:
        self.after.append(lambda: call(*args))

    def stop(self) -> None:
        """It stops."""


class Over(Exception):
    """What this process would have come to."""


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def over(*args: Any) -> None:
        raise Over(*args)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    monkeypatch.setattr(os, "_exit", over)
    monkeypatch.setattr(os, "execve", over)
    yield
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("told", [None, *SIGNALS])
def test_who_is_told_to_end_while_it_stops_has_no_successor(
    process: None, told: signal.Signals | None, tmp_path: Path
) -> None:
    """It went on as if nothing had been said, until who had said so lost patience and killed it."""
    reactor: Any = Stopping()
    (pid_file := tmp_path / "pid").touch()
    Ending(reactor, Systemd(reactor, {}), str(pid_file)).become_successor({}, "text", 1, lambda: False)
    if told is not None:
        os.kill(os.getpid(), told)
    with pytest.raises(Over) as over:
        reactor.after[0]()
    assert over.value.args[0] == (0 if told else sys.executable)
    assert not pid_file.exists()
    assert [signal.getsignal(number) for number in SIGNALS] == [signal.SIG_DFL] * 2


def test_what_was_to_be_ignored_is(process: None) -> None:
    """A shell has what it starts in the background ignore SIGINT, which is meant for others."""
    reactor: Any = Stopping()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Ending(reactor, Systemd(reactor, {})).become_successor({}, "text", 1, lambda: False)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Over) as over:
        reactor.after[0]()
    assert over.value.args[0] == sys.executable
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
