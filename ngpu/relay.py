"""Bytes that go from one TCP connection to another within the kernel, by splice(2): large bodies that nobody reads.

Whoever may let a body pass has a method ``relay`` that is handed on from one end's owner to the other's, and makes a
`Relay`, or is ``None`` where the bytes have to go the ordinary way. `relay_between` alone decides which.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Connection
from twisted.logger import Logger

LEAST = 256 * 1024
"""Bytes that have to be left of a body: a pipe for fewer costs more than it saves."""

MOST_AT_ONCE = 48
"""Relays at a time: an unprivileged user's pipes may have 64 MiB in all, and get 8 KiB each after that."""

_PIPE = 1024 * 1024
_ENOUGH = 64 * 1024
_COPIED = 16 * 1024
_FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)
_TCP = (socket.AF_INET, socket.AF_INET6)
_IMPOSSIBLE = frozenset((errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP))

log = Logger("ngpu.relay")

Over = Callable[["Relay"], None]

Begin = Callable[[Any, int, Over], "Relay | None"]
"""Lets the next bytes of a body pass by between whom it belongs to, and a transport; see `relay_between`."""


class _Machine:
    """What is known of the machine: whether it can splice, and how many relays there are."""

    def __init__(self) -> None:
        self.can = sys.platform == "linux" and hasattr(os, "splice")
        self.relays = 0


MACHINE = _Machine()


class Relay:
    """So many bytes on their way from one transport to another; see `relay_between`.

    It stands in for the source's ``doRead`` and the sink's ``doWrite``, at most one pipe's content a call, and does
    nothing else to the transports: their protocols learn of the connections' ends as ever, and `stop` the relay then.
    What the sink was given before goes out first. Whoever has to know how far it is looks at it:

    :ivar left: bytes that have not come from the source.
    :ivar taken: bytes that have.
    :ivar given: bytes that the sink's kernel has taken.
    :ivar waiting: the sink takes no more for now, and the source is not read meanwhile.
    :ivar moved_at: the reactor's time at which the last bytes moved.
    :ivar over: it is.
    :ivar stopped: it was ended by `stop`.
    """

    def __init__(self, source: Any, sink: Any, count: int, over: Over, pipe: tuple[int, int]) -> None:
        self.left = count
        self.taken = self.given = 0
        self.waiting = pending(sink)
        self.over = self.stopped = False
        self.moved_at = source.reactor.seconds()
        self._source, self._sink, self._tell = source, sink, over
        self._out, self._in = pipe
        self._source_ended = False
        MACHINE.relays += 1
        source.doRead, sink.doWrite = self._read, self._write
        if self.waiting:
            source.pauseProducing()
        else:
            source.resumeProducing()

    @property
    def done(self) -> bool:
        """Whether it has ended by itself."""
        return self.over and not self.stopped

    def stop(self) -> None:
        """End it: the connection at one of its ends is not to be used for this any more. What is under way is lost."""
        if not self.over:
            self.stopped = True
            self.end()

    def end(self) -> None:
        """Give the transports back, the source to be read by its protocol again, and say so."""
        if self.over:
            return
        self.over = True
        MACHINE.relays -= 1
        os.close(self._out)
        os.close(self._in)
        source, sink = self._source, self._sink
        if vars(source).get("doRead") == self._read:  # else it is being aborted
            del source.doRead
        if vars(sink).get("doWrite") == self._write:
            del sink.doWrite
        if not self._source_ended:
            source.resumeProducing()
        self._tell(self)

    def _read(self) -> Exception | None:
        """The source has bytes, or has ended."""
        if self.waiting:
            self._source.stopReading()
            return None
        try:
            count = os.splice(self._source.fileno(), self._in, min(self.left, _PIPE), flags=_FLAGS)
        except BlockingIOError:
            return self._copy()
        except OSError as error:
            return self._failed(error)
        return self._came(count)

    def _copy(self) -> Exception | None:
        """Nothing could be spliced of what came: before TCP's urgent data, splice(2) stands still, and read(2) goes on.

        The socket stays readable meanwhile, so that to wait would be to be called again at once, for ever.
        """
        try:
            data = self._source.socket.recv(min(self.left, _COPIED))
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        os.write(self._in, data)  # the pipe is empty, as the source is not read else
        return self._came(len(data))

    def _came(self, count: int) -> Exception | None:
        """So many bytes are in the pipe, or with none the source has ended."""
        if not count:
            self._source_ended = True
            return CONNECTION_DONE
        self.left -= count
        self.taken += count
        with suppress(OSError):  # it takes no more for now, or none at all, which its own turn finds out
            self._drain()
        if self.taken > self.given:
            self.waiting = True
            self._source.stopReading()
            self._sink.startWriting()
        elif not self.left:
            self.end()
        return None

    def _write(self) -> Exception | None:
        """The sink takes bytes again, or has broken."""
        sink = self._sink
        if pending(sink):
            why: Exception | None = type(sink).doWrite(sink)
            if why is not None or self.over or pending(sink):
                return why
        try:
            self._drain()
        except BlockingIOError:
            return None
        except OSError as error:
            return self._failed(error)
        sink.stopWriting()
        self.waiting = False
        if self.left:
            self._source.resumeProducing()
        else:
            self.end()
        return None

    def _drain(self) -> None:
        while self.taken > self.given:
            self.given += os.splice(self._out, self._sink.fileno(), self.taken - self.given, flags=_FLAGS)
            self.moved_at = self._source.reactor.seconds()

    def _failed(self, error: OSError) -> Exception | None:
        """A connection broke, or this machine cannot splice after all: then all goes on the ordinary way."""
        if error.errno not in _IMPOSSIBLE:
            return CONNECTION_LOST
        MACHINE.can = False
        log.info("large bodies are copied: this machine cannot splice ({error})", error=str(error))
        while self.taken > self.given:
            data = os.read(self._out, self.taken - self.given)
            self.given += len(data)
            self._sink.write(data)
        self.waiting = False
        self.end()
        return None


def relay_between(source: Any, sink: Any, count: int, over: Over) -> Relay | None:
    """Let the next ``count`` bytes that come over one transport go out over another.

    :param over: told once, however it ends; bytes that are ``left`` come the ordinary way, unless it was stopped.
    :returns: ``None`` where that cannot be, or does not pay: nothing has happened then.
    """
    if not MACHINE.can or count < LEAST or MACHINE.relays >= MOST_AT_ONCE:
        return None
    if not (_is_plain(source) and _is_plain(sink)):
        return None
    pipe = _make_pipe()
    return None if pipe is None else Relay(source, sink, count, over, pipe)


def pending(transport: Any) -> bool:
    """Whether bytes that were written to a transport have yet to leave it."""
    return bool(transport.dataBuffer or transport._tempDataLen)


def _is_plain(transport: Any) -> bool:
    """Whether it is TCP without TLS, and not on its way to its end."""
    if not isinstance(transport, Connection) or getattr(transport, "TLS", False) or not transport.connected:
        return False
    return not (transport.disconnecting or transport._aborting) and transport.socket.family in _TCP


def _make_pipe() -> tuple[int, int] | None:
    """A pipe that holds enough; ``None`` where there is none to be had."""
    try:
        pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with suppress(OSError):
        fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, _PIPE)
    if fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ) >= _ENOUGH:
        return pipe
    os.close(pipe[0])
    os.close(pipe[1])
    return None
