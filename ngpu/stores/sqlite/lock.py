"""The lock that keeps a second gateway away from the file."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from ngpu.errors import ConfigError


class FileLock:
    """An exclusive flock(2) on ``<path>.lock``; the kernel lets go of it when the process dies, however it dies.

    SQLite's own locks would let two gateways share the file, and each would take the other's running tasks for
    orphans. The lock file stays behind on purpose: removing it would race with whoever opens it.

    :raises ConfigError: another process holds it, or it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        lock = path.with_name(path.name + ".lock")
        try:
            self._fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot open {lock}: {error.strerror}; choose a folder ngpu may write to") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise ConfigError(
                f"{path} is in use by the gateway with pid {holder}; "
                "stop that one, give this one a file of its own, or let both share a Redis store"
            ) from error
        with suppress(OSError):  # a disk that is full; it only tells others who has the file
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go; once more does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
