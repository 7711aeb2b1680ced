"""Lists of tasks: what is asked for, and a page of what is found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks to list; ``None`` does not narrow. ``start`` and ``end`` are inclusive.

    ``newest``: those that were submitted last come first, and a cursor leads to older ones.
    """

    workspace: str
    node: str | None = None
    btc_address: str | None = None
    start: float | None = None
    end: float | None = None
    limit: int = 1000
    cursor: str | None = None
    newest: bool = False


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Task ids in the order that was asked for; ``next_cursor`` is there while more follow."""

    ids: tuple[str, ...]
    next_cursor: str | None = None
