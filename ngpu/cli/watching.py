"""Showing something once, or over and over: ``--watch``."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ngpu.cli.aside import aside
from ngpu.cli.exits import Refused, Unreachable
from ngpu.cli.finding import show_json
from ngpu.cli.number import Number

T = TypeVar("T")

EVERY = 2.0
"""Seconds between two looks where nobody says."""

_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def watch_options(command: Callable[..., T]) -> Callable[..., T]:
    """The options ``--watch`` and ``--every``, as ``watch``: seconds between two looks, or ``None``."""

    @click.option("-w", "--watch", is_flag=True, help="Go on looking until Ctrl-C.")
    @click.option(
        "--every",
        default=EVERY,
        show_default=True,
        type=Number(0.1, 3600),
        help="Seconds between two looks of --watch.",
    )
    @functools.wraps(command)
    def run(*args: Any, watch: bool, every: float, **options: Any) -> T:
        return command(*args, watch=every if watch else None, **options)

    return run


def show(look: Callable[[], T], text: Callable[[T], str], as_json: bool, watch: float | None) -> None:
    """Print what a look finds; with ``watch`` again after so many seconds, and so on.

    A terminal shows the last look, anything else gets each that differs from the one before, JSON on one line. Once
    a look has succeeded, a gateway that is away is waited for.

    :param look: asks the gateway.
    :param text: what it told, for people.
    """
    found = look()
    if watch is None:
        show_json(found) if as_json else click.echo(text(found))
        return
    shown = ""
    while True:
        words = json.dumps(found, ensure_ascii=False) if as_json else text(found)
        if sys.stdout.isatty() and not as_json:
            click.echo(f"{_CLEAR}{time.strftime('%H:%M:%S')}, every {watch:g} s; Ctrl-C ends it\n\n{words}")
        elif words != shown:
            click.echo(words if as_json or not shown else f"\n{words}")
        shown = words
        found = _again(look, watch)


def _again(look: Callable[[], Any], watch: float) -> Any:
    while True:
        time.sleep(watch)
        try:
            return look()
        except Unreachable as error:
            aside(f"{time.strftime('%H:%M:%S')} {error.message}")
        except Refused as error:
            if error.lasting:
                raise
            aside(f"{time.strftime('%H:%M:%S')} {error.message}")
