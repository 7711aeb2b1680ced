"""Which queued task is probably claimed next, for selection policies that keep requests together.

A slot comes before the claim, and which task is the oldest is for the store to say. What this process has queued itself
it remembers in order, so that the slot can be one of the replica where the task belongs. A guess may be wrong: tasks
are cancelled and expire, go back into the queue, or were queued by another process. Then that one task goes to a
replica that is not its own, and the claim sets the order right again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple


class Guess(NamedTuple):
    """A task and its affinity; both "" where nothing is known."""

    task_id: str = ""
    affinity: str = ""


class Foresight:
    """The tasks of one workspace that have an affinity and wait, oldest first.

    :param most: how many are remembered.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._coming: OrderedDict[str, str] = OrderedDict()

    def queued(self, task_id: str, affinity: str) -> None:
        """A task was queued."""
        self._coming[task_id] = affinity
        if len(self._coming) > self._most:
            self._coming.popitem(last=False)

    def guess(self) -> Guess:
        """The task that the next slot is for."""
        return Guess(*next(iter(self._coming.items()), Guess()))

    def taken(self, guess: Guess) -> None:
        """A slot was taken for it."""
        self._coming.pop(guess.task_id, None)

    def claimed(self, guess: Guess, task_id: str) -> str:
        """A task was claimed for a slot that was taken for a guess; those before it are gone.

        :returns: its affinity, as far as it is known.
        """
        if guess.task_id == task_id:
            return guess.affinity
        if task_id not in self._coming:
            return ""
        while True:
            first, affinity = self._coming.popitem(last=False)
            if first == task_id:
                return affinity
