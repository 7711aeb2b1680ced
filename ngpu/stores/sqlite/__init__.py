"""The embedded task store: one SQLite file, one gateway.

A writer thread of its own commits in groups (`commit`), a reader thread of its own answers questions (`reading`), both
fed by `lane`. Statements stand in `writes` and `reads`, tables in `schema`, and `store` is what the rest of ngpu sees.
"""

from ngpu.stores.sqlite.store import SqliteTaskStore

__all__ = ["SqliteTaskStore"]
