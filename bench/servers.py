"""What ``bench/compare.py`` measures, as processes on a core of their own: ngpu as it is run, and the peers.

A :class:`Server` knows the paths of its kilobyte, of a download and of an upload, and the processor time and memory of
its whole process tree (``/proc``).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gateway import KINDS, NODE, ROOT, WORKSPACE, config, cpu_seconds
from processes import Gateway, Process, find_free_port

PEERS = ROOT / "bench/peers"
PYTHON_PEERS = {
    "aiohttp": "aiohttp_proxy.py",
    "starlette": "starlette_proxy.py",
    "twisted": "twisted_proxy.py",
    "fastapi": "fastapi_proxy.py",
}
CONFIGURED = {"nginx": ("nginx.conf", ["-c"]), "haproxy": ("haproxy.cfg", ["-db", "-f"])}
WORKER_PATH = "sdapi/v1/img2img"
SYNC_PATH = KINDS["async"].replace("&taskMode=Async", "&taskMode=Sync")
SBIN = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
NAMES = ("ngpu", "ngpu-sync", *PYTHON_PEERS, *CONFIGURED)


class Cores(NamedTuple):
    """The two processors that are used: one for the server, one for load and worker."""

    server: int
    load: int


def cores() -> Cores:
    """The first two that this process may use; the same twice where there is but one."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[min(1, len(usable) - 1)])


class Server(NamedTuple):
    """A server that runs."""

    root: str
    prefix: str
    kilobyte: str
    pid: int

    @property
    def url(self) -> str:
        """Where the load goes."""
        return self.root + self.kilobyte

    def cpu_seconds(self) -> float:
        """Processor time of the process tree so far."""
        return sum(cpu_seconds(pid) for pid in tree(self.pid))

    def memory(self, field: str = "VmRSS") -> int:
        """Kilobytes of the process tree; ``VmHWM`` is the most since :meth:`forget_peak`."""
        return sum(_status(pid, field) for pid in tree(self.pid))

    def forget_peak(self) -> None:
        """Let ``VmHWM`` begin anew."""
        for pid in tree(self.pid):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def tree(pid: int) -> list[int]:
    """A process and all that it and its threads started."""
    children = [int(one) for task in Path(f"/proc/{pid}/task").iterdir() for one in _words(task / "children")]
    return [pid, *(one for child in children for one in tree(child))]


def missing() -> list[str]:
    """Peers that are not installed here."""
    return [name for name in CONFIGURED if not shutil.which(name, path=SBIN)]


@contextmanager
def running(name: str, worker: int, folder: Path, where: Cores) -> Iterator[Server]:
    """One of ``NAMES`` in front of the worker, pinned to its core, with files in ``folder``; it ends with the block."""
    folder.mkdir()
    port = find_free_port()
    process: Process
    if name.startswith("ngpu"):
        gateway = Gateway(_config(worker), folder)
        process, root, prefix = gateway, gateway.url, "/proxy/8080"
    else:
        root, prefix = f"http://127.0.0.1:{port}", ""
        process = Process(_command(name, port, worker, folder), folder / "log", root + "/")
    os.sched_setaffinity(0, {where.server})  # a child inherits it, with all its threads
    try:
        process.start()
    finally:
        os.sched_setaffinity(0, {where.load})
    try:
        kilobyte = SYNC_PATH if name == "ngpu-sync" else f"{prefix}/{WORKER_PATH}"
        yield Server(root, prefix, kilobyte, process.pid)
    finally:
        process.kill9()


def _config(worker: int) -> dict[str, object]:
    """Limits that the load of 256 connections does not reach; all else as it is by default."""
    content = config(worker)
    content["workspaces"][0]["slots"] = 512
    assert content["nodes"][0]["address"] == NODE
    return content


def _command(name: str, port: int, worker: int, folder: Path) -> list[str]:
    if name in PYTHON_PEERS:
        return [sys.executable, str(PEERS / PYTHON_PEERS[name]), str(port), str(worker)]
    template, options = CONFIGURED[name]
    file = folder / template
    file.write_text((PEERS / template).read_text().format(port=port, worker=worker, folder=folder))
    program = shutil.which(name, path=SBIN)
    assert program is not None
    return [program, *options, str(file)]


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except FileNotFoundError:  # a thread that has ended
        return []


def _status(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


AUTHORIZATION = f"Bearer {WORKSPACE}"
