"""The worker of the reading lane."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from ngpu.stores.sqlite.lane import Job
from ngpu.stores.sqlite.schema import connect, unavailable


class Reading:
    """Answers from a connection of its own: in WAL mode it never waits for the writer, nor the writer for it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = connect(path)
        self._db.execute("PRAGMA query_only = ON")

    def run(self, jobs: Sequence[Job]) -> None:
        """Answer each of the jobs."""
        for job in jobs:
            try:
                job.value = job.call(self._db)
            except sqlite3.Error as error:
                job.error = unavailable(self._path, error)
            except Exception as error:
                job.error = error

    def close(self) -> None:
        """Close the connection."""
        self._db.close()
