"""A service manager as a gateway meets it: it holds the sockets, hands them over, and hears what it is told."""

from __future__ import annotations

import signal
import socket
import sys
import time
from pathlib import Path

import yaml
from processes import Process, find_free_port

HEARD_WITHIN = 30.0
# what systemd does between fork and exec: the sockets become 3, 4, …, and the environment names the process
BEGIN = """
import os, sys
descriptors = [int(each) for each in sys.argv[1].split(",")]
copies = [os.dup(os.dup(each)) for each in descriptors]
for number, copy in enumerate(copies, 3):
    os.dup2(copy, number, inheritable=True)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class Service(Process):
    """``ngpu run`` with its public listener from a socket that outlives it.

    :param config: content of the configuration beside its listeners.
    :param program: how ``ngpu`` is started.
    :ivar heard: what it has told so far.
    """

    clean_exits = (0, -signal.SIGTERM)

    def __init__(self, folder: Path, watchdog: float = 0.0, **config: object) -> None:
        admin = find_free_port()
        self.file = folder / "ngpu.yaml"
        self.content = {
            "listen": ["systemd:domain=INET:name=public"],
            "admin": {"listen": [f"tcp:{admin}:interface=127.0.0.1"]},
            "store": {"kind": "sqlite", "path": "ngpu.sqlite"},
            **config,
        }
        self.file.write_text(yaml.safe_dump(self.content))
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.admin = f"http://127.0.0.1:{admin}"
        self.passed_fds = (self.socket.fileno(),)
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.bind(str(folder / "notify"))
        self.heard: list[str] = []
        environment = {
            "NOTIFY_SOCKET": str(folder / "notify"),
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "public",
            "WATCHDOG_USEC": str(round(watchdog * 1_000_000)),
        }
        command = [sys.executable, "-c", BEGIN, str(self.socket.fileno())]
        command += [sys.executable, "-m", "ngpu.cli", "run", "-c", str(self.file)]
        super().__init__(command, folder / "service.log", self.admin + "/readyz", environment)

    def wait_for(self, word: str, within: float = HEARD_WITHIN) -> list[str]:
        """Everything that it tells until then, the line that begins so last; each message by its first line."""
        until, lines = time.monotonic() + within, list[str]()
        while not lines or not lines[-1].startswith(word):
            self._ear.settimeout(max(0.01, until - time.monotonic()))
            try:
                message = self._ear.recv(4096).decode()
            except TimeoutError:
                raise AssertionError(f"heard {lines}, and no {word}\n{self.tail()}") from None
            lines.append(message.split("\n")[0])
            self.heard.append(message)
        return lines

    def close(self) -> None:
        """Let go of the sockets."""
        self.kill9()
        self.socket.close()
        self._ear.close()
