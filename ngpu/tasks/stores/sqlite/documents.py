"""Documents in the same file as the tasks, by the same lanes: one commit keeps both, whatever has gathered."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ngpu.interfaces import IDocuments
from ngpu.tasks.stores.sqlite.rows import search_key, to_json

Submit = Callable[..., Deferred[Any]]
"""Has a function of this module run on a lane; takes it and its arguments, and ``size`` in bytes."""


@implementer(IDocuments)
class SqliteDocuments:
    """See ``IDocuments``.

    A caller that cancels its Deferred stops waiting; the write it began is made nevertheless.
    """

    def __init__(self, write: Submit, read: Submit) -> None:
        self._write = write
        self._read = read

    async def put(self, collection: str, key: str, document: Mapping[str, Any]) -> None:
        """See ``IDocuments.put``."""
        text = to_json(dict(document))
        await self._write(put, collection, search_key(key), text, size=len(text))

    async def delete(self, collection: str, key: str) -> bool:
        """See ``IDocuments.delete``."""
        there: bool = await self._write(delete, collection, search_key(key))
        return there

    async def documents(self, collection: str) -> Mapping[str, Mapping[str, Any]]:
        """See ``IDocuments.documents``."""
        found: list[tuple[str, str]] = await self._read(documents, collection)
        return {key: json.loads(text) for key, text in found}


def put(db: sqlite3.Connection, collection: str, key: str, text: str) -> None:
    """Keep a document in the place of the one that is there, if one is."""
    db.execute(
        "INSERT INTO documents VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET document = ?3", (collection, key, text)
    )


def delete(db: sqlite3.Connection, collection: str, key: str) -> bool:
    """Forget a document; whether there was one."""
    return bool(db.execute("DELETE FROM documents WHERE collection = ? AND key = ?", (collection, key)).rowcount)


def documents(db: sqlite3.Connection, collection: str) -> list[tuple[str, str]]:
    """Keys and documents, in the order of the keys."""
    return db.execute("SELECT key, document FROM documents WHERE collection = ? ORDER BY key", (collection,)).fetchall()
