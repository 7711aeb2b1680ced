"""What a parent and a worker say to each other: JSON, over a pair of sockets that ends with either of them."""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure


class Channel(Int32StringReceiver):
    """One end.

    :param told: called with each word that the other end says; words that are not known are to be ignored, since the
        other end may be of another version.
    :param answer: what this end answers when it is asked for its figures, and for which: "" are its metrics.
    :param lost: called when the other end is gone.
    :ivar there: whether it is not.
    """

    MAX_LENGTH = 256 * 1024 * 1024

    def __init__(
        self, told: Callable[[str], None], answer: Callable[[str], Awaitable[Any]], lost: Callable[[], None]
    ) -> None:
        self._told = told
        self._answer = answer
        self._lost = lost
        self._numbers = count()
        self._asked: dict[int, Deferred[Any]] = {}
        self.there = True

    def tell(self, word: str) -> None:
        """Say a word; nothing where the other end is gone."""
        self._send(tell=word)

    def ask(self, which: str = "") -> Deferred[Any]:
        """The other end's figures; fails where it is gone. Cancelling forgets the question."""
        number = next(self._numbers)
        asked: Deferred[Any] = Deferred(lambda _: self._forget(number))
        if self.there:
            self._asked[number] = asked
            self._send(ask=number, which=which)
        else:
            asked.errback(ConnectionDone("the process has gone"))
        return asked

    def _forget(self, number: int) -> None:
        self._asked.pop(number, None)

    def stringReceived(self, string: bytes) -> None:
        """Take one message in."""
        said = json.loads(string)
        if "tell" in said:
            self._told(said["tell"])
        elif "ask" in said:
            Deferred.fromCoroutine(self._reply(said["ask"], said.get("which", "")))
        elif "figures" in said and said["to"] in self._asked:
            self._asked.pop(said["to"]).callback(said["figures"])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The other end is gone."""
        self.there = False
        asked, self._asked = self._asked, {}
        for one in asked.values():
            one.errback(ConnectionDone("the process has gone"))  # one of its own: raised, it keeps frames
        self._lost()

    async def _reply(self, number: int, which: str) -> None:
        try:
            figures = await self._answer(which)
        except Exception:  # whoever asked does without them
            figures = None
        self._send(to=number, figures=figures)

    def _send(self, **words: Any) -> None:
        if self.there:
            self.sendString(json.dumps(words).encode())  # type: ignore[no-untyped-call]


def open_channel(reactor: Any, descriptor: int, channel: Channel) -> None:
    """Begin to talk over a socket; the descriptor is taken."""
    with socket.socket(fileno=descriptor) as end:
        end.setblocking(False)
        factory: Factory[Any] = Factory.forProtocol(lambda: channel)
        factory.noisy = False
        reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, factory)
