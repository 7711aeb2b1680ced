"""Documents in memory, which outlive the object that a test reads them with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from zope.interface import implementer

from ngpu.errors import StoreUnavailable
from ngpu.interfaces import IDocuments


@implementer(IDocuments)
class MemoryDocuments:
    """As durable as the mapping it is given.

    :param shelf: collection → key → JSON; two objects over one shelf see the same.
    :param changed: called with the collection after each change, as a shared store says it.
    :param leads: changes are refused where it is false, as `IStore.led_documents` refuses them.
    :ivar refusing: why every call is refused; "" while none is.
    """

    def __init__(
        self,
        shelf: dict[str, dict[str, str]] | None = None,
        changed: Callable[[str], None] = lambda collection: None,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self.refusing = ""
        self._changed = changed
        self._leads = leads
        self._shelf = {} if shelf is None else shelf

    async def put(self, collection: str, key: str, document: Mapping[str, Any]) -> None:
        """See `IDocuments.put`."""
        self._check_change()
        self._shelf.setdefault(collection, {})[key] = json.dumps(document)
        self._changed(collection)

    async def delete(self, collection: str, key: str) -> bool:
        """See `IDocuments.delete`."""
        self._check_change()
        found = self._shelf.get(collection, {}).pop(key, None) is not None
        self._changed(collection)
        return found

    async def documents(self, collection: str) -> Mapping[str, Mapping[str, Any]]:
        """See `IDocuments.documents`."""
        self._check()
        return {key: json.loads(text) for key, text in sorted(self._shelf.get(collection, {}).items())}

    def _check_change(self) -> None:
        self._check()
        if not self._leads():
            raise StoreUnavailable("another gateway works on the fleet")

    def _check(self) -> None:
        if self.refusing:
            raise StoreUnavailable(self.refusing)
