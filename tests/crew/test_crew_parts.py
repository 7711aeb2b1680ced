"""The small parts of several processes: backoff, whole lines, one exposition of several, what a process is handed."""

from __future__ import annotations

import errno
import io
import os
from collections import deque
from typing import Any

import pytest
from prometheus_client import parser
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from ngpu.metrics import Metrics
from ngpu.processes.backoff import Backoff
from ngpu.processes.channel import Channel
from ngpu.processes.child import LAST_WORDS, Child, Lines, how
from ngpu.processes.figures import together
from ngpu.processes.handed import VARIABLE, Handed, Role
from ngpu.processes.outline import why_not


def test_who_dies_young_waits_longer_and_who_had_lived_is_replaced_at_once() -> None:
    backoff = Backoff()
    assert [backoff.after(lived) for lived in (3600, 1, 1, 1, 1, 1, 1, 1, 1)] == [0, 0, 1, 2, 4, 8, 16, 30, 30]
    assert backoff.after(10) == 0
    assert backoff.after(9.9) == 0 and backoff.after(0) == 1


def test_lines_are_whole_and_say_whose_they_are() -> None:
    out, last = io.BytesIO(), deque[str](maxlen=2)
    lines = Lines(b"[3] ", out, last)
    for data in (b"on", b'e\n{"time": 1}\ntw', b"o\nthree\nno end"):
        lines.add(data)
    assert out.getvalue() == b'[3] one\n{"time": 1}\n[3] two\n[3] three\n'
    lines.end()
    assert out.getvalue().endswith(b"[3] three\n[3] no end\n")
    assert list(last) == ["three", "no end"]


class Full(io.BytesIO):
    """A log on a disk that is full."""

    full = True

    def write(self, data: Any) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def test_lines_go_on_once_there_is_room_again() -> None:
    """An error would have Twisted close the pipe: the worker would be silent for good."""
    out, last = Full(), deque[str](maxlen=2)
    lines = Lines(b"[3] ", out, last)
    lines.add(b"lost\n")
    out.full = False
    lines.add(b"told\n")
    assert out.getvalue() == b"[3] told\n"
    assert list(last) == ["lost", "told"]


def test_the_figures_of_several_are_one_exposition_that_prometheus_can_read() -> None:
    metrics = [Metrics({"1": "sd"}, process) for process in (1, 2)]
    for number, one in enumerate(metrics, 1):
        one.accepted.labels("sd").inc(number)
        one.call_seconds.observe(0.3, "sd")
    families = list(parser.text_string_to_metric_families(together(m.exposition().decode() for m in metrics).decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "each family stands at one place"
    samples = {(each.name, each.labels["process"]): each.value for family in families for each in family.samples}
    assert samples["ngpu_tasks_accepted_total", "1"] == 1 and samples["ngpu_tasks_accepted_total", "2"] == 2
    assert samples["ngpu_upstream_call_seconds_count", "2"] == 1


def test_one_process_alone_has_no_such_label() -> None:
    assert b"process=" not in Metrics({}).exposition()


def test_what_is_handed_over_is_seen_by_nobody_else() -> None:
    read, write = os.pipe()
    try:
        os.set_inheritable(read, True)
        given = Handed(Role.WORKER, {"tcp:80": read}, 2, write, -1)
        environment = {VARIABLE: given.environment()[VARIABLE], "PATH": "/bin"}
        assert Handed.take(environment) == given
        assert environment == {"PATH": "/bin"}
        assert not os.get_inheritable(read)
        assert Handed.take(environment) == Handed()
    finally:
        os.close(read)
        os.close(write)


def test_one_that_has_ended_serves_no_more_whatever_it_said_last() -> None:
    """Its place may be empty for half a minute, and what it printed may still come."""
    out = io.BytesIO()
    for words in (["ready"], ["ready", "ready"], []):
        clock = Clock()
        child = Child(1, clock, (out, out), lambda which: "")
        for word in words:
            child.told(word)
        assert child.is_ready == bool(words)
        child.processExited(Failure(ProcessTerminated(None, 9)))
        assert not child.is_ready and not child.ended.called
        child.told("ready")
        assert not child.is_ready
        clock.advance(LAST_WORDS)
        assert child.ended.called and child.ready.called and not child.is_ready


@pytest.mark.parametrize(("status", "words"), [(2, "ended with 2"), (-9, "was ended by SIGKILL")])
def test_how_it_ended(status: int, words: str) -> None:
    assert how(status) == words


def test_both_ends_ask_and_tell() -> None:
    heard: list[str] = []

    async def seven(which: str) -> str:
        return which + "7"

    async def broken(which: str) -> str:
        raise ValueError

    one, other = Channel(heard.append, broken, lambda: heard.append("lost")), Channel(heard.append, seven, lambda: None)
    transports = {one: StringTransport(), other: StringTransport()}
    for channel, transport in transports.items():
        channel.makeConnection(transport)

    def carry() -> None:
        for sender, receiver in ((one, other), (other, one), (one, other)):
            receiver.dataReceived(transports[sender].value())
            transports[sender].clear()

    answers: list[object] = []
    asked: list[Deferred[object]] = [one.ask("of "), other.ask()]
    for each in asked:
        each.addCallback(answers.append)
    one.tell("ready")
    carry()
    assert heard == ["ready"] and sorted(map(str, answers)) == ["None", "of 7"]

    async def figures() -> None:
        await one.ask()

    unanswered = Deferred.fromCoroutine(figures())
    reason = Failure(ConnectionDone())  # Twisted has one for all connections, which must keep no frames of ours
    one.connectionLost(reason)
    failed: list[object] = []
    unanswered.addErrback(failed.append)
    assert len(failed) == 1 and heard[-1] == "lost"
    assert reason.value is not None and reason.value.__traceback__ is None
    gone: list[object] = []
    one.ask().addErrback(gone.append)
    assert len(gone) == 1


def test_a_check_that_was_ended_for_its_time_says_so() -> None:
    """The signal is ours, and says nothing to an operator whose plugin hangs."""
    assert "SIGKILL" in why_not(-9, False, ()) and "Error" in why_not(2, False, ["Error: no such key"])
    told = why_not(-9, True, ())
    assert "SIGKILL" not in told and "60 s" in told and "plugin" in told
