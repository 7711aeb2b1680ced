"""What the live stream's listeners share: one look a second, however they come and go."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ngpu.errors import StoreUnavailable
from ngpu.http.admin_events import Telling
from ngpu.http.admin_live import LOOK_EVERY, AdminLive
from ngpu.http.streaming import HEARTBEAT
from ngpu.journal import Journal
from ngpu.sharing import Alone


def test_one_who_comes_back_in_the_middle_of_a_look() -> None:
    """A page that is loaded anew while the store is slow: there is one look a second all the same, and then none."""
    clock, looks = Clock(), list[Deferred[Mapping[str, Any]]]()

    async def state() -> Mapping[str, Any]:
        looks.append(Deferred())
        return await looks[-1]

    def looked() -> int:
        count = len(looks)
        while looks:
            looks.pop().callback({})
        return count

    def listen() -> tuple[AsyncGenerator[bytes, None], Deferred[bytes]]:
        stream = cast(AsyncGenerator[bytes, None], live._stream(0))
        assert _now(anext(stream)).startswith(b"retry")
        return stream, Deferred.fromCoroutine(_next(stream))

    live = AdminLive(state, Journal("here", clock, Alone.news), Telling({}, {}), clock)
    stream, waits = listen()
    waits.addErrback(lambda _: None)
    waits.cancel()
    _now(stream.aclose())
    again, waits = listen()
    assert looked() == 2
    assert waits.result.startswith(b"event: state")
    for _ in range(5):
        clock.advance(LOOK_EVERY)
        assert looked() == 1
    _now(again.aclose())
    clock.advance(LOOK_EVERY)
    assert looked() == 0


def test_quiet_is_told_from_death_and_what_is_known_from_what_is_not() -> None:
    """Pages see no comments: they hear the state again, for as long as a look shows it."""
    clock, refused = Clock(), False

    async def state() -> Mapping[str, Any]:
        if refused:
            raise StoreUnavailable("away")
        return {"nodes": []}

    live = AdminLive(state, Journal("here", clock, Alone.news), Telling({}, {}), clock)
    stream = cast(AsyncGenerator[bytes, None], live._stream(0))
    assert _now(anext(stream)).startswith(b"retry")
    told = _now(anext(stream))
    assert told == b'event: state\ndata: {"nodes":[]}\n\n'

    def waited() -> bytes:
        waits = Deferred.fromCoroutine(_next(stream))
        clock.pump([LOOK_EVERY] * int(HEARTBEAT + 1))
        return cast(bytes, waits.result)

    assert waited() == told
    refused = True
    assert waited().startswith(b":")
    refused = False
    assert waited() == told
    _now(stream.aclose())


async def _next(stream: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(stream)


def _now(step: Any) -> Any:
    """What a step gives that waits for nothing."""

    async def run() -> Any:
        return await step

    done: list[Any] = []
    Deferred.fromCoroutine(run()).addCallback(done.append)
    return done[0]
