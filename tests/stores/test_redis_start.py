"""What a start with a Redis is refused for, and that one gateway at a time has the store."""

from __future__ import annotations

import signal
import time

import pytest
import pytest_twisted
from processes import find_free_port
from redis_server import KEPT, Start
from redis_store import eventually, keys, made, opened, pause
from task_stores import HERE, SlowBody, sample
from twisted.internet.defer import Deferred, ensureDeferred

from ngpu.errors import ConfigError, StoreUnavailable
from ngpu.model import CHUNK, BytesBody

EMPTY = BytesBody()


def without(*names: str) -> list[str]:
    """The settings of a fit server, without some."""
    pairs = zip(KEPT[::2], KEPT[1::2], strict=True)
    return [word for name, value in pairs if name.removeprefix("--") not in names for word in (name, value)]


async def refusal(url: str, kind: type[Exception] = ConfigError) -> str:
    with pytest.raises(kind) as refused:
        await made(url, timeout=1.0).open()
    return str(refused.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([*without("appendonly"), "--appendonly", "no"], "set `appendonly yes`"),
        ([*without("maxmemory-policy"), "--maxmemory-policy", "allkeys-lru"], "set `maxmemory-policy noeviction`"),
        ([*without(), "--cluster-enabled", "yes", "--cluster-port", str(find_free_port())], "Redis Cluster"),
        ([*without(), "--requirepass", "hunter2"], "NOAUTH"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_redis_that_would_lose_tasks_is_refused(start: Start, settings: list[str], said: str) -> None:
    told = await refusal(start(*settings).url)
    assert said in told and "127.0.0.1" in told


@pytest_twisted.ensureDeferred
async def test_a_replica_is_refused(start: Start) -> None:
    master = start()
    replica = start(*KEPT, "--replicaof", f"127.0.0.1 {master.port}")
    assert f"is a replica of 127.0.0.1:{master.port}" in await refusal(replica.url)


@pytest_twisted.ensureDeferred
async def test_a_wrong_password_is_refused_and_not_shown(start: Start) -> None:
    server = start(*KEPT, "--requirepass", "hunter2")
    told = await refusal(f"redis://:hunter3@127.0.0.1:{server.port}")
    assert "refuses the login" in told and "hunter" not in told


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_not_there_is_told_in_bounded_time(free_port: int) -> None:
    began = time.monotonic()
    told = await refusal(f"redis://127.0.0.1:{free_port}", StoreUnavailable)
    assert f"127.0.0.1:{free_port}" in told and "refused" in told
    assert time.monotonic() - began < 3


@pytest_twisted.ensureDeferred
async def test_a_server_that_hangs_is_told_in_bounded_time(start: Start) -> None:
    server = start()
    server.signal(signal.SIGSTOP)
    began = time.monotonic()
    assert "gives no answer" in await refusal(server.url, StoreUnavailable)
    assert time.monotonic() - began < 4


@pytest_twisted.ensureDeferred
async def test_a_second_gateway_is_refused_and_the_first_goes_on(start: Start) -> None:
    server = start()
    first = await opened(server.url, lease=0.9)
    await first.add(sample(), EMPTY)
    told = await refusal(server.url)
    assert "is in use by the gateway with pid" in told and "prefix" in told
    assert await first.queued("w") == 1
    beside = await opened(server.url, prefix="other")
    assert await beside.get("t") is None
    await beside.close()
    await first.close()


@pytest_twisted.ensureDeferred
async def test_the_next_gateway_need_not_wait_for_one_that_stopped(start: Start) -> None:
    server = start()
    first = await opened(server.url, lease=3600.0)
    await first.close()
    second = await opened(server.url)
    await second.close()


@pytest_twisted.ensureDeferred
async def test_the_lease_of_a_gateway_that_is_gone_runs_out(start: Start) -> None:
    server = start()
    server.ask("SET", "ngpu:lease", '{"host":"h","id":"x","pid":7}', "PX", "1500")
    server.ask("SET", "ngpu:fence", "41 x")
    began = time.monotonic()
    store = await opened(server.url)
    assert 1.0 < time.monotonic() - began < 5.0
    assert server.ask("GET", "ngpu:fence").split("\r\n")[1].startswith("42 ")
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_gateway_that_was_paused_cannot_write_once_another_one_has_the_store(start: Start) -> None:
    """Its lease ran out while it was away, and nobody told it: the fence keeps it out."""
    server = start()
    paused = await opened(server.url, lease=3600.0)
    await paused.add(sample("a"), EMPTY)
    task = await paused.claim("w", HERE, 1001.0)
    server.ask("DEL", "ngpu:lease")  # as if it had run out
    second = await opened(server.url)
    assert await second.requeue("a", task.attempt)
    for call in (
        paused.save_checkpoint("a", task.attempt, "late"),
        paused.add(sample("b"), EMPTY),
        paused.claim("w", HERE, 1001.0),
        paused.documents.put("shelf", "k", {}),
        paused.get("a"),
    ):
        with pytest.raises(StoreUnavailable, match="taken over by another gateway"):
            await call
    assert await second.queued("w") == 1
    assert await second.get("b") is None
    await paused.close()
    assert "ngpu:lease" in keys(server), "it lets go of a lease that is not its own"
    await second.close()


@pytest_twisted.ensureDeferred
async def test_a_lease_that_ran_out_and_nobody_took_is_taken_again(start: Start) -> None:
    server = start()
    store = await opened(server.url, lease=0.6)
    server.ask("DEL", "ngpu:lease")
    await eventually(lambda: "ngpu:lease" in keys(server), "the lease is renewed")
    await store.add(sample(), EMPTY)
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_fence_of_an_older_state_is_mended(start: Start) -> None:
    """As after a failover to a replica that had not heard of the last one yet."""
    server = start()
    store = await opened(server.url, lease=3600.0)
    server.ask("SET", "ngpu:fence", "0 somebody")
    await store.add(sample(), EMPTY)
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_killed_gateways_half_of_an_upload_is_cleared_away(start: Start) -> None:
    server = start()
    first = await opened(server.url)
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
    server.ask("DEL", "ngpu:lease")  # its gateway is dead, as far as the next one can see
    second = await opened(server.url)
    assert keys(server, "ngpu:request:*") == keys(server, "ngpu:uploads") == []
    await second.add(sample(), EMPTY)
    adding.cancel()
    await pause(0.1)
    assert await second.get("t") is not None
    await first.close()
    await second.close()
