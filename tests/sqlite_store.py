"""The embedded store for tests that look at it from inside or from beside."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ngpu.stores.sqlite import SqliteTaskStore

CHILD = Path(__file__).parent / "store_child.py"
"""A program of its own over a store; see there."""


async def opened(path: Path) -> SqliteTaskStore:
    from twisted.internet import reactor

    store = SqliteTaskStore(path, reactor)
    await store.open()
    return store


def count(path: Path, table: str) -> int:
    """How many rows are there, as another program sees it."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
