"""How much is read from a connection at once: more where there is more."""

from __future__ import annotations

from typing import Any

SMALL = 64 * 1024
"""What Twisted reads at most."""

LARGE = 256 * 1024


def size_next(transport: Any, came: int) -> None:
    """Let the next read take more after one that was full, and not after one that was not.

    Large reads halve what a body costs that is copied; small ones would be slower for the memory that they do not need.
    """
    size = LARGE if came >= SMALL else SMALL
    if getattr(transport, "bufferSize", size) != size:
        transport.bufferSize = size
