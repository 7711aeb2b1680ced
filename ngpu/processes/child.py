"""A process that this one has started: what it prints, what it says, and how it ends."""

from __future__ import annotations

import signal
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ngpu.processes.channel import Channel, open_channel
from ngpu.processes.handed import Handed, Role, kept

SHOWN = 10
"""Lines of what it printed last that are repeated when it dies."""

LAST_WORDS = 0.5
"""Seconds for which its output is read on once it has ended, where something that it started still holds it open."""

_STDOUT, _STDERR, _CHANNEL, _CONFIGURATION, _SOCKETS = 1, 2, 3, 4, 5
_LONGEST_LINE = 1024 * 1024


class Lines:
    """Passes whole lines on, each with whose it is; lines of JSON say that themselves.

    :param prefix: what stands before a line.
    :param last: takes the last few lines.
    """

    def __init__(self, prefix: bytes, out: IO[bytes], last: deque[str]) -> None:
        self._prefix = prefix
        self._out = out
        self._last = last
        self._rest = b""

    def add(self, data: bytes) -> None:
        """Take some output."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        self._pass_on(lines)

    def end(self) -> None:
        """There is no more; what has no end of line is a line, too."""
        rest, self._rest = self._rest, b""
        self._pass_on([rest] if rest else [])

    def _pass_on(self, lines: Sequence[bytes]) -> None:
        out = []
        for line in lines:
            if line.startswith(b"{"):
                out.append(line + b"\n")
            else:
                out.append(self._prefix + line + b"\n")
                self._last.append(line.decode("utf-8", "replace"))
        if out:
            say(self._out, b"".join(out))


def say(out: IO[bytes], words: bytes) -> None:
    """Print something, or let it go where the disk is full or nobody reads: what comes later may find room again."""
    with suppress(OSError):
        out.write(words)
        out.flush()


class Child(ProcessProtocol):
    """One process.

    :param out: where what it prints goes, on standard output and on standard error.
    :param asked: gives what it asks for over the channel.
    :ivar ready: fires when it serves, which ``is_ready`` says until it ends, or has ended before.
    :ivar ended: fires with its exit status when it has ended; a negative one is a signal.
    """

    def __init__(
        self, number: int, reactor: Any, out: tuple[IO[bytes], IO[bytes]], asked: Callable[[str], Any]
    ) -> None:
        self.number = number
        self.started = reactor.seconds()
        self.pid = 0
        self.is_ready = False
        self.ready: Deferred[None] = Deferred()
        self.ended: Deferred[int] = Deferred()
        self.last: deque[str] = deque(maxlen=SHOWN)
        self.channel = Channel(self.told, asked, self._look)
        self._silent = False
        self._reason: Failure | None = None
        self._reactor = reactor
        prefix = f"[{number}] ".encode() if number else b""
        self._lines = {_STDOUT: Lines(prefix, out[0], self.last), _STDERR: Lines(prefix, out[1], self.last)}

    def start(
        self, command: Sequence[str], role: Role, sockets: Mapping[str, int], text: str, generation: int = 0
    ) -> None:
        """Start it, with listening sockets and a configuration's text; see `Handed` for the generation.

        Where the machine has no process, memory or descriptor left for one, it has ended with 1.
        """
        try:
            self.pid = self._spawned(command, role, sockets, text, generation)
        except OSError as error:
            self.last.append(f"it could not be started: {error.strerror}")
            self._reason = Failure(ProcessTerminated(exitCode=1))
            self._end()

    def _spawned(
        self, command: Sequence[str], role: Role, sockets: Mapping[str, int], text: str, generation: int
    ) -> int:
        mine, its = socket.socketpair()
        with its, open(kept(text), "rb") as configuration, open("/dev/null", "rb") as nothing:
            handed = Handed(
                role,
                {description: _SOCKETS + index for index, description in enumerate(sockets)},
                self.number,
                _CHANNEL,
                _CONFIGURATION,
                generation,
            )
            descriptors: dict[int, Any] = {0: nothing.fileno(), _STDOUT: "r", _STDERR: "r"}
            descriptors |= {_CHANNEL: its.fileno(), _CONFIGURATION: configuration.fileno()}
            descriptors |= {_SOCKETS + index: each for index, each in enumerate(sockets.values())}
            open_channel(self._reactor, mine.detach(), self.channel)
            process = self._reactor.spawnProcess(
                self, command[0], list(command), handed.environment(), childFDs=descriptors
            )
        pid: int = process.pid
        return pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended gets none."""
        if self.transport is not None:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess(number)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """It has printed something."""
        self._lines[childFD].add(data)

    def processExited(self, reason: Failure) -> None:
        """It has ended; what it said last may be on its way."""
        self._reason = reason
        self.is_ready = False
        self._reactor.callLater(LAST_WORDS, self._end)

    def processEnded(self, reason: Failure) -> None:
        """It has ended, and prints nothing more."""
        self._reason = reason
        self._silent = True
        self._look()

    def told(self, word: str) -> None:
        """It has said a word."""
        if word == "ready" and not self.ready.called and self._reason is None:
            self.is_ready = True
            self.ready.callback(None)

    def _look(self) -> None:
        if self._silent and not self.channel.there:
            self._end()

    def _end(self) -> None:
        if self.ended.called or self._reason is None:
            return
        for lines in self._lines.values():
            lines.end()
        value: Any = self._reason.value
        self.ended.callback(-value.signal if value.signal else value.exitCode or 0)
        if not self.ready.called:
            self.ready.callback(None)


def how(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"ended with {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
