"""The rate as Redis counts it is the one of `ngpu.limits.paced`, to the last digit."""

from __future__ import annotations

import secrets
from random import Random

import pytest
import pytest_twisted
import redis_server

from ngpu.limits import Rate, paced
from ngpu.stores.redis import RedisOptions, RedisTaskStore, address_of


@pytest.mark.parametrize("seed", range(5))
@pytest_twisted.ensureDeferred
async def test_it_is_the_same_as_in_memory(seed: int) -> None:
    from twisted.internet import reactor

    rng = Random(seed)
    options = RedisOptions(prefix=secrets.token_hex(4))
    store = RedisTaskStore(address_of(redis_server.shared().url), reactor, options)
    await store.open()
    try:
        now = 1_764_000_000.0 + rng.random()
        full_at, rate, waits = 0.0, Rate(rng.uniform(0.001, 50), rng.randint(1, 20)), 0
        for step in range(300):
            if step % 100 == 99:
                rate = Rate(rng.uniform(0.001, 50), rng.randint(1, 20))
            now += rng.expovariate(rate.per_second * 1.5) * rng.choice([1, 1, 1, 1, -1])
            full_at, pace = paced(full_at, rate, now)
            waits += pace.wait > 0
            assert await store.pace("w", rate, now) == pace
        assert 0 < waits < 300
    finally:
        await store.close()
