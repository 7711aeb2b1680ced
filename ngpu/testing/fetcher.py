"""A fetcher without sockets, whose services answer as a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ngpu.errors import NgpuError, PayloadTooLarge
from ngpu.interfaces import Fetched, FetchRequest, IFetcher

Reply = Fetched | NgpuError | None


class Asked(NamedTuple):
    """A request that was sent, and the seconds that it was given."""

    request: FetchRequest
    timeout: float


@implementer(IFetcher)
class FakeFetcher:
    """Answers out of a function.

    :param answer: from a request to its reply, an error to raise, or ``None`` for one that never comes.
    :ivar asked: the requests so far.
    :ivar hanging: those that wait for a reply which never comes; one that is cancelled leaves.
    """

    def __init__(self, answer: Callable[[FetchRequest], Reply]) -> None:
        self.asked: list[Asked] = []
        self.hanging: list[Deferred[Fetched]] = []
        self._answer = answer

    async def fetch(self, request: FetchRequest, timeout: float, limit: int = 1 << 20) -> Fetched:
        """See `IFetcher.fetch`."""
        self.asked.append(Asked(request, timeout))
        reply = self._answer(request)
        if reply is None:
            waits: Deferred[Fetched] = Deferred(lambda gone: self.hanging.remove(gone))
            self.hanging.append(waits)
            return await waits
        if isinstance(reply, NgpuError):
            raise reply
        if len(reply.body) > limit:
            raise PayloadTooLarge(f"the reply is larger than {limit} bytes")
        return reply
