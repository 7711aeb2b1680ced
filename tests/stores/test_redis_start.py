"""What a start with a Redis is refused for."""

from __future__ import annotations

import signal
import time

import pytest
import pytest_twisted
from processes import find_free_port
from redis_server import KEPT, Start
from redis_store import made

from ngpu.errors import ConfigError, StoreUnavailable
from ngpu.model import BytesBody

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
