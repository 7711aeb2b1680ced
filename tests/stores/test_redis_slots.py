"""Slots that gateways on one Redis share: never more held than there are, a fair share for each, and none lost."""

from __future__ import annotations

import hashlib
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
import redis_server
from cutting_proxy import AFTER, BEFORE, LATE, CuttingProxy
from redis_gateways import SharedStore
from redis_server import Start
from redis_store import eventually, keys, pause
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults
from zope.interface.verify import verifyObject

from ngpu.errors import StoreUnavailable
from ngpu.sharing import ISlots
from ngpu.stores.redis import slots
from ngpu.stores.redis.script import Script, writing
from ngpu.stores.redis.turns import RESERVED, SLOTS

FREE_ALL = writing(SLOTS + "free_all(ARGV[4]) return answer(true)")

Gateways = Callable[[int], Any]


@pytest_twisted.async_yield_fixture
async def gateways() -> AsyncIterator[Gateways]:
    """Makes some on the shared server."""
    stores: list[SharedStore] = []
    prefix = secrets.token_hex(4)

    async def opened(count: int) -> list[SharedStore]:
        stores.extend([await SharedStore(redis_server.shared().url, prefix).open() for _ in range(count)])
        return stores

    yield opened
    for store in stores:
        await store.close()


@pytest.fixture
def long_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns are kept for a minute: of a test that goes by who is next, a slow machine lets none run out."""
    for name in ("TAKE", "FREE", "PASS", "MEND"):
        text = getattr(slots, name).text.replace(f"'PX', {RESERVED})", "'PX', 60000)")
        assert "'PX', 60000)" in text
        monkeypatch.setattr(slots, name, Script(text, hashlib.sha1(text.encode()).hexdigest(), True))
    monkeypatch.setattr(slots, "RESERVED", 60_000)


def held(store: SharedStore) -> list[str]:
    """The keys of slots that there are."""
    found = [key.partition(":")[2] for key in keys(redis_server.shared(), f"{store.prefix}:*")]
    return sorted(key for key in found if key.split(":")[0] in ("slots", "held", "occupied", "turn"))


class Worker:
    """One gateway's line at one replica, as simple as it can be: asks when it is told to, and each half second.

    :ivar holding: over all of them, how many are held now.
    """

    def __init__(self, store: SharedStore, holding: Counter[str], slots: int, seconds: float, rng: random.Random):
        self.done = 0
        self.slow = 0.0
        self._store = store
        self._holding = holding
        self._slots = slots
        self._seconds = seconds
        self._rng = rng
        self._told: Deferred[None] = Deferred()
        store.slots.watch(self._stir)

    def _stir(self, replica: str) -> None:
        told, self._told = self._told, Deferred()
        told.callback(None)

    async def work(self, until: Callable[[], bool]) -> None:
        while not until():
            began = time.monotonic()
            while True:
                told = self._told
                if await self._store.slots.take("r", self._slots):
                    break
                if until():
                    return
                if told is self._told:
                    waits: Deferred[None] = Deferred()
                    told.addCallback(lambda _, waits=waits: waits.called or waits.callback(None))
                    await waits.addTimeout(0.5, self._store.reactor, lambda *_: None)
            self.slow = max(self.slow, time.monotonic() - began)
            self._holding["r"] += 1
            assert self._holding["r"] <= self._slots
            await pause(self._rng.uniform(0, self._seconds))
            self._holding["r"] -= 1
            self.done += 1
            self._store.slots.free("r")


async def contend(stores: list[SharedStore], slots: int, lines: int, total: int) -> list[Worker]:
    """Let them work at one replica until they have taken ``total`` together."""
    holding: Counter[str] = Counter()
    rng = random.Random(1)
    workers = [Worker(store, holding, slots, 0.002, rng) for store in stores for _ in range(lines)]
    began = time.monotonic()
    await gatherResults([ensureDeferred(each.work(lambda: sum(w.done for w in workers) >= total)) for each in workers])
    took = time.monotonic() - began
    slowest = max(each.slow for each in workers)
    print(
        f"\n{len(stores)} gateways, {slots} slots, {lines} lines each: {[each.done for each in workers]} takes in "
        f"{took:.1f} s, the longest wait {slowest * 1000:.0f} ms"
    )
    return workers


@pytest_twisted.ensureDeferred
async def test_three_gateways_at_one_slot_get_a_fair_share(gateways: Gateways) -> None:
    stores = await gateways(3)
    assert verifyObject(ISlots, stores[0].slots)
    workers = await contend(stores, 1, 1, 1500)
    assert min(each.done for each in workers) > 400
    assert max(each.slow for each in workers) < 2
    await eventually(lambda: held(stores[0]) == [], "nothing is left")
    await eventually(lambda: not any(each.slots.elsewhere("r") for each in stores), "all know it")


@pytest_twisted.ensureDeferred
async def test_several_slots_and_several_lines(gateways: Gateways) -> None:
    stores = await gateways(3)
    workers = await contend(stores, 3, 3, 2000)
    shares = [sum(each.done for each in workers[n : n + 3]) for n in (0, 3, 6)]
    assert min(shares) > 500
    await eventually(lambda: held(stores[0]) == [], "nothing is left")


@pytest_twisted.ensureDeferred
async def test_who_was_refused_comes_before_the_one_that_frees(
    gateways: Gateways, long_turns: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "PASS_AFTER", 60.0)
    a, b, c = await gateways(3)
    told: list[str] = []
    b.slots.watch(told.append)
    assert await a.slots.take("r", 1)
    await eventually(lambda: b.slots.elsewhere("r") == c.slots.elsewhere("r") == 1, "the others know")
    assert a.slots.elsewhere("r") == 0
    assert not await b.slots.take("r", 1)
    assert not await c.slots.take("r", 1)
    told.clear()
    a.slots.free("r")
    assert not await a.slots.take("r", 1), "it is asked for right behind the freeing, and is not its turn"
    await eventually(lambda: told, "it is the turn of b")
    assert await b.slots.take("r", 1)
    b.slots.free("r")
    assert not await b.slots.take("r", 1)
    assert await c.slots.take("r", 1)
    c.slots.free("r")
    assert await a.slots.take("r", 1)
    a.slots.free("r")


@pytest_twisted.ensureDeferred
async def test_a_turn_that_nobody_uses_is_passed_on(gateways: Gateways, long_turns: None) -> None:
    a, b, c = await gateways(3)
    assert await a.slots.take("r", 1)
    for each in (b, c):
        assert not await each.slots.take("r", 1)
    told: list[float] = []
    c.slots.watch(lambda replica: told.append(time.monotonic()))
    await pause(0.1)
    told.clear()
    began = time.monotonic()
    a.slots.free("r")
    await eventually(lambda: len(told) > 1, "c is told that it is free, and that it is its turn")
    assert await c.slots.take("r", 1)
    assert time.monotonic() - began < 5, "long before the time was over that was kept for b"
    c.slots.free("r")


@pytest_twisted.ensureDeferred
async def test_a_gateway_that_is_gone_keeps_the_others_waiting_for_a_moment_only(gateways: Gateways) -> None:
    a, b, c = await gateways(3)
    assert await a.slots.take("r", 1)
    for each in (b, c):
        assert not await each.slots.take("r", 1)
    b.slots.stop()
    a.slots.free("r")
    began = time.monotonic()
    while not await c.slots.take("r", 1):
        await pause(0.05)
    print(f"\nthe turn of one that is gone took {time.monotonic() - began:.2f} s")
    assert RESERVED / 1000 * 0.9 < time.monotonic() - began < 3
    c.slots.free("r")


@pytest_twisted.ensureDeferred
async def test_all_of_a_gateway_that_is_gone_are_freed_at_once(gateways: Gateways) -> None:
    a, b = await gateways(2)
    for replica in ("r", "r", "s"):
        assert await a.slots.take(replica, 2)
    assert not await b.slots.take("r", 2)
    old = a.identity().decode()
    a.member.life += 1
    await b.desk.write(FREE_ALL, old)
    assert await b.slots.take("r", 2)
    assert "held:" + old not in held(a)
    a.slots.rejoined()
    await eventually(lambda: b.slots.elsewhere("r") == 2, "what it holds yet is counted anew, since it is so")
    for replica in ("r", "r", "s", "s"):
        a.slots.free(replica)
    b.slots.free("r")
    await eventually(lambda: held(a) == [], "nothing is left")


@pytest_twisted.ensureDeferred
async def test_what_is_not_held_cannot_be_freed(gateways: Gateways) -> None:
    a, b = await gateways(2)
    assert await a.slots.take("r", 1)
    b.slots.free("r")
    assert not await b.slots.take("r", 1)
    a.slots.free("r")
    a.slots.free("r")
    while not await b.slots.take("r", 1):
        await pause(0.01)
    a.slots.free("r")
    assert not await a.slots.take("r", 1)
    b.slots.free("r")


@pytest_twisted.ensureDeferred
async def test_cancelling_gives_back(gateways: Gateways) -> None:
    (a,) = await gateways(1)
    for _ in range(20):
        taking = a.slots.take("r", 1)
        taking.cancel()
        with pytest.raises(CancelledError):
            await taking
    while not await a.slots.take("r", 1):
        await pause(0.01)
    a.slots.free("r")
    await eventually(lambda: held(a) == [], "nothing is left")


@pytest_twisted.ensureDeferred
async def test_counts_that_were_never_said_are_seen(gateways: Gateways) -> None:
    a, b = await gateways(2)
    changed: list[str] = []
    b.slots.watch(changed.append)
    assert await a.slots.take("r", 3)
    assert b.slots.elsewhere("r") == 0, "nothing is said of a replica that has slots left"
    await eventually(lambda: b.slots.elsewhere("r") == 1, "the look at all counts")
    assert changed == ["r"]
    a.slots.free("r")
    await eventually(lambda: b.slots.elsewhere("r") == 0, "and again")


@pytest_twisted.ensureDeferred
async def test_a_redis_that_is_killed_keeps_the_slots_and_gets_back_what_was_freed_meanwhile(start: Start) -> None:
    server = start()
    a, b = [await SharedStore(server.url, "p", timeout=0.6).open() for _ in "ab"]
    assert await a.slots.take("r", 1)
    assert await a.slots.take("s", 1)
    server.kill9()
    a.slots.free("r")
    with pytest.raises(StoreUnavailable):
        await b.slots.take("r", 1)
    await pause(0.3)
    server.start()
    assert not await b.slots.take("s", 1)
    await eventually(lambda: "p:slots:r" not in keys(server), "the freeing that was lost is made up for")
    await eventually(lambda: b.slots.elsewhere("r") == 0, "and known")
    server.ask("FLUSHALL")
    await eventually(lambda: "p:slots:s" in keys(server), "a Redis that forgot a slot is told of it")
    await a.close()
    await b.close()


@pytest_twisted.ensureDeferred
async def test_a_redis_that_hangs_leaves_nothing_held_that_was_refused(start: Start) -> None:
    server = start()
    a = await SharedStore(server.url, "p", timeout=0.5).open()
    server.signal(signal.SIGSTOP)
    takes = [a.slots.take(f"r{number}", 1) for number in range(50)]
    for each in takes:
        with pytest.raises(StoreUnavailable):
            await each
    server.signal(signal.SIGCONT)
    await pause(0.3)
    assert await a.slots.take("r0", 1)
    a.slots.free("r0")
    await eventually(lambda: not [key for key in keys(server) if ":slots:" in key], "nothing is held")
    await a.close()


@pytest_twisted.ensureDeferred
async def test_over_connections_that_break_all_the_time() -> None:
    from twisted.internet import reactor

    prefix = secrets.token_hex(4)
    proxy = CuttingProxy(reactor, redis_server.shared().port)
    await proxy.start()
    stores = [await SharedStore(f"redis://127.0.0.1:{proxy.port}", prefix).open() for _ in "abc"]
    rng = random.Random(2)
    proxy.plan = [rng.choice([BEFORE, AFTER, LATE, *["pass"] * 40]) for _ in range(4000)]
    await contend(stores, 1, 1, 150)
    proxy.plan.clear()
    proxy.deliver()
    print(f"{proxy.cuts} cuts")
    assert proxy.cuts > 10
    await eventually(lambda: held(stores[0]) == [], "nothing is left")
    for store in stores:
        await store.close()
    await proxy.stop()
