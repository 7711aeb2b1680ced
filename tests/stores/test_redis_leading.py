"""Which gateway on one Redis leads: one at a time, whatever is paused or killed, and soon another one."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
import redis_server
from redis_gateways import SharedStore
from redis_server import Start
from redis_store import eventually, pause
from stopwatch import Stopwatch
from zope.interface.verify import verifyObject

from ngpu.errors import StoreUnavailable
from ngpu.sharing import DOCUMENTS, ILeadership

Gateways = Callable[..., Any]


@pytest_twisted.async_yield_fixture
async def gateways() -> AsyncIterator[Gateways]:
    """Makes some on the shared server, which try to lead."""
    stores: list[SharedStore] = []
    prefix = secrets.token_hex(4)

    async def opened(count: int, lease: float = 1.0) -> list[SharedStore]:
        for _ in range(count):
            store = await SharedStore(redis_server.shared().url, prefix, timeout=0.5, lease=lease).open()
            stores.append(store)
            store.leadership.start()
        return stores

    yield opened
    for store in stores:
        await store.close()


async def leader(stores: list[SharedStore]) -> SharedStore:
    """The one that leads, once one does."""

    def found() -> list[SharedStore]:
        leading = [store for store in stores if store.leadership.leads()]
        assert len(leading) <= 1
        return leading

    return (await eventually(found, "one of them leads"))[0]  # type: ignore[no-any-return]


@pytest_twisted.ensureDeferred
async def test_one_leads_and_the_next_one_at_once_when_it_stops(gateways: Gateways) -> None:
    stores = await gateways(3, lease=3.0)  # of which a slow machine lets none run out
    assert verifyObject(ILeadership, stores[0].leadership)
    first = await leader(stores)
    told: list[bool] = []
    first.leadership.watch(lambda: told.append(first.leadership.leads()))
    until = time.monotonic() + 3.5
    while time.monotonic() < until:
        assert await leader(stores) is first, "it is renewed"
        await pause(0.02)
    watch = Stopwatch()
    await first.leadership.resign()
    assert told == [False]
    second = await leader(stores)
    assert second is not first
    print(f"\nthe next one led {watch.seconds() * 1000:.0f} ms after the first let go")
    assert watch.seconds() < 0.6, "far less than the lease of 3 s, and than the time between two looks"


@pytest_twisted.ensureDeferred
async def test_one_that_is_cut_off_ceases_before_another_begins(gateways: Gateways) -> None:
    """Its calls hang: it finds nothing out, and yet it ceases in time, and tells so."""
    stores = await gateways(2)
    first = await leader(stores)
    ceased: list[float] = []
    began: list[float] = []
    (second,) = (store for store in stores if store is not first)
    first.leadership.watch(lambda: ceased.append(time.monotonic()))
    second.leadership.watch(lambda: began.append(time.monotonic()))
    for link in first.links:
        await link.stop()
    assert await eventually(lambda: began, "the other one begins")
    assert len(ceased) == 1 and ceased[0] < began[0]
    assert second.leadership.leads() and not first.leadership.leads()


@pytest_twisted.ensureDeferred
async def test_whether_it_leads_goes_by_the_clock_and_not_by_a_call(gateways: Gateways) -> None:
    """As after SIGSTOP: nothing has run here meanwhile, and the first question already has the right answer."""
    stores = await gateways(1)
    first = await leader(stores)
    time.sleep(1.0)
    assert not first.leadership.leads()
    await leader(stores)


@pytest_twisted.ensureDeferred
async def test_one_that_was_counted_as_gone_begins_anew(gateways: Gateways) -> None:
    stores = await gateways(1)
    first = await leader(stores)
    first.member.life += 1
    first.leadership.rejoined()
    assert not first.leadership.leads()
    with pytest.raises(StoreUnavailable, match="another gateway leads"):
        await first.led_documents.put("fleet", "a", {})
    await leader(stores)
    await first.led_documents.put("fleet", "a", {})


@pytest_twisted.ensureDeferred
async def test_only_the_leader_writes_what_is_led(gateways: Gateways) -> None:
    stores = await gateways(2, lease=10.0)
    first = await leader(stores)
    (second,) = (store for store in stores if store is not first)
    heard: dict[str, list[str | None]] = {"a": [], "b": []}
    first.news.hear(DOCUMENTS.format(collection="fleet"), heard["a"].append)
    second.news.hear(DOCUMENTS.format(collection="fleet"), heard["b"].append)
    await eventually(lambda: heard == {"a": [None], "b": [None]}, "both hear")
    await first.led_documents.put("fleet", "a", {"n": 1})
    for call in (second.led_documents.put("fleet", "a", {"n": 2}), second.led_documents.delete("fleet", "a")):
        with pytest.raises(StoreUnavailable, match="another gateway leads"):
            await call
    assert await second.led_documents.documents("fleet") == {"a": {"n": 1}}
    await second.documents.put("fleet", "b", {"n": 3})
    assert await second.documents.delete("fleet", "c") is False
    assert await first.led_documents.delete("fleet", "b") is True
    assert await first.led_documents.delete("fleet", "b") is False
    await eventually(lambda: heard == {"a": [None, "", "", ""], "b": [None, "", "", ""]}, f"each change: {heard}")


@pytest_twisted.ensureDeferred
async def test_never_two_while_redis_hangs_is_killed_and_comes_again(start: Start) -> None:
    server = start()
    stores = [await SharedStore(server.url, "p", timeout=0.5).open() for _ in "abc"]
    for store in stores:
        store.leadership.start()
    spans: list[tuple[float, int, bool]] = []
    for number, store in enumerate(stores):
        store.leadership.watch(
            lambda number=number, store=store: spans.append((time.monotonic(), number, store.leadership.leads()))
        )
    await leader(stores)
    server.signal(signal.SIGSTOP)
    await eventually(lambda: not any(store.leadership.leads() for store in stores), "nobody knows that it leads")
    server.signal(signal.SIGCONT)
    await leader(stores)
    server.ask("CLIENT", "KILL", "TYPE", "normal")
    await pause(0.5)
    await leader(stores)
    server.kill9()
    await pause(1.2)
    assert not any(store.leadership.leads() for store in stores)
    server.start()
    await leader(stores)
    leading: set[int] = set()
    for _, number, leads in spans:
        (leading.add if leads else leading.discard)(number)
        assert len(leading) <= 1
    for store in stores:
        await store.close()
