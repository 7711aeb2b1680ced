"""A fleet of gateways that share a real Redis: one works on it, and soon another one where that is gone."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import pytest_twisted
import redis_server
from gateways import ID, OneOf, Several
from redis_server import RedisServer
from redis_store import eventually, opened, pause

LEASE = 5.0


@pytest_twisted.ensureDeferred
async def test_another_gateway_takes_the_fleet_over_and_any_of_them_may_be_asked() -> None:
    from twisted.internet import reactor

    several, prefix = Several(0, clock=reactor), secrets.token_hex(4)
    for engine in several.world.engines.values():
        engine.pull_seconds = 0.5
    stores = [await opened(redis_server.shared().url, prefix=prefix, lease=LEASE) for _ in range(3)]
    gateways = several.gateways
    gateways += [OneOf(several, store, interval=0.3) for store in stores]
    try:
        several.put()
        for gateway in gateways:
            await gateway.fleet.load()
            gateway.fleet.start()
        await eventually(lambda: several.all_serve(), "all serve")
        (leader,) = [gateway for gateway in gateways if gateway.leadership.leads()]
        assert [gateway for gateway in gateways if gateway.changed] == [leader]
        others = [gateway for gateway in gateways if gateway is not leader]

        began = time.monotonic()
        await others[0].fleet.undeploy(ID)
        assert others[0].report.state == "suspended"
        await eventually(lambda: not several.world.names(), "undeployed by the leader")
        await eventually(lambda: others[1].report.state == "suspended", "all know")
        print(f"\nwhat a follower was asked was done {(time.monotonic() - began) * 1000:.0f} ms later")

        leader.shared.away = True  # for `all_serve`
        began = time.monotonic()
        await leader.fleet.stop()
        await others[1].fleet.deploy(ID)
        await stores[gateways.index(leader)].close()
        await eventually(lambda: any(gateway.changed for gateway in others), "another one works on it")
        print(f"the next one changed something {(time.monotonic() - began) * 1000:.0f} ms after the leader ended")
        await eventually(several.all_serve, "all serve again")
        assert several.created() == 4 and all(gateway.wrong == [] for gateway in gateways)
        assert await stores[gateways.index(others[0])].documents.documents("asked") == {}
    finally:
        for gateway, store in zip(gateways, stores, strict=True):
            await gateway.fleet.stop()
            await store.close()


@pytest_twisted.ensureDeferred
async def test_all_have_the_same_copies_where_redis_has_forgotten_some(tmp_path: Path) -> None:
    """The leader leads on, and must not go on with what it alone knows."""
    from twisted.internet import reactor

    server, several = RedisServer(tmp_path / "redis").start(), Several(0, clock=reactor)
    stores = [await opened(server.url, lease=30.0) for _ in range(2)]
    gateways = several.gateways
    gateways += [OneOf(several, store, interval=0.3) for store in stores]
    try:
        several.put(replicas=1)
        for gateway in gateways:
            await gateway.fleet.load()
            gateway.fleet.start()
        await eventually(lambda: several.all_serve(1), "all serve")
        await eventually(lambda: any(gateway.leadership.leads() for gateway in gateways), "one leads")
        kept = server.keep()
        several.put(replicas=3)
        await eventually(lambda: several.all_serve(3), "all serve the new ones")

        server.fall_back(kept)
        began = time.monotonic()
        while len(copies := await stores[0].documents.documents("copies")) != 3:
            assert time.monotonic() - began < 30.0, f"not placed anew: {copies}"
            await pause(0.1)
        await eventually(lambda: all(each.fleet._state.copies.keys() == copies.keys() for each in gateways), "known")
        await eventually(lambda: several.all_serve(3) and len(several.world.names()) == 3, "all serve these three")
    finally:
        for gateway, store in zip(gateways, stores, strict=True):
            await gateway.fleet.stop()
            await store.close()
        server.stop()
