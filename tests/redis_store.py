"""A store in Redis for tests that look at it from beside, and what they do to its server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from redis_server import RedisServer
from twisted.internet.task import deferLater

from ngpu.errors import StoreUnavailable
from ngpu.stores.redis import RedisOptions, RedisTaskStore, address_of


async def opened(url: str, sentinels: object = (), **options: Any) -> RedisTaskStore:
    """A store that is open, however short the ``timeout`` among its ``options``, which are those of `RedisOptions`."""
    until = time.monotonic() + 15.0
    while True:
        store = made(url, sentinels, **options)
        try:
            await store.open()
        except StoreUnavailable as error:
            if "gives no answer" not in str(error) or time.monotonic() > until:
                raise
        else:
            return store


def made(url: str, sentinels: object = (), **options: Any) -> RedisTaskStore:
    """One that is not open yet."""
    from twisted.internet import reactor

    return RedisTaskStore(address_of(url, sentinels), reactor, RedisOptions(**options))


async def pause(seconds: float) -> None:
    from twisted.internet import reactor

    await deferLater(reactor, seconds)  # type: ignore[arg-type]


async def eventually(true: Callable[[], Any], what: str, within: float = 15.0) -> Any:
    """What ``true`` gives once it is something; others go on meanwhile."""
    from twisted.internet import reactor

    until = reactor.seconds() + within  # type: ignore[attr-defined]
    while not (found := true()):
        assert reactor.seconds() < until, f"not within {within:g} s: {what}"  # type: ignore[attr-defined]
        await pause(0.02)
    return found


def keys(server: RedisServer, pattern: str = "*") -> list[str]:
    """The keys that match, as another program sees them."""
    return server.ask("KEYS", pattern).split("\r\n")[2::2]
