"""Ends on their way into the store, kept in files: who kills the process loses none that a client was told of.

They are written without a sync: what the kernel has outlives the process, and not the machine.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from ngpu.direct.frames import HEADER, frame_of, tasks_of
from ngpu.errors import StoreUnavailable
from ngpu.model import Task

MOST = 4 * 1024 * 1024
"""Bytes of a file after which another one is begun; where that cannot be, it takes as many once more."""

AT_ONCE = 256
"""Records that are brought into the store together."""

STALE = 60.0
"""Seconds after which nobody is at work any more on a file that has not got its name yet."""

_NAMED, _UNNAMED = ".ends", ".new"
log = Logger("ngpu.direct")

# os.write lets other threads have the interpreter meanwhile; to get it back from the store's takes longer than to write
_write = ctypes.PyDLL(None, use_errno=True).write
_write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
_write.restype = ctypes.c_ssize_t


class Sheet:
    """A file of them. It is locked while its process lives.

    :raises OSError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.size = self.held = 0
        self._name = folder / (secrets.token_hex(8) + _NAMED)
        fresh = self._name.with_suffix(_UNNAMED)  # another process takes what has its name, and is not locked
        self._fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._failed = False
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            self.size = os.write(self._fd, HEADER)
            if self.size < len(HEADER):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.rename(fresh, self._name)
        except OSError:
            os.close(self._fd)
            with suppress(OSError):
                fresh.unlink()
            raise

    @property
    def there(self) -> bool:
        """Whether nobody has removed it."""
        return os.fstat(self._fd).st_nlink > 0

    def keep(self, record: Task) -> None:
        """Write the record of a call that has ended."""
        self.held += 1
        data = frame_of(record)
        written = _write(self._fd, data, len(data))
        if written == len(data):
            self.size += written
            return
        reason = os.strerror(ctypes.get_errno()) if written < 0 else "it took a part only"
        self._cut(self.size)
        if not self._failed:
            log.error(
                "{file} cannot be written ({reason}): should this process be killed now, "
                "records of its last raw calls are lost",
                file=str(self._name),
                reason=reason,
            )
        self._failed = True

    def clear(self) -> None:
        """Forget all of them: the store has them."""
        if self.size > len(HEADER):
            self._cut(len(HEADER))
        self._failed = False

    def close(self) -> None:
        """Close it, and remove it where nothing is held."""
        if not self.held:
            with suppress(OSError):
                self._name.unlink()
        os.close(self._fd)

    def _cut(self, size: int) -> None:
        try:
            os.ftruncate(self._fd, size)
            self.size = size
        except OSError:  # the disk is broken: what came after the rest of a record could not be read
            self.size = MOST * 2


class Spool:
    """The files of this process, and those that killed ones have left.

    :param folder: made when it is opened, with mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sheet: Sheet | None = None
        self._open: set[Sheet] = set()
        self._told = False

    async def open(self, add_ended: Callable[[Sequence[Task]], Awaitable[None]]) -> None:
        """Bring in what killed processes have left, and begin a file. Where that cannot be, calls go on without.

        :param add_ended: the store's.
        :raises StoreUnavailable: it does not take them now; they stay where they are.
        """
        for path in self._files(_NAMED):
            try:
                await _bring_in(path, add_ended)
            except OSError as error:
                log.warn(
                    "{file} cannot be read ({reason}): records of raw calls in it are not in the store",
                    file=str(path),
                    reason=error.strerror,
                )
        for path in self._files(_UNNAMED):  # its process was killed when it made it
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE:
                    path.unlink()
        self._begin()

    def keep(self, record: Task) -> Sheet | None:
        """Keep one; where it is, to be handed to `let_go` once the store has it."""
        sheet = self._sheet
        if sheet is not None and sheet.size > MOST:
            sheet = self._begin()
        if sheet is None or sheet.size >= MOST * 2:
            return None
        sheet.keep(record)
        return sheet

    def let_go(self, sheets: Iterable[Sheet | None]) -> None:
        """One of each of these is in the store, or never will be."""
        for sheet in sheets:
            if sheet is not None:
                sheet.held -= 1
        for sheet in tuple(self._open):
            if sheet.held:
                continue
            if sheet is self._sheet:
                sheet.clear()
                if sheet.there or self._begin() is sheet:
                    continue
            self._open.discard(sheet)
            sheet.close()

    def close(self) -> None:
        """Leave what the store has not taken to the next start."""
        self._sheet = None
        while self._open:
            self._open.pop().close()

    def _files(self, ending: str) -> list[Path]:
        with suppress(OSError):
            return sorted(path for path in self._folder.glob("*" + ending) if path.is_file())
        return []

    def _begin(self) -> Sheet | None:
        """Another file; where none can be made, the one that there is."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sheet = Sheet(self._folder)
            self._open.add(self._sheet)
            self._told = False
        except OSError as error:
            if not self._told:
                log.warn(
                    "nothing can be written in {folder} ({reason}): should this process be killed, records of its "
                    "last raw calls are lost; let spool name a folder of its user",
                    folder=str(self._folder),
                    reason=error.strerror,
                )
            self._told = True
        return self._sheet


async def _bring_in(path: Path, add_ended: Callable[[Sequence[Task]], Awaitable[None]]) -> None:
    """Have the store take what a file holds, and remove it; nothing where its process lives."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return  # another process was first
    with file, suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        records = _records(path, file.read())
        for at in range(0, len(records), AT_ONCE):
            await _add(records[at : at + AT_ONCE], add_ended)
        path.unlink(missing_ok=True)
        if records:
            log.info("the records of {count} calls were saved out of {file}", count=len(records), file=str(path))


async def _add(records: Sequence[Task], add_ended: Callable[[Sequence[Task]], Awaitable[None]]) -> None:
    """Have the store take them; what is wrong with one takes no other along, and keeps no gateway from its start."""
    try:
        await add_ended(records)
    except (StoreUnavailable, CancelledError):
        raise
    except Exception:
        if len(records) == 1:
            log.failure("{task_id}: its end is not recorded", task_id=records[0].id)
            return
        for record in records:
            await _add([record], add_ended)


def _records(path: Path, data: bytes) -> list[Task]:
    """What was said last of each call."""
    found: dict[str, Task] = {}
    try:
        found.update((record.id, record) for record in tasks_of(data))
    except ValueError as error:  # it was being written, or the disk failed
        log.warn("{file} cannot be read to its end: {reason}", file=str(path), reason=str(error))
    return list(found.values())
