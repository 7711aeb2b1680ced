"""Several gateways on one Redis, each with connections of its own, as far as its shared things are concerned."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any, Self

from twisted.internet.defer import Deferred

from ngpu.stores.redis.address import address_of
from ngpu.stores.redis.asking import Asking
from ngpu.stores.redis.desk import Desk
from ngpu.stores.redis.documents import RedisDocuments
from ngpu.stores.redis.endpoint import endpoint_of
from ngpu.stores.redis.greeting import greet
from ngpu.stores.redis.leading import RedisLeadership
from ngpu.stores.redis.link import Link
from ngpu.stores.redis.news import RedisNews
from ngpu.stores.redis.slots import RedisSlots
from ngpu.stores.redis.turnstile import Turnstile


class _Member:
    """A member without a lease, which nobody counts as gone."""

    def __init__(self, link: Link, prefix: str) -> None:
        self.me = secrets.token_hex(4)
        self.life = 1
        self._link = link
        self._gateways = f"{prefix}:gateways"

    @property
    def identity(self) -> bytes:
        return f"{self.me}:{self.life}".encode()

    async def join(self) -> None:
        while self._link.wire is None:
            await self._link.change()
        await self._link.wire.execute_command("SADD", self._gateways, self.identity)

    async def come_back(self, shown: bytes) -> None:
        await self.join()


class SharedStore:
    """What a gateway's store has for sharing.

    :param lease: seconds, of the one that leads, which it tries to be once `RedisLeadership.start` was called.
    :ivar member: its identity; ``life`` grows when it was counted as gone.
    """

    def __init__(self, url: str, prefix: str, timeout: float = 5.0, lease: float = 1.0) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.prefix = prefix
        address = address_of(url)
        self.endpoint = endpoint_of(address, reactor, None, timeout)
        self.greet = partial(greet, address=address, prefix=prefix)
        links = [Link(self.endpoint, self.greet, self.reactor, timeout) for _ in "12"]
        self.links = links[0], links[1]
        self.member = _Member(links[0], prefix)
        self.asking = Asking(prefix, str(address), self.reactor, timeout / 2)
        self.asking.member = self.member
        self.desk = Desk(self.asking, self.links, self.reactor, timeout)
        self.news = RedisNews(self.endpoint, self.greet, links[0], prefix, self.member.me, reactor, timeout)
        self.slots = RedisSlots(self.desk, self.news, self.identity, reactor)
        self.leadership = RedisLeadership(self.desk, self.news, self.identity, lease, reactor)
        self.documents = RedisDocuments(self.desk, prefix)
        self.led_documents = RedisDocuments(self.desk, prefix, led=True)
        self.exclusively = Turnstile(self.desk, self.news, reactor, timeout).exclusively
        self._all_links = (*links, self.news.link)

    def identity(self) -> bytes:
        return self.member.identity

    async def open(self) -> Self:
        for link in self.links:
            link.start()
        self.news.start()
        for link in self._all_links:
            while link.wire is None:
                await link.change()
                assert link.failure is None, link.failure
        await self.member.join()
        self.slots.start()
        return self

    async def close(self) -> None:
        self.slots.stop()
        await self.leadership.resign()
        await self.desk.close()
        await self.news.stop()
        for link in self.links:
            stopped: Deferred[None] = link.stop()
            await stopped
