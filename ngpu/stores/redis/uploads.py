"""Requests of several pieces on their way into the store, and what became of those that came to nothing.

Key (below the prefix): ``uploads`` a token for each task's id, which begins with the identity of the gateway.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import StoreUnavailable
from ngpu.sharing import INews
from ngpu.stores.redis.adding import DROP_UPLOAD
from ngpu.stores.redis.desk import Desk


class Uploads:
    """Those of one gateway.

    :param identity: who it is, in its present life as a member.
    """

    log = Logger("ngpu.store")

    def __init__(self, desk: Desk, news: INews, prefix: str, identity: Callable[[], bytes]) -> None:
        self._desk = desk
        self._key = f"{prefix}:uploads".encode()
        self._identity = identity
        self._under_way: set[str] = set()
        news.hear("uploads", self._heard)

    def begin(self) -> str:
        """The token of a new one."""
        token = f"{self._identity().decode()}/{secrets.token_hex(8)}"
        self._under_way.add(token)
        return token

    def end(self, token: str) -> None:
        """It is a task's request by now, or dropped."""
        self._under_way.discard(token)

    def drop(self, task_id: str, token: str) -> None:
        """Clear one away that was broken off; nobody waits for it."""

        def stays(reason: object) -> None:
            self.log.warn(
                "{task_id}: an upload stays until Redis was away once more, or the next start: {reason}",
                task_id=task_id,
                reason=str(reason),
            )

        try:
            self._desk.write(DROP_UPLOAD, task_id, token).addErrback(lambda failure: stays(failure.value))
        except StoreUnavailable as error:
            stays(error)

    def _heard(self, words: str | None) -> None:
        if words is None and self._identity():
            Deferred.fromCoroutine(self._clear()).addErrback(self._not_cleared)

    async def _clear(self) -> None:
        """Drop those that are over; a Redis that was away may have forgotten that they are."""
        flat, ours = await self._desk.plain("HGETALL", self._key), self._identity() + b"/"
        for task_id, token in zip(flat[::2], flat[1::2], strict=True):
            if token.startswith(ours) and token.decode() not in self._under_way:
                self.drop(task_id.decode(), token.decode())

    def _not_cleared(self, failure: Failure) -> None:
        if not failure.check(StoreUnavailable):
            self.log.failure("uploads that are over could not be cleared away", failure=failure)
