"""A request's bytes, from a store that may be away for a while."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ngpu.errors import StoreUnavailable
from ngpu.model import Body

READ_AGAIN = 1.0
"""Seconds between tries to read what the store does not give."""


@dataclass(frozen=True, slots=True)
class PatientBody:
    """A body that is read on where a shared store broke off, once it is there again.

    A task does not fail because its store was restarted while a worker took the request in; how long that may take is
    the call's timeout.
    """

    body: Body
    clock: IReactorTime

    @property
    def length(self) -> int:
        """How many bytes there are."""
        return self.body.length

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes from the start, each of them once."""
        given = 0
        while True:
            passed_over = given
            try:
                async for data in self.body.chunks():
                    rest = data[passed_over:]
                    passed_over -= len(data) - len(rest)
                    if rest:
                        given += len(rest)
                        yield rest
                return
            except StoreUnavailable:
                await deferLater(self.clock, READ_AGAIN)
