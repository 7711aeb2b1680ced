"""Real Redis servers for the tests: one that all share, each test with a prefix of its own, and others to be hurt."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Protocol, Self

import pytest
from processes import find_free_port

WITHIN = 15.0
KEPT = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction")


def is_installed() -> bool:
    return shutil.which("redis-server") is not None


def needs_redis() -> None:
    """Skip where there is no redis-server; a failure where CI=true."""
    if not is_installed():
        why = "redis-server is not installed (Debian's package of that name): no store in Redis was tried"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)


class RedisServer:
    """A redis-server with a folder, a port on 127.0.0.1 and a Unix socket of its own.

    :param settings: in the form of its command line; `KEPT` is what makes it fit for tasks.
    :param sentinel: the configuration of a sentinel, which it is then.
    """

    def __init__(self, folder: Path, *settings: str, port: int | None = None, sentinel: str = "") -> None:
        needs_redis()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or find_free_port()
        self.socket = Path(tempfile.mkdtemp(prefix="ngpu-redis-")) / "s"  # a socket's path has to be short
        self.url = f"redis://127.0.0.1:{self.port}"
        self.settings = list(settings or KEPT)
        self.sentinel = sentinel
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    def start(self) -> Self:
        """Start it and return once it answers."""
        own = ("--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", str(self.socket))
        with (self.folder / "redis.log").open("ab") as log:
            command = ["redis-server", *own, "--dir", str(self.folder), *self.settings]
            if self.sentinel:
                file = self.folder / "sentinel.conf"  # which it writes to itself
                file.write_text(self.sentinel)
                command = ["redis-server", str(file), "--sentinel", *own, "--dir", str(self.folder)]
            self._popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + WITHIN
        while not self._answers():
            assert self._popen.poll() is None, self.log()
            assert time.monotonic() < deadline, f"redis-server gave no answer\n{self.log()}"
            time.sleep(0.01)
        return self

    def _answers(self) -> bool:
        try:
            return not self.ask("PING").startswith("-LOADING")
        except OSError:
            return False

    def ask(self, *words: str) -> str:
        """What it replies to a command, as it comes over the socket."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self.socket))
            sock.sendall(encoded(*words))
            return sock.recv(1 << 16).decode("utf-8", "replace")

    def kill9(self) -> None:
        self.signal(signal.SIGCONT)
        self.written()
        self.signal(signal.SIGKILL)
        self._ended()

    def written(self) -> None:
        """Return once all that it has answered would outlive it.

        With ``appendfsync everysec`` it answers, but does not write, while it waits for its disk. The answer to INFO
        goes out after what had to be written before.
        """
        deadline = time.monotonic() + WITHIN
        with contextlib.suppress(OSError):  # it has ended
            while re.search("aof_pending_bio_fsync:[1-9]", self.ask("INFO", "persistence")):
                assert time.monotonic() < deadline, "the disk is still being written to"
                time.sleep(0.001)

    def keep(self) -> Path:
        """A copy of all that it has answered until now, for `fall_back`."""
        self.written()
        return Path(shutil.copytree(self.folder / "appendonlydir", self.folder / f"kept-{secrets.token_hex(4)}"))

    def fall_back(self, kept: Path) -> None:
        """Have it killed, and start with what it had then: the rest of what it has answered is forgotten."""
        self.signal(signal.SIGKILL)
        self._ended()
        shutil.rmtree(self.folder / "appendonlydir")
        shutil.copytree(kept, self.folder / "appendonlydir")
        self.start()

    def stop(self) -> None:
        """End it as a service manager does, if it runs.

        Redis forgets a SIGTERM that comes while it writes its first append-only file, as a new replica does.
        """
        if self._popen is not None:
            self.signal(signal.SIGCONT)
            deadline = time.monotonic() + WITHIN
            while not self.gone() and time.monotonic() < deadline:
                self.signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._popen.wait(1.0)
            self._ended()
        shutil.rmtree(self.socket.parent, ignore_errors=True)

    def signal(self, number: int) -> None:
        if self._popen is not None:
            self._popen.send_signal(number)

    def gone(self) -> bool:
        """Whether it has ended by itself."""
        return self._popen is not None and self._popen.poll() is not None

    def wait(self) -> None:
        """Until it has ended."""
        self._ended()

    def log(self) -> str:
        return (self.folder / "redis.log").read_text("utf-8", "replace")[-4000:]

    def _ended(self) -> None:
        if self._popen is not None:
            popen, self._popen = self._popen, None
            popen.wait(WITHIN)


def encoded(*words: str) -> bytes:
    """A command in Redis' protocol."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Start(Protocol):
    """What the fixture `start` gives."""

    def __call__(self, *settings: str, port: int | None = None, sentinel: str = "") -> RedisServer: ...


_shared: list[RedisServer] = []


def shared() -> RedisServer:
    """The server of all tests that do it no harm; `stop_shared` ends it."""
    if not _shared:
        needs_redis()
        _shared.append(RedisServer(Path(tempfile.mkdtemp(prefix="ngpu-tests-"))).start())
    return _shared[0]


def block(server: RedisServer | None = None) -> dict[str, str]:
    """A configuration's ``store``, with keys of its own; of the shared server, unless one is given."""
    return {"kind": "redis", "url": (server or shared()).url, "prefix": secrets.token_hex(4), "lease": "1s"}


def stop_shared() -> None:
    while _shared:
        server = _shared.pop()
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)
