"""Large bodies of requests on their way: in files without a name, which are gone with the process however it ends."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import NoReturn

from twisted.logger import Logger

from ngpu.errors import Unavailable
from ngpu.model import CHUNK
from ngpu.wire.unescape import Unescape

LARGE = 1024 * 1024
"""Bodies of more bytes than this are kept in a file while they are read and sent on."""

InThread = Callable[[Callable[[], bytes]], Awaitable[bytes]]
"""Runs beside the reactor what may have to wait for a disk."""

log = Logger("ngpu.scratch")


class Scratch:
    """Bytes in a file of the folder for temporary files (``TMPDIR``). Its methods block.

    It is closed with the last reference, if not before: the record of a call may be written from it after the request
    is over.

    :ivar length: bytes that it holds.
    :raises Unavailable: there is no room.
    """

    def __init__(self) -> None:
        try:
            with tempfile.TemporaryFile(buffering=0) as file:
                self._descriptor = os.dup(file.fileno())
        except OSError as error:
            _refuse(error)
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._lock = Lock()  # a descriptor that is closed may be somebody else's the next moment
        self.length = 0

    def close(self) -> None:
        """Drop what it holds, whoever still works with it."""
        with self._lock:
            self._close()

    def append(self, data: bytes | bytearray) -> None:
        """Keep more bytes.

        :raises Unavailable: there is no room.
        """
        view = memoryview(data)
        with self._lock:
            self._check_open()
            try:
                while view:
                    written = os.pwrite(self._descriptor, view, self.length)
                    self.length += written
                    view = view[written:]
            except OSError as error:
                _refuse(error)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from an offset, so many of them where there are; never fewer before the end.

        :raises Unavailable: the disk does not give them.
        """
        with self._lock:
            self._check_open()
            try:
                data = os.pread(self._descriptor, size, offset)
            except OSError as error:
                _refuse(error)
        if 0 < len(data) < min(size, self.length - offset):
            data += self.read(offset + len(data), size - len(data))
        return data

    def _check_open(self) -> None:
        if not self._close.alive:
            raise Unavailable("the request is over")


def _refuse(error: OSError) -> NoReturn:
    log.error(
        "a large request found no room in the folder for temporary files (TMPDIR): {reason}",
        reason=error.strerror or str(error),
    )
    raise Unavailable("the gateway has no room for a large request just now; try again later", 30) from None


@dataclass(frozen=True, slots=True)
class ScratchBody:
    """A part of what a scratch file holds."""

    _scratch: Scratch
    _in_thread: InThread
    _offset: int
    length: int

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, in pieces.

        :raises Unavailable: the disk does not give them.
        """
        end = self._offset + self.length
        for at in range(self._offset, end, CHUNK):
            yield await self._in_thread(partial(self._scratch.read, at, min(CHUNK, end - at)))


@dataclass(frozen=True, slots=True)
class TextBody:
    """The text of a JSON string that stands, with its escapes, in such a part."""

    _written: ScratchBody
    length: int

    async def chunks(self) -> AsyncIterator[bytes]:
        """The text in UTF-8, in pieces."""
        text = Unescape()
        async for piece in self._written.chunks():
            if read := text.feed(piece):
                yield read
