"""What a parent has to know of a configuration, found out by a process that read it with the code that is there now."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from twisted.internet.error import ConnectionDone

from ngpu.processes.child import Child, how, say
from ngpu.processes.handed import Handed, Role, command
from ngpu.settings import Settings, SettingsError, read_file

CHECKED_WITHIN = 60.0
"""Seconds that a check may take."""


@dataclass(frozen=True)
class Outline:
    """Where to listen, and how many processes there are."""

    public: tuple[str, ...]
    admin: tuple[str, ...]
    processes: int

    @classmethod
    def of(cls, settings: Settings) -> Outline:
        """What the settings say."""
        return cls(settings.listen, settings.admin.listen, settings.processes)

    @property
    def listen(self) -> tuple[str, ...]:
        """All endpoint descriptions."""
        return (*self.public, *self.admin)


@dataclass(frozen=True)
class Plan:
    """A configuration that was checked: its text, and its outline."""

    text: str
    outline: Outline


class Checker:
    """Checks a configuration file in a process of its own.

    :param out: where the report goes: standard output and standard error.
    """

    def __init__(self, path: Path, reactor: Any, out: tuple[IO[bytes], IO[bytes]]) -> None:
        self._path = path
        self._reactor = reactor
        self._out = out

    async def plan(self) -> tuple[Plan | None, str]:
        """The file as it is now, or ``None`` and why it cannot be used; the whole report is printed."""
        try:
            text = read_file(self._path)
        except SettingsError as error:
            say(self._out[1], f"{error}\n".encode())
            return None, str(error)
        told: list[str] = []
        child = _Check(0, self._reactor, self._out, told)
        child.start(command(self._path), Role.CHECK, {}, text)
        late = self._reactor.callLater(CHECKED_WITHIN, child.signal, signal.SIGKILL)
        try:
            status = await child.ended
        finally:
            over = not late.active()
            if not over:
                late.cancel()
        if status or not told:
            return None, why_not(status, over, child.last)
        words = json.loads(told[-1])
        return Plan(text, Outline(tuple(words["public"]), tuple(words["admin"]), words["processes"])), ""


def why_not(status: int, late: bool, last: Iterable[str]) -> str:
    """Why a configuration cannot be used whose check ended so.

    :param late: it took too long.
    :param last: what it said last.
    """
    ended = (
        f"took longer than {CHECKED_WITHIN:g} s: does a plugin hang as it is imported or made?" if late else how(status)
    )
    return f"the configuration cannot be used: the check {ended}" + "".join(f"\n{line}" for line in last)


class _Check(Child):
    """Says over the channel what it has found."""

    def __init__(self, number: int, reactor: Any, out: tuple[IO[bytes], IO[bytes]], told: list[str]) -> None:
        super().__init__(number, reactor, out, _nothing)
        self._heard = told

    def told(self, word: str) -> None:
        """It has said a word."""
        self._heard.append(word)


async def _nothing(which: str) -> None:
    raise ConnectionDone


def tell_outline(handed: Handed, outline: Outline) -> None:
    """Tell the process that started this one for a check."""
    message = json.dumps({"tell": json.dumps(asdict(outline))}).encode()
    os.write(handed.channel, len(message).to_bytes(4, "big") + message)
