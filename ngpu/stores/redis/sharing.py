"""What the gateways on one Redis share, put together: members, news, slots, who leads, and locks."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger

from ngpu.errors import StoreUnavailable
from ngpu.stores.redis.desk import Desk
from ngpu.stores.redis.gone import RUNNING
from ngpu.stores.redis.leading import RedisLeadership
from ngpu.stores.redis.link import Link
from ngpu.stores.redis.membership import Ask, Membership
from ngpu.stores.redis.news import RedisNews
from ngpu.stores.redis.slots import RedisSlots
from ngpu.stores.redis.turnstile import Turnstile
from ngpu.stores.redis.wire import Wire

log = Logger("ngpu.store")
T = TypeVar("T")


class Sharing:
    """The parts of ``IStore`` that are about other gateways.

    :param ask: see `Membership`.
    :param greet: of each new connection.
    :param small: the connection for what is small.
    :param lease: seconds after which a gateway that is not heard of counts as gone, and another one may lead.
    """

    def __init__(
        self,
        ask: Ask,
        desk: Desk,
        endpoint: IStreamClientEndpoint,
        greet: Callable[[Wire], Awaitable[None]],
        small: Link,
        prefix: str,
        reactor: Any,
        timeout: float,
        lease: float,
    ) -> None:
        process = secrets.token_hex(8)
        self._desk = desk
        self.membership = Membership(ask, process, lease, reactor)
        self.news = RedisNews(endpoint, greet, small, prefix, process, reactor, timeout)
        self.slots = RedisSlots(desk, self.news, self._identity, reactor)
        self.leadership = RedisLeadership(desk, self.news, self._identity, lease, reactor)
        self._turnstile = Turnstile(desk, self.news, reactor, timeout)
        self.membership.watch_loss(self.slots.rejoined)
        self.membership.watch_loss(self.leadership.rejoined)

    def watch_loss(self, lost: Callable[[], None]) -> None:
        """See ``IStore.watch_loss``."""
        self.membership.watch_loss(lost)

    async def exclusively(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """See ``IStore.exclusively``."""
        return await self._turnstile.exclusively(name, work)

    async def running(self) -> Sequence[tuple[str, int]]:
        """See ``ITaskStore.running``."""
        found = await self._desk.read(RUNNING, self._identity())
        return [(task_id, attempt) for task_id, attempt in found]

    def start(self) -> None:
        """Take part, as a member."""
        self.slots.start()
        self.leadership.start()

    async def let_go(self) -> None:
        """Lead no more, and hold nothing new; what is written goes on."""
        self.slots.stop()
        await self.leadership.resign()

    async def leave(self) -> None:
        """Be none of them any more; nothing more is written."""
        try:
            await self.membership.leave()
        except StoreUnavailable as error:
            log.warn("the store will miss this gateway for a while: {reason}", reason=str(error))

    def _identity(self) -> bytes:
        return self.membership.identity
