"""Opening archives: a file of this machine, or a URL."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, Protocol

from ngpu.archives.download import USUAL, Download, Patience
from ngpu.archives.resuming import is_url
from ngpu.archives.transfer import Exchange
from ngpu.engines.threads import Threads
from ngpu.errors import EngineUnreachable, FetchFailed, FetchRefused
from ngpu.fetch import Connect
from ngpu.model import CHUNK

READ_WITHIN = 60.0
"""Seconds that a file system may take for a piece."""

_SLOW = "its file system does not answer"


class Archive(Protocol):
    """An archive that was opened. ``size`` is in bytes, ``None`` where nobody says."""

    size: int | None

    def pieces(self) -> AsyncIterator[bytes]:
        """Its bytes, once, as they are taken.

        :raises FetchFailed: they end before the end; it may be opened anew.
        """

    async def close(self) -> None:
        """Let go of it; what still reads from it ends."""


class _Reader:
    """What a thread reads files with; nothing can end its reading."""

    def abort(self) -> None:
        """See `ngpu.engines.threads.Tool`."""

    def close(self) -> None:
        """See `ngpu.engines.threads.Tool`."""


class FileArchive:
    """A file of this machine, read in threads of its own: a network's file system may hang."""

    def __init__(self, path: Path, file: BinaryIO, size: int, threads: Threads[_Reader]) -> None:
        self.size: int | None = size
        self._path, self._file, self._threads = path, file, threads
        self._closed = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """See `Archive.pieces`."""
        left = self.size or 0
        try:
            while left:
                if self._closed:
                    raise FetchFailed(f"{self._path} is not read any more")
                piece = await self._threads.run(partial(self._read, min(CHUNK, left)), READ_WITHIN)
                if not piece:
                    raise FetchFailed(f"{self._path} got shorter while it was read")
                left -= len(piece)
                yield piece
        except (OSError, ValueError) as error:
            raise FetchFailed(f"{self._path} cannot be read: {error}") from None
        except EngineUnreachable:
            raise FetchFailed(f"{self._path} cannot be read: {_SLOW}") from None
        finally:
            await self.close()

    def _read(self, size: int, _: _Reader) -> bytes:
        return self._file.read(size)

    async def close(self) -> None:
        """See `Archive.close`; a file that is being read is closed after that, without anybody waiting for it."""
        if not self._closed:
            self._closed = True
            self._threads.run(lambda _: self._file.close(), None).addErrback(lambda _: None)


class Archives:
    """Opens archives.

    :param reactor: for connections, time and threads.
    :param folder: that relative paths are taken from.
    :param trust_root: see `Exchange`.
    """

    def __init__(
        self, reactor: Any, rng: Random, folder: str, trust_root: Any = None, patience: Patience = USUAL
    ) -> None:
        self._reactor, self._rng, self._folder = reactor, rng, folder
        self._trust_root, self._patience = trust_root, patience
        self._threads: Threads[_Reader] = Threads(reactor, 4, _Reader, "the file system of archives")

    async def open(self, source: str, connect: Connect | None = None) -> Archive:
        """An archive, whose bytes are still to be read.

        :param source: a path, or an http(s) URL without credentials.
        :param connect: another way to hosts: for URLs that customers give, one that keeps them, and what they redirect
            to, out of the operator's network; it may raise NgpuError.
        :raises FetchRefused: it is not there, or not for us, until somebody changes something.
        :raises FetchFailed: it cannot be had now.
        """
        if is_url(source):
            exchange = partial(Exchange, self._reactor, self._trust_root, connect)
            made = Download(source, exchange, self._reactor, self._rng, self._patience)
            await made.begin()
            return made
        path = Path(self._folder, source)
        try:
            file, size = await self._threads.run(lambda _: _opened(path), READ_WITHIN)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is no path"
            raise FetchRefused(f"{path} cannot be read: {why}; look at the workspace's `image.archive`") from None
        except EngineUnreachable:
            raise FetchFailed(f"{path} cannot be read: {_SLOW}") from None
        return FileArchive(path, file, size, self._threads)

    def close(self) -> None:
        """Let go of threads."""
        self._threads.close()


def _opened(path: Path) -> tuple[BinaryIO, int]:
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no file")  # opening a pipe would wait for whoever writes to it
    file = path.open("rb")
    return file, os.fstat(file.fileno()).st_size
