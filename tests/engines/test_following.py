"""Output whose end nobody tells, on a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from ngpu.engines.following import LOOK, QUIET, until_over
from ngpu.errors import EngineUnreachable


class Line:
    """What prints: a test says what comes, and when it is over."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.heard: list[bytes] = []
        self.over: Any = False
        self.looked = 0
        self.closed = False
        self._coming: Deferred[bytes | None] = Deferred()
        self.end = Deferred.fromCoroutine(self._listen())

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            while (piece := await self._coming) is not None:
                self._coming = Deferred()
                yield piece
        finally:
            self.closed = True

    async def _is_over(self) -> bool:
        self.looked += 1
        if isinstance(self.over, Exception):
            raise self.over
        return bool(self.over)

    async def _listen(self) -> None:
        async for piece in until_over(self._pieces(), self._is_over, self.clock):
            self.heard.append(piece)

    def say(self, piece: bytes | None) -> None:
        self._coming.callback(piece)


def test_it_ends_with_the_pieces() -> None:
    line = Line()
    line.say(b"a")
    line.say(b"b")
    line.say(None)
    assert line.end.called and line.closed and line.heard == [b"a", b"b"]
    assert not line.looked and not line.clock.getDelayedCalls()


def test_silence_alone_ends_nothing() -> None:
    line = Line()
    line.clock.pump([LOOK] * 10)
    assert line.looked == 10 and not line.end.called
    line.say(b"still there")
    assert line.heard == [b"still there"]
    line.say(None)
    assert line.end.called


def test_it_ends_once_it_is_over_and_nothing_more_has_come() -> None:
    line = Line()
    line.over = True
    line.clock.advance(LOOK)
    assert line.looked == 1 and not line.end.called
    line.say(b"last words")
    line.clock.advance(QUIET)
    assert line.end.called and line.closed and line.heard == [b"last words"]
    assert not line.clock.getDelayedCalls()


def test_what_goes_on_printing_is_not_asked_whether_it_is_over() -> None:
    line = Line()
    line.over = True
    for _ in range(10):
        line.clock.advance(LOOK / 2)
        line.say(b".")
    assert not line.looked and line.heard == [b"."] * 10
    line.say(None)


def test_whoever_listens_may_leave() -> None:
    line = Line()
    line.end.cancel()
    gone = line.end.addErrback(lambda failure: failure.trap(CancelledError))
    assert gone.called and line.closed and not line.clock.getDelayedCalls()


def test_an_engine_that_cannot_tell_ends_it_with_its_error() -> None:
    line = Line()
    line.over = EngineUnreachable("no answer")
    line.clock.advance(LOOK)
    with pytest.raises(EngineUnreachable):
        raise line.end.result.value  # type: ignore[attr-defined]
    line.end.addErrback(lambda failure: None)
    assert line.closed
