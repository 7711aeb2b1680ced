"""Documents in memory, which outlive the object that a test reads them with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from ngpu.errors import StoreUnavailable
from ngpu.interfaces import IDocuments


@implementer(IDocuments)
class MemoryDocuments:
    """As durable as the mapping it is given.

    :param shelf: collection → key → JSON; two objects over one shelf see the same.
    :ivar refusing: why every call is refused; "" while none is.
    """

    def __init__(self, shelf: dict[str, dict[str, str]] | None = None) -> None:
        self.refusing = ""
        self._shelf = {} if shelf is None else shelf

    async def put(self, collection: str, key: str, document: Mapping[str, Any]) -> None:
        """See `IDocuments.put`."""
        self._check()
        self._shelf.setdefault(collection, {})[key] = json.dumps(document)

    async def delete(self, collection: str, key: str) -> bool:
        """See `IDocuments.delete`."""
        self._check()
        return self._shelf.get(collection, {}).pop(key, None) is not None

    async def documents(self, collection: str) -> Mapping[str, Mapping[str, Any]]:
        """See `IDocuments.documents`."""
        self._check()
        return {key: json.loads(text) for key, text in sorted(self._shelf.get(collection, {}).items())}

    def _check(self) -> None:
        if self.refusing:
            raise StoreUnavailable(self.refusing)
