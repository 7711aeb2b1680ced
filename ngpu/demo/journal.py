"""A file with one line for each start and end of a call, to count afterwards what really reached the worker."""

from __future__ import annotations

import json
import os
import time


class Journal:
    """Appends JSON lines ``{"at", "event", "marker", "status"}``; ``event`` is ``start``, ``end`` or ``cut``.

    Each line is one ``write`` to a file opened for appending: lines of several processes do not mix, and those of a
    process that is killed stay. ``start`` is written when a call arrives, before it waits for a slot.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, event: str, marker: str, status: int | None = None) -> None:
        """Append a line; ``status`` is the reply's, where there is one."""
        line = json.dumps({"at": round(time.time(), 3), "event": event, "marker": marker, "status": status})
        os.write(self._file, line.encode("ascii") + b"\n")

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
