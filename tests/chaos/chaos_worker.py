"""A scripted worker as a process of its own, whose journal is on disk before it works: ``chaos_worker.py PORT FILE``.

Each line of the journal is ``event marker``.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripted_worker import ScriptedWorker


class JournallingWorker(ScriptedWorker):
    """Notes each event in a file, and goes on once that is on disk."""

    def __init__(self, port: int, journal: Path) -> None:
        super().__init__()
        self.port = port
        self._file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(self, event: str, marker: str) -> None:
        super().note(event, marker)
        self.journal.clear()
        self.calls.clear()
        os.write(self._file, f"{event} {marker}\n".encode())
        os.fsync(self._file)


if __name__ == "__main__":
    JournallingWorker(int(sys.argv[1]), Path(sys.argv[2])).start()
    threading.Event().wait()
