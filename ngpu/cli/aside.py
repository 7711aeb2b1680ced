"""What is said on standard error beside the work: how it stands, what was written where."""

from __future__ import annotations

import click


def aside(words: str, nl: bool = True) -> None:
    """Say it. Where standard error takes nothing, as a log on a full disk does, the work goes on without it."""
    try:
        click.echo(words, err=True, nl=nl)
    except BrokenPipeError:
        raise  # nobody is there any more
    except OSError:
        pass
