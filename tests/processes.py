"""Real processes for the tests: the gateway and the demo worker, started, killed and restarted from outside.

Everything here is synchronous and sees the programs only through sockets, files and exit codes. Each process leads a
group of its own, so that a test that fails leaves nobody behind.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import yaml
from forked import Forked, fork_server, unbuffered

P = TypeVar("P", bound="Process")
ROOT = Path(__file__).parent.parent
READY_WITHIN = 30.0
STOPPED_WITHIN = 30.0
LOOK_EVERY = 0.03
LOG_SHOWN = 8000


PORTS = 20_000
"""The first of those that are given out: below the ones that the kernel gives to outgoing connections."""

PORTS_EACH = 1_200
"""How many each of the processes has that run tests side by side: else two may find the same one free."""

_ports = itertools.count(random.SystemRandom().randrange(PORTS_EACH))


def find_free_port() -> int:
    """A port on 127.0.0.1 that nobody has, and that no other process of this run of tests looks at."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for count in itertools.islice(_ports, PORTS_EACH):
        port = PORTS + number % 10 * PORTS_EACH + count % PORTS_EACH
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Process:
    """A program that runs in a process group of its own and answers 200 at ``ready_url`` once it is ready.

    :param log: the file that takes what it prints, over all its lives.
    """

    clean_exits: tuple[int, ...] = (0,)
    passed_fds: tuple[int, ...] = ()
    """File descriptors that it inherits."""

    forks = False
    """Whether a fork may start it: its arguments are this Python, ``-m`` and a module of ngpu's."""

    def __init__(self, arguments: list[str], log: Path, ready_url: str, env: Mapping[str, str] | None = None) -> None:
        self.arguments = arguments
        self.log = log
        self.ready_url = ready_url
        self._env = {**unbuffered(), **(env or {})}
        self._popen: subprocess.Popen[bytes] | Forked | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        assert self._popen is not None
        return self._popen.pid

    def start(self, ready_within: float = READY_WITHIN) -> Self:
        """Start it and return once it is ready.

        :raises AssertionError: with its log, when it ends or is not ready in time.
        """
        with self.log.open("ab") as log:
            self._popen = self._begun(log.fileno())
        deadline = time.monotonic() + ready_within
        while not self._answers():
            if self._popen.poll() is not None:
                raise AssertionError(f"{self} ended with {self._popen.returncode} before it was ready\n{self.tail()}")
            if time.monotonic() > deadline:
                self.kill9()
                raise AssertionError(f"{self} was not ready after {ready_within:.0f} s\n{self.tail()}")
            time.sleep(LOOK_EVERY)
        return self

    def stop(self, within: float = STOPPED_WITHIN) -> None:
        """Ask it to stop (TERM) and wait for a clean exit.

        :raises AssertionError: with its log, when it takes longer or ends with another code.
        """
        if self._popen is None:
            return
        popen, self._popen = self._popen, None
        popen.terminate()
        try:
            code = popen.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} was still there {within:.0f} s after TERM\n{self.tail()}") from None
        finally:
            _end_group(popen)
        assert code in self.clean_exits, f"{self} ended with {code} after TERM\n{self.tail()}"

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._popen is not None
        self._popen.send_signal(number)

    def kill9(self) -> None:
        """End it, and what it has started, as a crash does."""
        if self._popen is not None:
            popen, self._popen = self._popen, None
            _end_group(popen)

    def restart(self) -> Self:
        """Start it again: after ``kill9`` or ``stop`` as it is, else after a ``stop``."""
        self.stop()
        return self.start()

    def tail(self) -> str:
        """The end of its log."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return f"--- the end of {self.log} ---\n{text[-LOG_SHOWN:]}\n---"

    def _begun(self, log: int) -> subprocess.Popen[bytes] | Forked:
        if self.forks and fork_server.can(self._env):
            return fork_server.start(self.arguments[1:], ROOT, self._env, log, self.passed_fds)
        return subprocess.Popen(
            self.arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=self._env,
            cwd=ROOT,
            start_new_session=True,
            pass_fds=self.passed_fds,
        )

    def _answers(self) -> bool:
        address = urlsplit(self.ready_url)
        connection = http.client.HTTPConnection(address.netloc, timeout=2)
        try:
            connection.request("GET", address.path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def __str__(self) -> str:
        return " ".join(self.arguments[1:4])


class Worker(Process):
    """The demo worker on a port of its own; ``url`` is its root."""

    forks = True

    def __init__(self, log: Path, port: int, *options: str) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.journal = log.with_suffix(".journal")
        command = [sys.executable, "-m", "ngpu.demo", "--port", str(port), "--journal", str(self.journal), *options]
        super().__init__(command, log, self.url + "/")

    def journalled(self, event: str = "start") -> list[str]:
        """The markers of the calls that have reached it (``start``), ended (``end``) or lost their caller (``cut``)."""
        if not self.journal.exists():
            return []
        lines = [json.loads(line) for line in self.journal.read_text().splitlines()]
        return [line["marker"] for line in lines if line["event"] == event]


class Gateway(Process):
    """``ngpu run`` with a configuration file; ``url`` and ``admin`` are the roots of its two listeners.

    :param config: the file's text or content. Without ``listen``, ``admin`` and ``store`` it gets free ports and a
        database beside the file; a text has to say them itself.
    """

    # Twisted's runner, once it has shut down, ends itself with the signal that stopped it
    clean_exits = (0, -signal.SIGTERM)
    forks = True

    def __init__(self, config: Mapping[str, Any] | str, folder: Path, env: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.config_file = folder / "ngpu.yaml"
        self.write_config(config)
        content = yaml.safe_load(self.config_file.read_text())
        self.url = f"http://127.0.0.1:{_tcp_port(content['listen'])}"
        self.admin = f"http://127.0.0.1:{_tcp_port(content['admin']['listen'])}"
        command = [sys.executable, "-m", "ngpu.cli", "run", "-c", str(self.config_file)]
        super().__init__(command, folder / "gateway.log", self.admin + "/readyz", env)

    def write_config(self, config: Mapping[str, Any] | str) -> None:
        """Write the configuration file anew; listeners that it has keep their ports."""
        if not isinstance(config, str):
            before = yaml.safe_load(self.config_file.read_text()) if self.config_file.exists() else {}
            own = {
                "listen": before.get("listen") or [f"tcp:{find_free_port()}:interface=127.0.0.1"],
                "admin": before.get("admin") or {"listen": [f"tcp:{find_free_port()}:interface=127.0.0.1"]},
                "store": {"kind": "sqlite", "path": "ngpu.sqlite"},
            }
            config = yaml.safe_dump({**own, **config}, sort_keys=False)
        self.config_file.write_text(config)


class Processes:
    """What one test has started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[Process] = []

    def start_worker(self, *options: str, port: int | None = None) -> Worker:
        """A demo worker that is ready; ``options`` are added to its command line."""
        log = self._folder / f"worker{len(self._all)}.log"
        return self._begin(Worker(log, port or find_free_port(), *options))

    def start_gateway(
        self, config: Mapping[str, Any] | str, folder: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Gateway:
        """A gateway that is ready; its files are in ``folder``, by default one of the test's own."""
        return self._begin(Gateway(config, folder or self._folder / f"gateway{len(self._all)}", env))

    def _begin(self, process: P) -> P:
        self._all.append(process)
        return process.start()

    def kill_all(self) -> None:
        """End what still runs."""
        for process in self._all:
            process.kill9()

    def logs(self) -> list[str]:
        """The end of each log, under its program's name."""
        return [f"{process}\n{process.tail()}" for process in self._all]


@contextmanager
def running(folder: Path) -> Iterator[Processes]:
    """Processes that end with the block, whatever happens in it."""
    processes = Processes(folder)
    try:
        yield processes
    finally:
        processes.kill_all()


def _tcp_port(listen: list[str]) -> int:
    return next(int(endpoint.split(":")[1]) for endpoint in listen if endpoint.startswith("tcp:"))


def _end_group(popen: subprocess.Popen[bytes] | Forked) -> None:
    # the group outlives its leader for as long as one member lives
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait(10)
