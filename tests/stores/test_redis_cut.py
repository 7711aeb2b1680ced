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
from redis_store import eventually, opened
from task_stores import DONE, HERE, THERE, pattern, sample, whole
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater

from ngpu.errors import Conflict, QueueFull, StoreUnavailable
from ngpu.limits import Pace, Quota, Rate
from ngpu.listing import TaskQuery
from ngpu.model import CHUNK, BytesBody, TaskStatus
from ngpu.outbox import Backlog, Webhook
from ngpu.stores.redis import RedisOptions, RedisTaskStore, adding, address_of

EMPTY = BytesBody()
DAY = Quota(5, "2026-11-25", 60)
URL = "https://receiver.example/hook"


@dataclass
class Scene:
    """A store behind a proxy."""

    store: RedisTaskStore
    proxy: CuttingProxy
    reactor: Any
    prefix: str

    async def pause(self, seconds: float) -> None:
        await deferLater(self.reactor, seconds)

    async def known(self) -> None:
        """Until it is known what became of the writes whose callers were told that they failed."""
        await eventually(lambda: not self.store._desk._unsettled, "all is settled")


@pytest_twisted.async_yield_fixture
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    from twisted.internet import reactor

    proxy = CuttingProxy(reactor, redis_server.shared().port)
    await proxy.start()
    prefix = secrets.token_hex(4)
    store = await opened(f"redis://127.0.0.1:{proxy.port}", prefix=prefix, timeout=getattr(request, "param", 5.0))
    yield Scene(store, proxy, reactor, prefix)
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
    await store.add(sample("e", webhook=URL), EMPTY)
    await store.add(sample("f"), EMPTY)
    assert await disturbed(store.cancel_queued("w", 1004.0, 1)) == ["e"]
    (webhook,) = await disturbed(store.take_webhooks(1004.0, 1010.0, 5, 5, {}))
    assert webhook == Webhook("w", "e", 0, 1)
    assert await disturbed(store.webhook_failed(webhook, 1020.0))
    assert await store.take_webhooks(1019.0, 1010.0, 5, 5, {}) == []
    assert await disturbed(store.retry("e", 1005.0, 2000.0, 1005.0, 2, DAY)) is TaskStatus.CANCELLED
    assert ((await store.get("e")).retries, await store.used("w", DAY.window)) == (1, 1)
    assert await store.cancel("e", 1006.0) is TaskStatus.QUEUED
    (webhook,) = await store.take_webhooks(1006.0, 1010.0, 5, 5, {})
    await disturbed(store.webhook_delivered(webhook))
    assert await store.webhooks() == {}
    first = await disturbed(store.add(sample("g", idempotency_key="k"), EMPTY, None, DAY))
    assert await disturbed(store.add(sample("h", idempotency_key="k"), EMPTY, 0, DAY)) == first
    assert await store.used("w", DAY.window) == 2
    assert sorted(await store.cancel_queued("w", 1007.0, 5)) == ["f", "g"]
    assert await disturbed(store.pace("w", Rate(2.0, 3), 1008.0)) == Pace(0.0, 2, 0.5)
    assert await store.pace("w", Rate(2.0, 3), 1008.0) == Pace(0.0, 1, 1.0)
    await disturbed(store.documents.put("shelf", "k", {"a": 1}))
    assert await disturbed(store.documents.delete("shelf", "k"))
    assert await disturbed(store.purge({}, 9e9)) == 6
    assert (await store.list(TaskQuery("w"))).ids == ()
    assert proxy.cuts > 22


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

    async def lost(call: Any, known: bool = True) -> None:
        """Every copy goes astray, until the caller is told so."""
        proxy.plan = [how] * 1000
        await failed(call)
        proxy.plan.clear()
        proxy.deliver()
        if known:
            await scene.known()

    await lost(store.add(sample("never", request_size=3), BytesBody(b"abc")))
    assert await store.get("never") is None
    assert await store.queued("w") == 0
    assert (await store.list(TaskQuery("w"))).ids == ()
    await store.add(sample("a"), EMPTY)
    await lost(store.claim("w", HERE, 1001.0))
    await store.expire(0.0)  # a write waits until it is known what became of those before it
    assert await store.queued("w") == 1
    assert (await store.get("a")).status is TaskStatus.QUEUED
    task = await store.claim("w", HERE, 1001.0)
    await lost(store.reattempt("a", task.attempt, THERE))
    assert await store.save_checkpoint("a", task.attempt, "x"), "the attempt that its runner knows is the current one"
    await lost(store.finish("a", task.attempt, DONE, 1002.0, (0, b"")))
    assert await store.finish("a", task.attempt, DONE, 1002.0, (0, b"")), "as its runner insists on"
    assert (await store.get("a")).status is TaskStatus.FINISHED
    assert await store.finish("a", task.attempt, DONE, 1002.0, (0, b"")) is False
    await store.add(sample("b", status=TaskStatus.RUNNING, attempt=1), EMPTY)
    await lost(store.finish("b", 1, DONE, 1002.0, None), known=False)
    assert await store.finish("b", 1, DONE, 1002.0, None), "also before it is known what became of the first"
    await lost(store.cancel("b", 1002.0))
    assert store._finished == set()
    large = BytesBody(pattern(CHUNK + 1))
    await store.add(sample("c", request_size=large.length), large)  # from then on Redis knows the scripts
    await lost(store.add(sample("d", request_size=large.length), large))
    await store.expire(0.0)
    assert redis_server.shared().ask("EXISTS", f"{scene.prefix}:uploads") == ":0\r\n"


@pytest.mark.parametrize("scene", [0.5], indirect=True, ids=["timeout"])
@pytest.mark.parametrize("how", [AFTER, LATE])
@pytest.mark.parametrize("webhook", ["none", "pending", "dead", "delivered"])
@pytest_twisted.ensureDeferred
async def test_a_retry_that_was_refused_is_undone_without_a_trace(scene: Scene, webhook: str, how: str) -> None:
    store, proxy = scene.store, scene.proxy
    await store.add(sample("t", webhook="" if webhook == "none" else URL, direct=True), EMPTY)
    claimed = await store.claim("w", HERE, 1001.0)
    outcome = replace(DONE, status=TaskStatus.FAILED, code=502, size=CHUNK + 1)
    await store.write_result("t", claimed.attempt, 0, pattern(CHUNK))
    assert await store.finish("t", claimed.attempt, outcome, 1002.0, (1, b"!"))
    taken = await store.take_webhooks(1002.0, 1010.0, 5, 5, {})
    if webhook == "dead":
        await store.webhook_failed(taken[0], None)
    elif webhook == "delivered":
        await store.webhook_delivered(taken[0])
    before, told = await store.get("t"), await store.webhooks()
    proxy.plan = [how] * 1000
    await failed(store.retry("t", 1003.0, 2500.0, 1003.0, None, DAY))
    proxy.plan.clear()
    proxy.deliver()
    await scene.known()
    await store.expire(0.0)  # a write waits until it is known what became of those before it
    assert await store.get("t") == before
    assert await store.queued("w") == 0
    assert await store.used("w", DAY.window) == 0
    assert (
        await store.webhooks()
        == told
        == ({} if not told else {"w": Backlog(*(1, 0) if webhook == "pending" else (0, 1))})
    )
    assert await whole(store.result_body(before)) == pattern(CHUNK) + b"!"
    assert (await store.list(TaskQuery("w", node=HERE.node_address))).ids == ("t",)
    due = await store.take_webhooks(1010.0, 1020.0, 5, 5, {})
    assert [each.tries for each in due] == ([2] if webhook == "pending" else [])
    assert await store.retry("t", 1003.0, 2500.0, 1003.0, None, DAY) is TaskStatus.FAILED
    again = await store.claim("w", THERE, 1004.0)
    assert (again.attempt, again.retries, again.direct) == (claimed.attempt + 1, 1, False)
    assert await store.finish("t", again.attempt, replace(DONE, size=3), 1005.0, (0, b"new"))
    assert await whole(store.result_body(await store.get("t"))) == b"new"


@pytest.mark.parametrize("scene", [0.5], indirect=True, ids=["timeout"])
@pytest_twisted.ensureDeferred
async def test_a_refused_task_leaves_neither_its_key_nor_a_webhook_nor_a_count(scene: Scene) -> None:
    store, proxy = scene.store, scene.proxy
    over = sample("t", idempotency_key="k", webhook=URL, status=TaskStatus.FAILED, ended_at=1001.0, outcome=DONE)
    waits = sample("u", idempotency_key="l", place=9000.0)
    for task in (over, waits):
        proxy.plan = [AFTER] * 1000
        await failed(store.add(task, EMPTY, None, DAY))
        proxy.plan.clear()
        await scene.known()
        await store.expire(0.0)
    assert await store.webhooks() == {}
    assert await store.used("w", DAY.window) == 0
    assert [await store.by_key("w", key) for key in ("k", "l")] == [None, None]
    assert (await store.add(sample("v", idempotency_key="l", place=1.0), EMPTY)).place == 1.0


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
