"""Group commit: what has gathered becomes durable with one sync."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from ngpu.stores.sqlite.lane import Job
from ngpu.stores.sqlite.schema import connect, prepare, unavailable


class GroupCommit:
    """The worker of the writing lane: the only one that changes the file.

    ``commits`` and ``operations`` count what was made durable.
    """

    def __init__(self, path: Path) -> None:
        prepare(path)
        self._path = path
        self._db = connect(path)
        self.commits = 0
        self.operations = 0

    def run(self, jobs: Sequence[Job]) -> None:
        """Run the jobs and commit them together; where that fails (a full disk), each by itself.

        So a job that the disk has no room for takes none of the others down with it.
        """
        if not self._commit(jobs) and len(jobs) > 1:
            for job in jobs:
                self._commit([job])

    def close(self) -> None:
        """Close the file; the last connection folds the WAL into it."""
        self._db.close()

    def _commit(self, jobs: Sequence[Job]) -> bool:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for job in jobs:
                self._one(job)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            # SQLite itself has rolled back after some failures (disk full, I/O), and not after others.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            for job in jobs:
                job.error = unavailable(self._path, error)
            return False
        self.commits += 1
        self.operations += len(jobs)
        return True

    def _one(self, job: Job) -> None:
        """A job that refuses or fails for reasons of its own leaves no trace, and the others alone."""
        job.value = job.error = None
        self._db.execute("SAVEPOINT job")
        try:
            job.value = job.call(self._db)
        except sqlite3.Error:
            raise
        except Exception as error:
            self._db.execute("ROLLBACK TO job")
            job.error = error
        self._db.execute("RELEASE job")
