"""Documents in the same Redis as the tasks, fenced as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from ngpu.interfaces import IDocuments
from ngpu.stores.record import search_key, to_json
from ngpu.stores.redis import writes
from ngpu.stores.redis.desk import Desk


@implementer(IDocuments)
class RedisDocuments:
    """See ``IDocuments``.

    A caller that cancels its Deferred stops waiting; the write it began is made nevertheless. A ``put`` that was
    refused for want of an answer may have been made.
    """

    def __init__(self, desk: Desk, prefix: str) -> None:
        self._desk = desk
        self._prefix = prefix

    async def put(self, collection: str, key: str, document: Mapping[str, Any]) -> None:
        """See ``IDocuments.put``."""
        text = to_json(dict(document))
        await self._desk.write(writes.PUT, collection, search_key(key), text, size=len(text))

    async def delete(self, collection: str, key: str) -> bool:
        """See ``IDocuments.delete``."""
        return bool(await self._desk.write(writes.DELETE, collection, search_key(key)))

    async def documents(self, collection: str) -> Mapping[str, Mapping[str, Any]]:
        """See ``IDocuments.documents``."""
        flat = await self._desk.plain("HGETALL", f"{self._prefix}:documents:{collection}".encode())
        found = {key.decode(): json.loads(text) for key, text in zip(flat[::2], flat[1::2], strict=True)}
        return dict(sorted(found.items()))
