"""`make run` starts a gateway and a worker, and however it ends, neither stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import yaml
from processes import ROOT, find_free_port


class MakeRun:
    """`make run` with the demo's configuration on free ports, in a process group of its own as a terminal does it."""

    def __init__(self, folder: Path) -> None:
        config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
        self.ports = [find_free_port() for _ in range(3)]
        gateway, admin, worker = self.ports
        config["listen"] = [f"tcp:{gateway}:interface=127.0.0.1"]
        config["admin"]["listen"] = [f"tcp:{admin}:interface=127.0.0.1"]
        config["admin"]["token_file"] = str(folder / "admin.token")
        config["store"]["path"] = str(folder / "demo.sqlite")
        config["workspaces"][0]["upstream"][0]["ports"] = {8080: worker}
        (folder / "demo.yaml").write_text(yaml.safe_dump(config))
        self.ready = [f"http://127.0.0.1:{admin}/readyz", f"http://127.0.0.1:{worker}/"]
        # -o: this checkout is what it is; installing is not what these tests are about
        self.command = ["make", "-o", ".venv/.run", "run", f"CONFIG={folder / 'demo.yaml'}", f"DEMO_PORT={worker}"]
        self.command.append(f"PORTS={gateway} {admin} {worker}")
        self.log = folder / "make.log"
        with self.log.open("wb") as log:
            self.make = subprocess.Popen(
                self.command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 30
        while not true():
            assert time.monotonic() < deadline, f"not {what}:\n{self.log.read_text()}"
            time.sleep(0.05)

    def is_ready(self) -> bool:
        try:
            return all(requests.get(url, timeout=2).status_code == 200 for url in self.ready)
        except requests.RequestException:
            return False

    def is_gone(self) -> bool:
        """Nobody of the group lives, so nobody listens."""
        try:
            os.killpg(self.make.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def gateway_pid(self) -> int:
        """Make's only child: the gateway has taken the place of make's shell."""
        children = Path(f"/proc/{self.make.pid}/task/{self.make.pid}/children").read_text().split()
        assert len(children) == 1
        return int(children[0])


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[MakeRun]:
    run = MakeRun(tmp_path)
    try:
        yield run
    finally:
        if not run.is_gone():
            os.killpg(run.make.pid, signal.SIGKILL)
        run.make.wait(10)


ENDS: dict[str, Callable[[MakeRun], None]] = {
    "TERM to make": lambda run: run.make.terminate(),
    "Ctrl-C": lambda run: os.killpg(run.make.pid, signal.SIGINT),
    "kill -9 of the gateway": lambda run: os.kill(run.gateway_pid(), signal.SIGKILL),
}


@pytest.mark.parametrize("end", ENDS)
def test_however_it_ends_nobody_stays_behind(make_run: MakeRun, end: str) -> None:
    make_run.wait_until(make_run.is_ready, "ready")
    ENDS[end](make_run)
    make_run.make.wait(30)
    make_run.wait_until(make_run.is_gone, f"gone after {end}")
    assert "Traceback" not in make_run.log.read_text()


def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = ["make", "-o", ".venv/.run", "run", f"PORTS={port}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    assert f"Port {port} of 127.0.0.1 is taken" in done.stderr
    assert "Starting" not in done.stdout
