"""With which codes commands end, and the errors that end them so."""

from __future__ import annotations

import enum

import click

from ngpu.cli.table import plain
from ngpu.errors import ConfigError


class Exit(enum.IntEnum):
    """The codes of all commands; `MEANINGS` says each in words."""

    FINE = 0
    PROBLEM = 1
    USAGE = ConfigError.exit_status
    UNREACHABLE = 3
    REFUSED = 4
    UNFINISHED = 5
    INTERRUPTED = 130


MEANINGS = {
    Exit.FINE: "What was asked for is done, or all is well",
    Exit.PROBLEM: "It did not come about, or something was found: a task failed, `doctor` or `audit` has findings, a "
    "question was answered with no, the output cannot be written",
    Exit.USAGE: "The command was not understood, or the configuration cannot be used; nothing was asked of a gateway",
    Exit.UNREACHABLE: "No gateway answered; what was asked for may have happened all the same",
    Exit.REFUSED: "The gateway answered no, and why: a wrong token or key, no such thing, not in this state",
    Exit.UNFINISHED: "The time given by `--timeout` is over, and the task goes on",
    Exit.INTERRUPTED: "Ctrl-C",
}


class Sentence(click.ClickException):
    """What ends a command; much of it is said by gateways, and by what stands behind them."""

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


class Failed(Sentence):
    """What was asked for did not come about."""

    exit_code = Exit.PROBLEM


class Misused(Sentence):
    """The command does not say which gateway, or how to get in."""

    exit_code = Exit.USAGE


class Unreachable(Sentence):
    """No gateway answered."""

    exit_code = Exit.UNREACHABLE


class Refused(Sentence):
    """The gateway answered no; the message is its own.

    :param lasting: asking again later would change nothing.
    """

    exit_code = Exit.REFUSED

    def __init__(self, message: str, lasting: bool = True) -> None:
        super().__init__(message)
        self.lasting = lasting


class Unfinished(Sentence):
    """It goes on, and was not waited for any longer."""

    exit_code = Exit.UNFINISHED
