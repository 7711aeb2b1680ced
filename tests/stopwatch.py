"""How long something took of the time that the machine gave: one that halts everybody for a while makes nobody late."""

from __future__ import annotations

import threading
import time
import weakref

EVERY, USUAL = 0.01, 0.03
"""Seconds between two looks at the clock, and what may lie between them on a machine that is only busy."""


class Stopwatch:
    """Runs from its beginning on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._halted = 0.0
        self._began = self._looked = time.monotonic()
        threading.Thread(target=_look_on, args=(weakref.ref(self),), daemon=True).start()

    def seconds(self) -> float:
        """How many have gone by, less those in which even a thread that only looks at the clock did not run."""
        return self.look() - self._began - self._halted

    def look(self) -> float:
        """The time now; what has gone by since the last look counts as a halt where that was too much."""
        with self._lock:
            before, self._looked = self._looked, time.monotonic()
            if self._looked - before > USUAL:
                self._halted += self._looked - before - EVERY
            return self._looked


def _look_on(watched: weakref.ref[Stopwatch]) -> None:
    while (watch := watched()) is not None:
        watch.look()
        del watch
        time.sleep(EVERY)
