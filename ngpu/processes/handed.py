"""What a process is handed by the one that starts it: listening sockets, a channel, the configuration's text."""

from __future__ import annotations

import enum
import json
import os
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "NGPU_HANDED"
"""The environment variable that says which file descriptors are what; nothing that is secret."""

_PIECE = 1024 * 1024


class Role(enum.Enum):
    """What a process is started for."""

    FIRST = "first"
    SUCCESSOR = "successor"  # takes the place of a process that served alone
    WORKER = "worker"
    CHECK = "check"  # reads the configuration, tells what it outlines, and ends


@dataclass(frozen=True)
class Handed:
    """What it was handed.

    :ivar sockets: file descriptors of listening sockets, by endpoint description.
    :ivar number: which of the workers it is, from 1.
    :ivar channel: file descriptor that leads to the parent; -1: none.
    :ivar configuration: file descriptor of a file with the configuration's text, as `kept` makes it; -1: it reads the
        file itself.
    :ivar generation: how many reloads have taken effect before.
    """

    role: Role = Role.FIRST
    sockets: Mapping[str, int] = field(default_factory=dict)
    number: int = 0
    channel: int = -1
    configuration: int = -1
    generation: int = 0

    def environment(self) -> dict[str, str]:
        """The environment of a process that is to be handed this."""
        words = {
            "role": self.role.value,
            "sockets": dict(self.sockets),
            "number": self.number,
            "channel": self.channel,
            "configuration": self.configuration,
            "generation": self.generation,
        }
        return {**os.environ, VARIABLE: json.dumps(words)}

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Handed:
        """What this process was handed. It is taken out of the environment, so that nobody whom it starts sees it."""
        text = environment.pop(VARIABLE, None)
        if text is None:
            return cls()
        words = json.loads(text)
        handed = cls(**{**words, "role": Role(words["role"])})
        for descriptor in (*handed.sockets.values(), handed.channel, handed.configuration):
            if descriptor >= 0:
                os.set_inheritable(descriptor, False)
        return handed

    def text(self) -> str | None:
        """The configuration's text, where it was handed one."""
        if self.configuration < 0:
            return None
        pieces, offset = [], 0
        while piece := os.pread(self.configuration, _PIECE, offset):
            pieces.append(piece)
            offset += len(piece)
        os.close(self.configuration)
        return b"".join(pieces).decode()


def kept(text: str) -> int:
    """A file in memory with a configuration's text; its descriptor is the caller's to close.

    No disk has to have room for it: the process that gets it may be the one that goes on with the work.
    """
    descriptor = os.memfd_create("ngpu-configuration")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(text.encode())
    return descriptor


def command(path: Path) -> list[str]:
    """The command line of a process like this one, which logs to standard output and stays in the foreground.

    :param path: the configuration file.
    """
    told = sys.argv[1:]
    if sys.orig_argv[len(sys.orig_argv) - len(told) :] == told:  # twistd, whose options are for one process
        return [sys.executable, "-m", "ngpu.cli", "run", "-c", str(path)]
    return [sys.executable, *sys.orig_argv[1:]]  # `ngpu run`, however it was found, so that new code is found again
