"""Work that one gateway at a time does, of those on one Redis."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_twisted
import redis_server
from redis_gateways import SharedStore
from redis_store import eventually, keys, pause
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults

from ngpu.errors import StoreUnavailable
from ngpu.stores.redis import turnstile


@pytest_twisted.async_yield_fixture
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[SharedStore, SharedStore]]:
    prefix, url, timeout = secrets.token_hex(4), redis_server.shared().url, getattr(request, "param", 10.0)
    a, b = [await SharedStore(url, prefix, timeout=timeout).open() for _ in "ab"]
    yield a, b
    await a.close()
    await b.close()


def locks(store: SharedStore) -> list[str]:
    return keys(redis_server.shared(), f"{store.prefix}:lock:*")


@pytest_twisted.ensureDeferred
async def test_one_at_a_time_and_all_in_the_end(pair: tuple[SharedStore, SharedStore]) -> None:
    at_it: list[int] = []
    done: list[int] = []

    async def work(number: int) -> int:
        at_it.append(number)
        assert at_it == [number]
        await pause(0.005)
        at_it.clear()
        done.append(number)
        return number

    calls = [ensureDeferred(pair[n % 2].exclusively("x", lambda n=n: work(n))) for n in range(60)]
    assert await gatherResults(calls) == list(range(60))
    assert sorted(done) == list(range(60))
    assert locks(pair[0]) == []


@pytest.mark.parametrize("pair", [2.0], indirect=True, ids=["timeout"])
@pytest_twisted.ensureDeferred
async def test_other_names_go_on_and_a_turn_that_does_not_come_is_refused(
    pair: tuple[SharedStore, SharedStore],
) -> None:
    a, b = pair
    over: Deferred[str] = Deferred()

    async def long() -> str:
        return await over

    async def short() -> str:
        return "short"

    first = ensureDeferred(a.exclusively("x", long))
    await eventually(lambda: locks(a), "it is locked")
    assert await b.exclusively("y", short) == "short"
    late = [ensureDeferred(each.exclusively("x", short)) for each in (a, b, b)]
    for each in late:
        with pytest.raises(StoreUnavailable, match="at it already"):
            await each
    waits = ensureDeferred(b.exclusively("x", short))
    await pause(0.05)
    over.callback("long")
    assert await first == "long"
    assert await waits == "short"
    assert locks(a) == []


@pytest_twisted.ensureDeferred
async def test_what_it_raises_is_raised_and_a_cancelled_one_leaves_nothing(
    pair: tuple[SharedStore, SharedStore],
) -> None:
    a, b = pair

    async def bad() -> None:
        raise ZeroDivisionError

    async def never() -> None:
        await Deferred()

    with pytest.raises(ZeroDivisionError):
        await a.exclusively("x", bad)
    for wait in (0.0, 0.05):
        for store in (a, b):
            call = ensureDeferred(store.exclusively("x", never))
            if wait:
                await eventually(lambda: locks(a), "it is locked")
            call.cancel()
            with pytest.raises(CancelledError):
                await call
            await eventually(lambda: not locks(a), "it is free again")


@pytest_twisted.ensureDeferred
async def test_it_is_renewed_while_the_work_lasts(
    pair: tuple[SharedStore, SharedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turnstile, "LENGTH", 0.6)
    a, b = pair
    seen: list[str] = []

    async def work(name: str) -> None:
        await pause(1.5)
        seen.append(name)

    first = ensureDeferred(a.exclusively("x", lambda: work("a")))
    await eventually(lambda: locks(a), "it is locked")
    a.member.life += 1
    await b.exclusively("x", lambda: work("b"))
    await first
    assert seen == ["a", "b"]
    assert locks(a) == []
