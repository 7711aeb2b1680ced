"""Somebody at a desk with terminals, who types what a page shows, on other ports than it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from processes import find_free_port


class Desk:
    """Terminals that begin in a folder; ``ports`` are those that the page speaks of."""

    def __init__(self, folder: Path, ports: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.ports = {port: str(find_free_port()) for port in ports}
        self.log = folder / "terminals.log"
        self.environment = {**os.environ, **(environment or {})}

    def here(self, text: str) -> str:
        """A text with the ports of this test, where it speaks of listeners."""
        listeners = rf"""(tcp:|localhost:|127\.0\.0\.1:|127\.0\.0\.1", |--port |8080: )({"|".join(self.ports)})\b"""
        return re.sub(listeners, lambda found: found[1] + self.ports[found[2]], text)

    @contextmanager
    def terminal(self, commands: str) -> Iterator[None]:
        """Somebody who types these, and ends them with the block."""
        commands = self.here(commands)
        if "make run" in commands:  # this checkout is what it is; and the ports stand in the Makefile
            ports = " ".join(self.ports[port] for port in ("8080", "8081", "18080"))
            commands = commands.replace(
                "make run", f"make -o .venv/.run run PORTS='{ports}' DEMO_PORT={self.ports['18080']}"
            )
        with self.log.open("ab") as log:
            shell = subprocess.Popen(
                ["bash", "-ec", commands],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)
            try:
                shell.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(shell.pid, signal.SIGKILL)
                shell.wait(10)

    def until(self, true: Callable[[], object], what: str, within: float = 90.0) -> None:
        deadline = time.monotonic() + within
        while not true():
            log = self.log.read_text("utf-8", "replace")
            assert time.monotonic() < deadline, f"not {what}:\n{log[-6000:]}"
            time.sleep(0.1)

    def is_ready(self, port: str) -> bool:
        """Whether a gateway's admin listener, or a worker, is there."""
        try:
            root = f"http://127.0.0.1:{self.ports[port]}"
            return 200 in (requests.get(root + path, timeout=2).status_code for path in ("/readyz", "/"))
        except requests.RequestException:
            return False
