"""The turn of the reactor, and what waits for it to have nothing else to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock
from zope.interface import implementer

from ngpu.polling import lean, when_idle


@implementer(IReadDescriptor)
class Pipe:
    """Has something to be read for as long as nobody takes it."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        self.turns = 0
        os.write(self._in, b"x")

    def fileno(self) -> int:
        return self._out

    def doRead(self) -> None:
        self.turns += 1

    def connectionLost(self, reason: Any) -> None:
        for end in (self._out, self._in):
            os.close(end)

    def logPrefix(self) -> str:
        return "pipe"


@pytest.fixture
def reactor() -> Iterator[Any]:
    """One of its own, which goes by a clock that stands still."""
    own: Any = EPollReactor()
    own.now = 0.0
    own.seconds = lambda: own.now
    lean(own)
    yield own
    own.removeAll()
    own._poller.close()
    own.waker.connectionLost(None)


def test_a_call_waits_until_nothing_else_is_to_be_done(reactor: Any) -> None:
    pipe, made = Pipe(), []
    reactor.addReader(pipe)
    when_idle(reactor, lambda: made.append(pipe.turns), 5.0)
    for _ in range(3):
        reactor.doIteration(None)
    assert (made, pipe.turns) == ([], 3)
    reactor.removeReader(pipe)
    reactor.doIteration(None)  # does not wait for events, of which there are none
    assert made == [3]
    reactor.doIteration(0)
    assert made == [3], "made once"
    pipe.connectionLost(None)


def test_it_does_not_wait_for_ever(reactor: Any) -> None:
    pipe, made = Pipe(), []
    reactor.addReader(pipe)
    when_idle(reactor, lambda: made.append("first"), 5.0)
    reactor.now = 4.0
    when_idle(reactor, lambda: made.append("second"), 5.0)
    reactor.doIteration(None)
    assert made == []
    reactor.now = 5.0
    reactor.doIteration(None)
    assert made == ["first", "second"], "others go along with it"
    reactor.removeReader(pipe)
    pipe.connectionLost(None)


def test_a_call_may_ask_for_another(reactor: Any) -> None:
    made = []
    when_idle(reactor, lambda: when_idle(reactor, lambda: made.append(1), 5.0), 5.0)
    reactor.doIteration(None)
    assert made == []
    reactor.doIteration(None)
    assert made == [1]


def test_another_reactor_makes_it_after_this_turn() -> None:
    clock, made = Clock(), []
    when_idle(clock, lambda: made.append(1), 5.0)
    assert made == []
    clock.advance(0)
    assert made == [1]
