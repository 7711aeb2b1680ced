"""Documents in the same Redis as the tasks, fenced as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from ngpu.errors import StoreUnavailable
from ngpu.interfaces import IDocuments
from ngpu.stores.record import search_key, to_json
from ngpu.stores.redis.desk import Desk
from ngpu.stores.redis.script import Script, writing

_PUT = """
redis.call('HSET', P .. ':documents:' .. ARGV[4], ARGV[5], ARGV[6])
say('documents:' .. ARGV[4], '')
return answer(true)
"""

_DELETE = """
if redis.call('HDEL', P .. ':documents:' .. ARGV[4], ARGV[5]) == 0 then return answer(false) end
say('documents:' .. ARGV[4], '')
return answer(true)
"""

_LED = "if redis.call('GET', P .. ':leader') ~= ARGV[1] then return answer('led by another') end\n"


@implementer(IDocuments)
class RedisDocuments:
    """See ``IDocuments``.

    A caller that cancels its Deferred stops waiting; the write it began is made nevertheless. A ``put`` that was
    refused for want of an answer may have been made.

    :param led: only the gateway that leads may change them; see `ngpu.stores.redis.leading`.
    """

    def __init__(self, desk: Desk, prefix: str, led: bool = False) -> None:
        self._desk = desk
        self._prefix = prefix
        self._put, self._delete = (writing(_LED * led + text) for text in (_PUT, _DELETE))

    async def put(self, collection: str, key: str, document: Mapping[str, Any]) -> None:
        """See ``IDocuments.put``."""
        text = to_json(dict(document))
        await self._written(self._put, collection, search_key(key), text, size=len(text))

    async def delete(self, collection: str, key: str) -> bool:
        """See ``IDocuments.delete``."""
        return bool(await self._written(self._delete, collection, search_key(key)))

    async def _written(self, script: Script, *arguments: Any, size: int = 0) -> Any:
        answer = await self._desk.write(script, *arguments, size=size)
        if isinstance(answer, str):
            raise StoreUnavailable("another gateway leads, and this one changes nothing of the fleet any more")
        return answer

    async def documents(self, collection: str) -> Mapping[str, Mapping[str, Any]]:
        """See ``IDocuments.documents``."""
        flat = await self._desk.plain("HGETALL", f"{self._prefix}:documents:{collection}".encode())
        found = {key.decode(): json.loads(text) for key, text in zip(flat[::2], flat[1::2], strict=True)}
        return dict(sorted(found.items()))
