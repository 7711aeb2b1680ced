"""The README's section on two gateways, as it stands there: each block a terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from markdown_page import examples
from page_blocks import told
from processes import ROOT, find_free_port
from redis_server import needs_redis

PORTS = ("8080", "8081", "8090", "8091", "18080", "6390")


class Desk:
    """A copy of what the section needs, on other ports, and its terminals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(find_free_port()) for port in PORTS}
        for name in ("docs", "ngpu", "Makefile", ".venv", ".ci", "setup.py", "pyproject.toml"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "config").mkdir()
        (folder / "config/redis.yaml").write_text(self.here((ROOT / "config/redis.yaml").read_text()))

    def here(self, text: str) -> str:
        """A text with the ports of this test, where it speaks of listeners."""
        listeners = rf"(tcp:|localhost:|127\.0\.0\.1:|--port |8080: )({'|'.join(PORTS)})\b"
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
        with (self.folder / "terminals.log").open("ab") as log:
            shell = subprocess.Popen(
                ["bash", "-ec", commands], cwd=self.folder, stdout=log, stderr=log, start_new_session=True
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

    def until(self, true: Callable[[], object], what: str, within: float = 40.0) -> None:
        deadline = time.monotonic() + within
        while not true():
            log = (self.folder / "terminals.log").read_text("utf-8", "replace")
            assert time.monotonic() < deadline, f"not {what}:\n{log[-6000:]}"
            time.sleep(0.1)

    def is_ready(self, port: str) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.ports[port]}/readyz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def do(self, commands: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", self.here(commands)], cwd=self.folder, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def test_it_works_as_written(tmp_path: Path) -> None:
    needs_redis()
    readme = (ROOT / "README.md").read_text()
    redis, first, second, asking = [block.text for block in told("two gateways")]
    picture = next(each.commands for each in examples(readme) if "> request.json" in each.commands)
    desk = Desk(tmp_path)
    with desk.terminal(redis), desk.terminal(first), desk.terminal(second):
        desk.until(lambda: desk.is_ready("8081") and desk.is_ready("8091"), "ready")
        desk.do(picture)
        events = desk.do(asking)
        assert [word for word in ("running", "finished") if f'"status":"{word}"' in events] == ["running", "finished"]
        task = (tmp_path / "task.json").read_text()
        desk.do(asking.partition("\nTASK=")[0])
        assert (tmp_path / "task.json").read_text() != task
