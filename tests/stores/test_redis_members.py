"""Gateways that share a Redis: who may write, and what becomes of what those ran that are gone."""

from __future__ import annotations

import pytest_twisted
from redis_server import Start
from redis_store import eventually, keys, opened, pause
from task_stores import DONE, HERE, SlowBody, pattern, sample, whole
from twisted.internet.defer import Deferred, ensureDeferred

from ngpu.model import CHUNK, BytesBody, TaskStatus
from ngpu.stores.redis import RedisTaskStore

EMPTY = BytesBody()


def identity(store: RedisTaskStore) -> str:
    return store._sharing.membership.identity.decode()


def silence(store: RedisTaskStore) -> None:
    """Let it say no more that it lives, as a process that is paused does."""
    store._sharing.membership._renewing.stop()


async def taken_over(store: RedisTaskStore, within: float = 15.0) -> list[str]:
    """The ids of those that it takes over, once there are any."""
    found: list[str] = []

    async def look() -> None:
        found.extend(task.id for task in await store.orphans())

    from twisted.internet import reactor

    until = reactor.seconds() + within  # type: ignore[attr-defined]
    while not found:
        await look()
        await pause(0.02)
        assert reactor.seconds() < until, "nobody was counted as gone"  # type: ignore[attr-defined]
    return found


@pytest_twisted.ensureDeferred
async def test_several_gateways_work_on_one_queue(start: Start) -> None:
    server = start()
    stores = [await opened(server.url) for _ in range(3)]
    for number in range(30):
        await stores[number % 3].add(sample(f"t{number:02}"), EMPTY)
    assert [await store.queues() for store in stores] == [{"w": 30}] * 3
    claimed = [await stores[number % 3].claim("w", HERE, 1001.0) for number in range(31)]
    assert claimed.pop() is None
    assert [task.id for task in claimed] == [f"t{number:02}" for number in range(30)]
    assert [list(await store.orphans()) for store in stores] == [[], [], []]
    for number, task in enumerate(claimed):  # whoever ends it
        assert await stores[(number + 1) % 3].finish(task.id, task.attempt, DONE, 1002.0, None)
    assert keys(server, "ngpu:running:*") == []
    for store in stores:
        await store.close()
    assert keys(server, "ngpu:gateway*") == []


@pytest_twisted.ensureDeferred
async def test_what_one_that_stopped_was_running_is_taken_over_at_once(start: Start) -> None:
    server = start()
    first, second = await opened(server.url, lease=3600.0), await opened(server.url, lease=3600.0)
    await first.add(sample("t"), EMPTY)
    await first.claim("w", HERE, 1001.0)
    await first.close()
    assert await taken_over(second) == ["t"]
    await second.close()


@pytest_twisted.ensureDeferred
async def test_one_that_is_not_heard_of_is_gone_and_comes_back_as_another_one(start: Start) -> None:
    """Nobody told it: what it ran is not its own any more, and what it begins from now on is."""
    server = start()
    paused, other = await opened(server.url, lease=1.5), await opened(server.url, lease=1.5)
    lost: list[str] = []
    paused.watch_loss(lambda: lost.append(identity(paused)))
    await paused.add(sample("t"), EMPTY)
    before, ran = identity(paused), await paused.claim("w", HERE, 1001.0)
    silence(paused)
    assert await taken_over(other) == ["t"]
    assert not await paused.finish("t", ran.attempt, DONE, 1002.0, (0, b"late"))
    assert lost == [identity(paused)] != [before]
    task = await other.get("t")
    assert (task.status, task.attempt) == (TaskStatus.RUNNING, ran.attempt + 1)
    await other.finish("t", task.attempt, DONE, 1003.0, None)
    await paused.add(sample("u"), EMPTY)
    assert (await paused.claim("w", HERE, 1001.0)).id == "u"
    assert list(await other.orphans()) == []
    assert before not in server.ask("SMEMBERS", "ngpu:gateways")
    await paused.close()
    assert await taken_over(other) == ["u"]
    await other.close()


@pytest_twisted.ensureDeferred
async def test_its_slots_and_its_lead_go_with_it(start: Start) -> None:
    server = start()
    first = await opened(server.url, lease=0.6)
    await eventually(first.leadership.leads, "the first one leads")
    second = await opened(server.url, lease=0.6)
    assert await first.slots.take("r", 1)
    assert not await second.slots.take("r", 1)
    silence(first)
    first.leadership._stopped = True
    first.slots._looking.stop()
    while not await second.slots.take("r", 1):
        await second.orphans()
        await pause(0.05)
    await eventually(second.leadership.leads, "the second one leads")
    assert not first.leadership.leads()
    first.slots._looking.start(1.0, now=False)
    await first.close()
    await second.close()


@pytest_twisted.ensureDeferred
async def test_while_redis_was_away_nobody_counts_as_gone(start: Start) -> None:
    """All of them were silent for longer than their lease, and all come back at about the same time."""
    server = start()
    stores = [await opened(server.url, lease=1.5) for _ in range(3)]
    lost: list[int] = []
    for number, store in enumerate(stores):
        store.watch_loss(lambda number=number: lost.append(number))  # type: ignore[misc]
        await store.add(sample(f"t{number}"), EMPTY)
        assert await store.claim("w", HERE, 1001.0)
    server.kill9()
    await pause(2.5)
    server.start()
    for _ in range(40):
        for store in stores:
            assert list(await store.orphans()) == []
        await pause(0.05)
    assert lost == []
    for store in stores:
        await store.close()


@pytest_twisted.ensureDeferred
async def test_a_lease_that_ran_out_and_nobody_noticed_is_taken_again(start: Start) -> None:
    server = start()
    store = await opened(server.url, lease=0.6)
    key = f"ngpu:gateway:{identity(store)}"
    server.ask("DEL", key)
    await eventually(lambda: key in keys(server), "it says that it lives")
    await store.add(sample(), EMPTY)
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_redis_that_has_never_heard_of_it_lets_it_in_again(start: Start) -> None:
    """As after a failover to a replica that was behind."""
    server = start()
    store = await opened(server.url, lease=3600.0)
    server.ask("SREM", "ngpu:gateways", identity(store))
    await store.add(sample(), EMPTY)
    assert identity(store) in server.ask("SMEMBERS", "ngpu:gateways")
    await store.close()


@pytest_twisted.ensureDeferred
async def test_half_of_an_upload_of_one_that_is_gone_is_cleared_away(start: Start) -> None:
    server = start()
    first = await opened(server.url, lease=0.4)
    reached: Deferred[None] = Deferred()

    async def stall(index: int) -> None:
        if index == 2:
            reached.callback(None)
            await Deferred()

    body = SlowBody([bytes(CHUNK)] * 3, 3 * CHUNK, stall)
    adding = ensureDeferred(first.add(sample(request_size=body.length), body))
    adding.addErrback(lambda failure: None)
    await reached
    await pause(0.1)
    assert "ngpu:request:t" in keys(server)
    silence(first)
    second = await opened(server.url, lease=0.4)
    while keys(server, "ngpu:uploads"):
        await second.orphans()
        await pause(0.05)
    assert keys(server, "ngpu:request:*") == []
    size = CHUNK + 1
    await second.add(sample(request_size=size), BytesBody(pattern(size)))
    adding.cancel()
    await pause(0.1)
    assert await whole(second.request_body(await second.get("t"))) == pattern(size)
    await first.close()
    await second.close()


@pytest_twisted.ensureDeferred
async def test_others_hear_what_becomes_of_a_task(start: Start) -> None:
    server = start()
    runner, watcher = await opened(server.url), await opened(server.url)
    heard: list[str | None] = []
    cancelled: list[str | None] = []
    watcher.news.hear("task:t", heard.append)
    runner.news.hear("cancel", cancelled.append)
    await eventually(lambda: heard == [None] and cancelled == [None], "they listen")
    await watcher.add(sample("t"), EMPTY)
    task = await runner.claim("w", HERE, 1001.0)
    await runner.requeue("t", task.attempt)
    await runner.claim("w", HERE, 1001.0)
    await watcher.cancel("t", 1002.0)
    await eventually(lambda: heard[1:] == ["running", "queued", "running", "ended"], f"{heard}")
    await eventually(lambda: cancelled[1:] == ["t"], "the runner is told")
    await runner.close()
    await watcher.close()
