"""Starts gateways by fork: it has imported what `ngpu run` imports, which is most of what a start costs.

    python fork_server.py

Standard input is a socket (SOCK_SEQPACKET). Each message is one start, in JSON: `arguments` (after ``python``: ``-m``,
a module's name and what the module is told), `cwd`, `env`, and `fds`, the numbers that the passed descriptors are to
have in the child. With it come these descriptors, and before them the write end of a pipe: the child's process ID is
written there, and its exit code (as `subprocess` counts them) once it has ended, a line each. The child leads a
session of its own, and runs the module as ``python -m`` does. When the socket's other end closes, all are killed.

No reactor is made here, and no thread: a child makes its own, as if nothing had been imported.
"""

from __future__ import annotations

import array
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any

REACTOR = "twisted.internet.reactor"
EARLY = ("ngpu.cli.running", "twisted.scripts.twistd", "twisted.internet", "ngpu.tap")
LATE = (
    # what a gateway imports only once it is needed
    "docker",
    "docker.transport",
    "argparse",
    "ngpu.demo.worker",
    "ngpu.engines.docker",
    "ngpu.stores.redis",
    "ngpu.stores.sqlite",
    "twisted.application.app",
    "twisted.cred.strcred",
    "twisted.scripts._twistd_unix",
    "twisted.trial.itrial",
    "twisted.words.iwords",
    "zoneinfo",
)
MESSAGE = 1 << 20
MOST_FDS = 64


class StandIn(ModuleType):
    """For the reactor, which klein and txredisapi ask for at import: its methods are those of the child's, later."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return partial(_ask, name)


def _ask(name: str, *args: Any, **kwargs: Any) -> Any:
    from twisted.internet import reactor

    return getattr(reactor, name)(*args, **kwargs)


def import_all() -> None:
    """Everything but the reactor."""
    import twisted.internet

    sys.modules[REACTOR] = twisted.internet.reactor = StandIn(REACTOR)  # type: ignore[attr-defined]
    for name in (*EARLY, *LATE):
        importlib.import_module(name)
    from twisted.application.service import IServiceMaker
    from twisted.plugin import getPlugins

    from ngpu.discovery import discover

    list(getPlugins(IServiceMaker))
    discover(())
    del sys.modules[REACTOR], twisted.internet.reactor  # type: ignore[attr-defined]


class Asked:
    """One start: the message, and the descriptors that came with it."""

    def __init__(self, message: bytes, descriptors: list[int]) -> None:
        words = json.loads(message)
        self.arguments: list[str] = words["arguments"]
        self.cwd: str = words["cwd"]
        self.env: dict[str, str] = words["env"]
        self.told, *self.passed = descriptors
        self.stdio = self.passed[:3]
        self.wanted: dict[int, int] = dict(zip(self.passed[3:], words["fds"], strict=True))

    def close(self) -> None:
        """Forget the descriptors that are the child's."""
        for descriptor in self.passed:
            os.close(descriptor)

    def become(self) -> None:
        """Be the child: all but running the module."""
        os.setsid()
        for number, descriptor in enumerate(self.stdio):
            os.dup2(descriptor, number)
        moved = {}
        for descriptor, wanted in self.wanted.items():
            # first out of the way of all that are wanted, then to its place
            moved[wanted] = _above(descriptor, max(self.wanted.values(), default=0) + 1)
        kept = {0, 1, 2}
        for wanted, descriptor in moved.items():
            os.dup2(descriptor, wanted)
            kept.add(wanted)
        for entry in os.listdir("/proc/self/fd"):
            if int(entry) not in kept:
                with suppress(OSError):
                    os.close(int(entry))
        os.environ.clear()
        os.environ.update(self.env)
        time.tzset()
        os.chdir(self.cwd)
        sys.orig_argv = [sys.executable, *self.arguments]
        sys.argv = ["-m", *self.arguments[2:]]
        sys.path[0] = self.cwd


def _above(descriptor: int, lowest: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD, lowest)


class Server:
    """Forks as it is asked to, and tells how each child ended.

    :ivar children: the pipe and the process ID of each, by a descriptor that is readable once it has ended.
    """

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self.children: dict[int, tuple[int, int]] = {}

    def serve(self) -> str | None:
        """:returns: in a child, the name of the module that it is to run; None at the end."""
        while True:
            ready, _, _ = select.select([self._requests, *self.children], [], [])
            for descriptor in ready:
                if descriptor is not self._requests:
                    self._ended(descriptor)
            if self._requests in ready:
                asked = self._asked()
                if asked is None:
                    return self._end()
                if name := self._fork(asked):
                    return name

    def _asked(self) -> Asked | None:
        room = socket.CMSG_SPACE(MOST_FDS * array.array("i").itemsize)
        message, extra, _, _ = self._requests.recvmsg(MESSAGE, room)
        if not message:
            return None
        descriptors = array.array("i")
        for _, _, data in extra:
            descriptors.frombytes(data)
        return Asked(message, descriptors.tolist())

    def _fork(self, asked: Asked) -> str:
        child = os.fork()
        if child == 0:
            asked.become()
            return asked.arguments[1]
        asked.close()
        self.children[os.pidfd_open(child)] = (asked.told, child)
        os.write(asked.told, b"%d\n" % child)
        return ""

    def _ended(self, descriptor: int) -> None:
        told, child = self.children.pop(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(child, 0)
        with suppress(OSError):
            os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(told)

    def _end(self) -> None:
        for _, child in self.children.values():
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)


def main() -> None:
    """Serve; a child comes back from it, and runs its module."""
    sys.path[0] = os.getcwd()
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which ends us
    import_all()
    gc.collect()
    gc.freeze()
    requests = socket.socket(fileno=os.dup(0))
    name = Server(requests).serve()
    if name is not None:
        requests.detach()
        signal.signal(signal.SIGINT, interrupted)
        runpy.run_module(name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
