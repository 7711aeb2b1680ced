"""What gateways say to each other, and what scripts say to them: channels of Redis' publish and subscribe.

A topic is the channel ``<prefix>:say:<topic>``. What goes over it is who says it, a space, and the words; scripts say
things with ``say(topic, words)`` and have no name. The topic ``cancel`` is a channel for each gateway:
``<prefix>:say:cancel:<me>``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ngpu.sharing import CANCEL, INews, Listener
from ngpu.stores.redis.ear import Ear, EarFactory
from ngpu.stores.redis.greeting import unfit
from ngpu.stores.redis.link import Link
from ngpu.stores.redis.wire import Lost, Refused, Wire

PING_EVERY = 2.0
"""Seconds between looks whether the connection that listens still says anything: one that does not for two of them is
made anew."""

MOST_SAID = 1000
"""Things that may be on their way to Redis; what is said past it is lost."""


class _Heard:
    """One listener, and whether it knows that nothing more is missed."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.told = False


@implementer(INews)
class RedisNews:
    """See ``INews``.

    :param me: this gateway, and no other one; without spaces.
    :param small: the connection that it speaks over.
    :param greet: as for any link.
    :ivar link: the connection that it hears over, for whoever wants to wait until it is up.
    """

    log = Logger("ngpu.store")

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        greet: Callable[[Wire], Awaitable[None]],
        small: Link,
        prefix: str,
        me: str,
        reactor: Any,
        timeout: float,
    ) -> None:
        self._prefix = prefix
        self._me = me
        self._small = small
        self._greet = greet
        self._hello = self._channel("hello")
        self._listeners: dict[bytes, list[_Heard]] = {}
        self._ear: Ear | None = None
        self._said = 0
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self.link = Link(endpoint, self._begin, reactor, timeout, EarFactory())

    def start(self) -> None:
        """Begin to connect."""
        self.link.start()
        self._looking.start(PING_EVERY, now=False)

    async def stop(self) -> None:
        """Hear nothing more."""
        self._listeners.clear()
        if self._looking.running:
            self._looking.stop()
        await self.link.stop()

    def say(self, topic: str, words: str) -> None:
        """See ``INews.say``."""
        wire = self._small.wire
        if wire is None or self._said >= MOST_SAID:
            return
        try:
            said = wire.execute_command("PUBLISH", self._channel(topic), _encoded(f"{self._me} {words}"))
        except Lost:
            return
        self._said += 1
        said.addBoth(self._over)

    def _over(self, result: object) -> None:
        self._said -= 1
        if isinstance(result, Failure) and not result.check(Lost, Refused):
            self.log.failure("something could not be said", failure=result)

    def hear(self, topic: str, listener: Listener) -> Callable[[], None]:
        """See ``INews.hear``."""
        channel, heard = self._channel(topic), _Heard(listener)
        others = self._listeners.setdefault(channel, [])
        others.append(heard)
        if self._ear is not None and len(others) == 1:
            self._ear.join(channel)
        elif self._ear is not None and self._ear.is_in(channel):
            self._tell(heard, None)

        def end() -> None:
            heards = self._listeners.get(channel, [])
            if heard not in heards:
                return
            heards.remove(heard)
            if not heards:
                del self._listeners[channel]
                if self._ear is not None:
                    self._ear.leave(channel)

        return end

    def _channel(self, topic: str) -> bytes:
        return _encoded(f"{self._prefix}:say:{topic}" + (f":{self._me}" if topic == CANCEL else ""))

    async def _begin(self, wire: Wire) -> None:
        await self._greet(wire)
        ear = cast(Ear, wire)  # ClientService has put it into a wrapper
        ear.gone.addCallback(self._gone, ear)
        for heards in self._listeners.values():
            for each in heards:
                each.told = False
        self._ear = ear
        try:
            await ear.listen((self._hello, *self._listeners), self._joined, self._heard)
        except Refused as error:
            raise unfit("SUBSCRIBE", self._prefix, error) from None

    def _gone(self, result: None, ear: Ear) -> None:
        if self._ear is ear:
            self._ear = None

    def _look(self) -> None:
        ear = self._ear
        if ear is not None and not ear.lives():
            self._ear = None
            self.link.give_up(ear)

    def _joined(self, channel: bytes) -> None:
        for each in tuple(self._listeners.get(channel, ())):
            if not each.told:
                self._tell(each, None)

    def _heard(self, channel: bytes, data: bytes) -> None:
        who, _, words = data.decode("utf-8", "replace").partition(" ")
        if who == self._me:
            return
        heards = self._listeners.get(channel, [])
        for each in tuple(heards):
            if each in heards:  # another one may have ended it
                self._tell(each, words)

    def _tell(self, heard: _Heard, words: str | None) -> None:
        heard.told = heard.told or words is None
        try:
            heard.listener(words)
        except Exception:  # the others, and the connection, are not to suffer from it
            self.log.failure("a listener failed")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
