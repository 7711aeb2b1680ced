"""How a command ends where its output cannot be written: with a sentence and a status, never with a traceback."""

from __future__ import annotations

import os
import sys
from typing import Any

import click


class Commands(click.Group):
    """The ``ngpu`` command. A pipe that nobody reads any more, or a full disk, ends it with 1."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """See `click.Group.main`."""
        if sys.stdout is None:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
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
            raise SystemExit(1) from None
