"""Reloads as whoever asked for one sees them: which generation serves, and why the last one changed nothing."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass


@dataclass
class Reloads:
    """What this process knows of them.

    :ivar generation: how many reloads took effect since the gateway was started.
    :ivar refusals: how many changed nothing since this process began.
    :ivar why: the last one did, "" while none has.
    """

    generation: int
    pid: int
    """Of the process that reloads: this one, or its parent."""

    refusals: int = 0
    why: str = ""

    def ask(self) -> None:
        """Have the configuration read anew, as by ``kill -HUP``."""
        os.kill(self.pid, signal.SIGHUP)

    def refused(self, why: str) -> None:
        """A reload has changed nothing."""
        self.refusals += 1
        self.why = why
