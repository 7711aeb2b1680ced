"""The gateway under systemd: what it tells of itself, and a socket that outlives it."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from processes import Gateway, find_free_port
from redis_server import block
from systemd_manager import Service


@contextmanager
def service(folder: Path, watchdog: float = 0.0, **config: object) -> Iterator[Service]:
    made = Service(folder, watchdog, **config)
    try:
        yield made.start()
    finally:
        made.close()


@pytest.mark.parametrize("processes", [1, 2])
def test_it_tells_that_it_is_ready_lives_reloads_and_ends(processes: int, tmp_path: Path) -> None:
    """With the same process id throughout, as systemd knows no other."""
    with service(tmp_path, watchdog=1.0, processes=processes, **({"store": block()} if processes > 1 else {})) as made:
        pid = made.pid
        assert made.wait_for("READY=1") == ["READY=1"]
        beats = [made.wait_for("WATCHDOG=1") and time.monotonic() for _ in range(6)]
        apart = sorted(later - earlier for earlier, later in itertools.pairwise(beats))
        assert apart[2] < 0.9, "a sign of life that comes late is the death of the service"
        os.kill(pid, signal.SIGHUP)
        told = [each for each in made.wait_for("READY=1") if each != "WATCHDOG=1"]
        assert told == ["RELOADING=1", "READY=1"], "STOPPING would have systemd wait for the end, and kill it"
        assert "MONOTONIC_USEC=" in next(each for each in made.heard if each.startswith("RELOADING=1"))
        assert requests.get(made.url, timeout=10).status_code == 404
        made.wait_for("WATCHDOG=1")
        assert made.pid == pid
        made.stop()
        assert made.wait_for("STOPPING=1")[-1] == "STOPPING=1"


def test_a_configuration_that_cannot_be_used_leaves_it_ready(tmp_path: Path) -> None:
    with service(tmp_path) as made:
        made.wait_for("READY=1")
        made.file.write_text("lissten: 3\n")
        os.kill(made.pid, signal.SIGHUP)
        assert made.wait_for("READY=1") == ["RELOADING=1", "READY=1"]
        assert requests.get(made.url, timeout=10).status_code == 404


def test_nobody_who_connects_is_refused_while_it_restarts(tmp_path: Path) -> None:
    """Who comes meanwhile waits in the socket, and is answered by the next process."""
    replies: list[int | str] = []
    over = threading.Event()

    def call() -> None:
        while not over.is_set():
            try:
                replies.append(requests.get(made.url, timeout=20).status_code)
            except requests.RequestException as error:
                replies.append(f"{time.monotonic()}: {error!r}")

    with service(tmp_path) as made:
        callers = [threading.Thread(target=call) for _ in range(3)]
        for caller in callers:
            caller.start()
        try:
            for _ in range(2):
                before = len(replies)
                made.restart()
                assert made.wait_for("STOPPING=1")
                while len(replies) < before + 20 and all(reply == 404 for reply in replies):
                    time.sleep(0.02)
        finally:
            over.set()
            for caller in callers:
                caller.join(30)
        assert [reply for reply in replies if reply != 404] == []


def test_systemd_starts_it_when_the_first_customer_comes(tmp_path: Path) -> None:
    """With systemd's own program for sockets, which needs no systemd that runs."""
    activate = shutil.which("systemd-socket-activate")
    if activate is None:
        if os.environ.get("CI") == "true":
            pytest.fail("systemd-socket-activate is missing: install the package systemd")
        pytest.skip("systemd-socket-activate is not installed (package systemd)")
    port = find_free_port()
    made = Gateway({"listen": ["tcp:1"]}, tmp_path)  # for its admin listener and its folder
    made.write_config({"listen": ["systemd:domain=INET:name=public"]})
    command = [activate, f"--listen=127.0.0.1:{port}", "--fdname=public", *made.arguments]
    with (tmp_path / "activate.log").open("wb") as log:
        popen = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        until = time.monotonic() + 10
        while "Listening" not in (tmp_path / "activate.log").read_text():
            assert time.monotonic() < until and popen.poll() is None, (tmp_path / "activate.log").read_text()
            time.sleep(0.02)
        assert requests.get(f"http://127.0.0.1:{port}", timeout=30).status_code == 404
        assert requests.get(made.admin + "/readyz", timeout=10).status_code == 200
        popen.terminate()
        assert popen.wait(30) == -signal.SIGTERM
    finally:
        if popen.poll() is None:
            os.killpg(popen.pid, signal.SIGKILL)
            popen.wait(10)
