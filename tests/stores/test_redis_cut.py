"""A store in Redis gives the right answers over connections that are cut in the middle of a call, and changes things
once, however often a call had to be sent."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_twisted
import redis_server
from cutting_proxy import AFTER, BEFORE, LATE, CuttingProxy
from task_stores import DONE, HERE, THERE, pattern, sample, whole
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater

from ngpu.errors import Conflict, QueueFull, StoreUnavailable
from ngpu.model import CHUNK, BytesBody, TaskQuery, TaskStatus
from ngpu.stores.redis import RedisOptions, RedisTaskStore, adding, address_of

EMPTY = BytesBody()


@dataclass
class Scene:
    """A store behind a proxy."""

    store: RedisTaskStore
    proxy: CuttingProxy
    reactor: Any

    async def pause(self, seconds: float) -> None:
        await deferLater(self.reactor, seconds)


@pytest_twisted.async_yield_fixture
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    from twisted.internet import reactor

    proxy = CuttingProxy(reactor, redis_server.shared().port)
    await proxy.start()
    options = RedisOptions(prefix=secrets.token_hex(4), timeout=getattr(request, "param", 5.0))
    store = RedisTaskStore(address_of(f"redis://127.0.0.1:{proxy.port}"), reactor, options)
    await store.open()
    yield Scene(store, proxy, reactor)
    proxy.plan.clear()
    await store.close()
    await proxy.stop()


@pytest.mark.parametrize("how", [BEFORE, AFTER, LATE])
@pytest_twisted.ensureDeferred
async def test_each_call_is_made_once(scene: Scene, how: str) -> None:
    """A whole life of tasks, with a cut at every step; the answers are those of an undisturbed one."""
    store, proxy = scene.store, scene.proxy

    async def disturbed(call: Any) -> Any:
        proxy.plan = [how]
        try:
            return await call
        finally:
            assert proxy.plan == [], "the call was not disturbed"
            assert proxy.deliver() == (how == LATE)

    first = await disturbed(store.add(sample("a"), EMPTY, 2))
    second = await disturbed(store.add(sample("b", request_size=3), BytesBody(b"abc"), 2))
    assert second.number == first.number + 1
    with pytest.raises(QueueFull):
        await disturbed(store.add(sample("c"), EMPTY, 2))
    with pytest.raises(Conflict):
        await disturbed(store.add(sample("a"), EMPTY))
    claimed = await disturbed(store.claim("w", HERE, 1001.0))
    assert (claimed.id, claimed.attempt) == ("a", 1)
    assert await store.queued("w") == 1
    assert await disturbed(store.reattempt("a", 1, THERE)) == 2
    assert await disturbed(store.save_checkpoint("a", 2, "{}"))
    assert await disturbed(store.requeue("a", 2))
    assert await store.queued("w") == 2
    assert (await disturbed(store.claim("w", HERE, 1001.0))).attempt == 3
    await disturbed(store.write_result("a", 3, 0, pattern(CHUNK)))
    assert await disturbed(store.finish("a", 3, replace(DONE, size=CHUNK + 1), 1002.0, (1, b"!")))
    assert await whole(store.result_body(await store.get("a"))) == pattern(CHUNK) + b"!"
    assert await disturbed(store.cancel("b", 1003.0)) is TaskStatus.QUEUED
    assert await disturbed(store.cancel("b", 1004.0)) is TaskStatus.CANCELLED
    await store.add(sample("d", expires_at=1001.0), EMPTY)
    assert await disturbed(store.expire(1001.0)) == [("w", "d")]
    await disturbed(store.documents.put("shelf", "k", {"a": 1}))
    assert await disturbed(store.documents.delete("shelf", "k"))
    assert await disturbed(store.purge({}, 9e9)) == 3
    assert (await store.list(TaskQuery("w"))).ids == ()
    assert proxy.cuts > 15


@pytest_twisted.ensureDeferred
async def test_a_late_copy_of_a_claim_takes_no_second_task(scene: Scene) -> None:
    for task_id in ("a", "b"):
        await scene.store.add(sample(task_id), EMPTY)
    scene.proxy.plan = [LATE]
    assert (await scene.store.claim("w", HERE, 1001.0)).id == "a"
    assert scene.proxy.deliver() == 1
    await scene.pause(0.1)
    assert await scene.store.queued("w") == 1
    # nor once its slot was used for something else
    scene.proxy.plan = [LATE]
    assert (await scene.store.claim("w", HERE, 1001.0)).id == "b"
    await scene.store.add(sample("c"), EMPTY)
    assert scene.proxy.deliver() == 1
    await scene.pause(0.1)
    assert await scene.store.queued("w") == 1


@pytest.mark.parametrize("how", [BEFORE, AFTER, LATE])
@pytest_twisted.ensureDeferred
async def test_a_store_is_taken_once(how: str) -> None:
    """A late copy of the call that took it does not fence its own gateway off."""
    from twisted.internet import reactor

    proxy = CuttingProxy(reactor, redis_server.shared().port)
    await proxy.start()
    options = RedisOptions(prefix=secrets.token_hex(4))
    store = RedisTaskStore(address_of(f"redis://127.0.0.1:{proxy.port}"), reactor, options)
    proxy.plan = [how]
    await store.open()
    assert proxy.plan == []
    await store.add(sample("a"), EMPTY)
    assert proxy.deliver() == (how == LATE)
    await deferLater(reactor, 0.1)  # type: ignore[arg-type]
    await store.add(sample("b"), EMPTY)
    assert await store.queued("w") == 2
    await store.close()
    await proxy.stop()


@pytest_twisted.ensureDeferred
async def test_a_refused_task_that_somebody_runs_is_not_taken_from_under_him(scene: Scene) -> None:
    """Its claim was on its way already when its customer was told that it had not been taken in."""
    store = scene.store
    stored = await store.add(sample("a"), EMPTY)
    await store.claim("w", HERE, 1001.0)
    assert await store._desk.write(adding.FORGET, "a", stored.number, "queued", 0) is False
    assert (await store.get("a")).status is TaskStatus.RUNNING


async def failed(call: Any) -> None:
    with pytest.raises(StoreUnavailable):
        await call


@pytest.mark.parametrize("scene", [0.5], indirect=True, ids=["timeout"])
@pytest.mark.parametrize("how", [AFTER, LATE])
@pytest_twisted.ensureDeferred
async def test_what_was_refused_is_undone(scene: Scene, how: str) -> None:
    """A call that nobody heard the answer of in time: its caller is told that it failed, and so it did."""
    store, proxy = scene.store, scene.proxy

    async def lost(call: Any, pause: float = 0.2) -> None:
        """Every copy goes astray, until the caller is told so."""
        proxy.plan = [how] * 1000
        await failed(call)
        proxy.plan.clear()
        proxy.deliver()
        await scene.pause(pause)

    await lost(store.add(sample("never", request_size=3), BytesBody(b"abc")))
    assert await store.get("never") is None
    assert await store.queued("w") == 0
    assert (await store.list(TaskQuery("w"))).ids == ()
    await store.add(sample("a"), EMPTY)
    await lost(store.claim("w", HERE, 1001.0))
    await store.expire(0.0)  # a write waits until it is known what became of those before it
    assert await store.queued("w") == 1
    assert await store.orphans() == []
    task = await store.claim("w", HERE, 1001.0)
    await lost(store.reattempt("a", task.attempt, THERE))
    assert await store.save_checkpoint("a", task.attempt, "x"), "the attempt that its runner knows is the current one"
    await lost(store.finish("a", task.attempt, DONE, 1002.0, (0, b"")))
    assert await store.finish("a", task.attempt, DONE, 1002.0, (0, b"")), "as its runner insists on"
    assert (await store.get("a")).status is TaskStatus.FINISHED
    assert await store.finish("a", task.attempt, DONE, 1002.0, (0, b"")) is False
    await store.add(sample("b", status=TaskStatus.RUNNING, attempt=1), EMPTY)
    await lost(store.finish("b", 1, DONE, 1002.0, None), pause=0.0)
    assert await store.finish("b", 1, DONE, 1002.0, None), "also before it is known what became of the first"
    await lost(store.cancel("b", 1002.0))
    assert store._finished == set()


@pytest_twisted.ensureDeferred
async def test_many_at_once_over_a_connection_that_breaks_all_the_time(scene: Scene) -> None:
    store, proxy = scene.store, scene.proxy
    proxy.plan = [BEFORE, AFTER, LATE, AFTER, BEFORE] * 3
    adds = [ensureDeferred(store.add(sample(f"t{number}"), EMPTY)) for number in range(200)]
    await gatherResults(adds)
    proxy.deliver()
    proxy.plan = [AFTER, LATE, BEFORE]
    claims = [ensureDeferred(store.claim("w", HERE, 1001.0)) for _ in range(200)]
    claimed = [task.id for task in await gatherResults(claims)]
    proxy.deliver()
    assert sorted(claimed) == sorted(f"t{number}" for number in range(200))
    assert await store.queued("w") == 0


@pytest.mark.parametrize("how", [BEFORE, AFTER, LATE])
@pytest_twisted.ensureDeferred
async def test_bodies_of_many_pieces(scene: Scene, how: str) -> None:
    data = pattern(3 * CHUNK + 5)
    scene.proxy.plan = [how] * 4
    task = await scene.store.add(sample(request_size=len(data)), BytesBody(data))
    scene.proxy.deliver()
    scene.proxy.plan = [BEFORE, AFTER]
    assert await whole(scene.store.request_body(task)) == data


@pytest_twisted.ensureDeferred
async def test_whoever_stops_waiting_stops_nothing(scene: Scene) -> None:
    scene.proxy.plan = [AFTER]
    adding: Deferred[Any] = ensureDeferred(scene.store.add(sample("a"), EMPTY))
    adding.addErrback(lambda failure: None)
    adding.cancel()
    await scene.store.add(sample("b"), EMPTY)
    assert await scene.store.get("a") is not None
