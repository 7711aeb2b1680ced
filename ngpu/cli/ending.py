"""How the ``ngpu`` command ends: with a sentence and a code of `Exit`, never with a traceback for a user's mistake."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from ngpu.cli.exits import Exit


class Ending(click.Group):
    """A pipe that nobody reads any more, or a full disk, ends it with 1, Ctrl-C with 130."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """See `click.Group.main`."""
        _opened()
        try:
            try:
                return super().main(*args, **extra)
            finally:
                sys.stdout.flush()
        except OSError as error:
            # what is left in its buffer would fail once more when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if not isinstance(error, BrokenPipeError):
                print(f"Error: {error.filename or 'the output'}: {error.strerror or error}", file=sys.stderr)
            raise SystemExit(Exit.PROBLEM) from None

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Group.invoke`."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort) as error:
            asked = isinstance(error, click.Abort)
            if asked and not isinstance(error.__context__, KeyboardInterrupt):
                raise  # a question was answered with no, or by nobody
            click.echo(err=True)  # what is typed next does not begin behind ^C
            raise SystemExit(Exit.INTERRUPTED) from None
        except UnicodeEncodeError:
            raise click.UsageError("bytes that are no text in UTF-8 stand where text has to be") from None


def _opened() -> None:
    """See that the three standard files are there: Python has ``None`` for one that was closed before the start."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
