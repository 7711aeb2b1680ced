"""Programs of ngpu's that are started by fork (tests/fork_server.py), for a tenth of what a start costs otherwise.

NGPU_TRUE_STARTS=1 in the environment has everything started as users start it.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

PROGRAM = Path(__file__).with_name("fork_server.py")
READ_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_")
"""Variables that begin so are read by the interpreter as it starts: to change them takes a start."""


class Forked:
    """A child of the fork server's; what of `subprocess.Popen` is used of it.

    :param told: where the fork server tells its process ID, and its exit code once it has ended.
    """

    def __init__(self, told: int) -> None:
        self._told = told
        self._text = b""
        self.returncode: int | None = None
        self.pid = self._number()

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        if self.returncode is None and self._is_told(0):
            self.returncode = self._number()
            os.close(self._told)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code.

        :param timeout: seconds.
        :raises subprocess.TimeoutExpired: it is still there.
        """
        if self.returncode is None and not self._is_told(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)

    def _is_told(self, timeout: float | None) -> bool:
        poll = select.poll()
        poll.register(self._told, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def _number(self) -> int:
        while b"\n" not in self._text:
            data = os.read(self._told, 64)
            assert data, "the fork server has ended"
            self._text += data
        line, _, self._text = self._text.partition(b"\n")
        return int(line)


class ForkServer:
    """That of one process of tests; it is started with the first that is to be forked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: socket.socket | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._env: Mapping[str, str] = {}

    def can(self, env: Mapping[str, str]) -> bool:
        """Whether a program with this environment may be forked."""
        if os.environ.get("NGPU_TRUE_STARTS"):
            return False
        return _at_start(env) == _at_start(self._env if self._popen is not None else unbuffered())

    def start(
        self,
        arguments: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        output: int,
        pass_fds: Sequence[int] = (),
        errors: int | None = None,
    ) -> Forked:
        """Start ``python -m …``, which gets no input.

        :param arguments: after ``python``.
        :param output: the file descriptor that is its standard output, and error unless ``errors`` is.
        """
        told, tells = os.pipe()
        words = {"arguments": list(arguments), "cwd": str(cwd), "env": dict(env), "fds": list(pass_fds)}
        with open(os.devnull, "rb") as nothing:
            passed = array.array(
                "i", [tells, nothing.fileno(), output, output if errors is None else errors, *pass_fds]
            )
            with self._lock:
                extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
                self._running(cwd, env).sendmsg([json.dumps(words).encode()], extra)
        os.close(tells)
        return Forked(told)

    def run(self, *arguments: str, cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
        """What comes of ``python -m …``, as `subprocess.run` would tell it with ``capture_output`` and ``text``."""
        if not self.can(env := unbuffered()):
            return subprocess.run(
                [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, timeout=timeout, check=False
            )
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            child = self.start(arguments, cwd, env, out.fileno(), errors=errors.fileno())
            try:
                code = child.wait(timeout)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.wait()
                raise
            texts = []
            for file in (out, errors):
                file.seek(0)
                texts.append(file.read().decode())
        return subprocess.CompletedProcess([sys.executable, *arguments], code, *texts)

    def stop(self) -> None:
        """End it, and whatever of it is left."""
        if self._popen is not None and self._requests is not None:
            self._requests.close()
            self._popen.wait(30)
            self._popen = self._requests = None

    def _running(self, cwd: Path, env: Mapping[str, str]) -> socket.socket:
        if self._requests is None:
            self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._env = dict(env)
            with theirs:
                self._popen = subprocess.Popen(
                    [sys.executable, str(PROGRAM)],
                    stdin=theirs,
                    stdout=subprocess.DEVNULL,
                    env=self._env,
                    cwd=cwd,
                    start_new_session=True,
                )
        return self._requests


def unbuffered() -> dict[str, str]:
    """This process's environment, for programs whose output is looked at while they run."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def _at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(READ_AT_START)}


fork_server = ForkServer()
