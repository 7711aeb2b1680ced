"""The file with its two threads: opened, written and read through, closed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from ngpu.errors import ConfigError
from ngpu.stores.sqlite.commit import GroupCommit
from ngpu.stores.sqlite.documents import SqliteDocuments
from ngpu.stores.sqlite.gathered import Gathered
from ngpu.stores.sqlite.lane import Lane
from ngpu.stores.sqlite.lock import FileLock
from ngpu.stores.sqlite.reading import Reading
from ngpu.stores.sqlite.together import add_all, end_all

LARGEST_GROUP = 1024
"""Operations that one commit makes durable at most."""


class SqliteFile:
    """One SQLite file, for one gateway at a time.

    :param path: of the file; a missing folder is made with mode 0700, the file with 0600.
    :ivar documents: what else has to outlive the process, in the same file.
    """

    def __init__(self, path: Path, reactor: IReactorFromThreads) -> None:
        path = path.resolve()  # another name of a file that a gateway has is that file
        self._path = path
        self._lock: FileLock | None = None
        self._group: GroupCommit | None = None
        self._writer = Lane("task store's writer", reactor, self._open_writer, LARGEST_GROUP)
        # one by one: no answer waits for those behind it
        self._reader = Lane("task store's reader", reactor, partial(Reading, path), 1)
        clock: Any = reactor
        self._ends = Gathered(self._write, end_all, clock)
        self._new = Gathered(self._write, add_all, clock, beside=self._ends)
        self.documents = self.led_documents = SqliteDocuments(self._write, self._read)

    async def open(self) -> None:
        """Take the file; once, before anything else.

        :raises ConfigError: it cannot be a task store, or another gateway has it.
        :raises StoreUnavailable: it cannot be written just now.
        """
        try:
            await self._writer.start()
            await self._reader.start()
        except BaseException:
            await self.close()
            raise

    @property
    def commits(self) -> int:
        """Commits since the store was opened."""
        return self._group.commits if self._group else 0

    @property
    def operations(self) -> int:
        """Operations that these commits made durable."""
        return self._group.operations if self._group else 0

    def _open_writer(self) -> GroupCommit:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make the folder {self._path.parent}: {error.strerror}") from error
        self._lock = FileLock(self._path)
        self._group = GroupCommit(self._path)
        return self._group

    def _write(self, call: Callable[..., Any], *args: Any, size: int = 0) -> Deferred[Any]:
        return self._writer.submit(lambda db: call(db, *args), size)

    def _read(self, call: Callable[..., Any], *args: Any, size: int = 0) -> Deferred[Any]:
        return self._reader.submit(lambda db: call(db, *args), size)

    async def close(self) -> None:
        """See ``ITaskStore.close``; once more does nothing."""
        for gathered in (self._new, self._ends):
            gathered.flush()
        await self._reader.close()
        await self._writer.close()
        if self._lock is not None:
            self._lock.release()
