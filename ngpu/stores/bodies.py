"""Bodies on their way into a store and out of it, a piece at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from ngpu.errors import NotFound
from ngpu.model import CHUNK, Body


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A body in the store, read piece by piece while it is asked for."""

    _piece: Callable[[str, int, int], Deferred[bytes | None]]
    _task_id: str
    _attempt: int
    length: int

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, from the start.

        :raises NotFound: the task was purged.
        """
        for index in range((self.length + CHUNK - 1) // CHUNK):
            data = await self._piece(self._task_id, self._attempt, index)
            if data is None:
                raise NotFound(f"task {self._task_id} is not kept any more")
            yield data


async def pieces_of(body: Body) -> AsyncIterator[bytes]:
    """The bytes of ``body`` in pieces of exactly CHUNK bytes, but for the last."""
    gathered = bytearray()
    async for data in body.chunks():
        gathered += data
        while len(gathered) >= CHUNK:
            yield bytes(gathered[:CHUNK])
            del gathered[:CHUNK]
    if gathered:
        yield bytes(gathered)
