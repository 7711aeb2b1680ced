"""The clock of a gateway that can be set while it runs, by libfaketime."""

from __future__ import annotations

import os
from pathlib import Path

PLACES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
)
"""Where Debian's package ``faketime`` has it."""


class FakeClock:
    """The wall clock of one process; its monotonic clock goes on as it does.

    :ivar env: what the process has to be started with.
    :ivar offset: seconds by which it is ahead of this machine's.
    """

    def __init__(self, file: Path) -> None:
        library = _library()
        self.installed = library is not None
        self.offset = 0.0
        self._file = file
        self.env: dict[str, str] = {}
        if library is not None:
            self._write()
            self.env = {
                "LD_PRELOAD": library,
                "FAKETIME_TIMESTAMP_FILE": str(file),
                "FAKETIME_NO_CACHE": "1",
                "DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_DONT_RESET": "1",
                # the "fix" has Python's threads spin while they wait for each other: 70 ms of CPU for each request
                "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            }

    @staticmethod
    def is_installed() -> bool:
        """Whether clocks can be set on this machine."""
        return _library() is not None

    def jump(self, seconds: float) -> None:
        """Set it forwards, or backwards."""
        self.offset += seconds
        self._write()

    def _write(self) -> None:
        fresh = self._file.with_suffix(".new")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(f"{self.offset:+.0f}\n")
        fresh.replace(self._file)


def _library() -> str | None:
    return next((place for place in PLACES if os.path.exists(place)), None)
