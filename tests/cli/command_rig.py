"""The `ngpu` command as its users meet it: typed at a gateway that runs, with what it prints and how it ends."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import ROOT, Gateway, Processes, Worker, find_free_port, running

from ngpu.cli import main

NODE = "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
KEY, WORKSPACE = "the-key", "4711"
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQAAAAA3iMLMAAAAFElEQVR42mPkZ2BigCLGD0hsHOIAMiICGzhEDdAAAAAASUVORK5CYII="
JOB = {"prompt": "a cat", "init_images": [PICTURE]}


@dataclass(frozen=True)
class Typed:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


class _Text(io.TextIOWrapper):
    """Text in memory that takes bytes too, as standard output does."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), "utf-8", newline="", write_through=True)

    def text(self) -> str:
        buffer: Any = self.buffer
        return str(buffer.getvalue().decode("utf-8", "replace"))


def typed(*arguments: str, **env: str) -> Typed:
    """What comes of a command, in this process: all of it but the interpreter's start."""
    out, err = _Text(), _Text()
    before = dict(os.environ)
    os.environ.update(env)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(list(arguments), prog_name="ngpu")
            except SystemExit as error:
                code = error.code
    finally:
        os.environ.clear()
        os.environ.update(before)
    return Typed(int(code or 0), out.text(), err.text())


def command(*arguments: str) -> list[str]:
    """A command line of a process of its own."""
    return [sys.executable, "-m", "ngpu.cli", *arguments]


def seen(
    *arguments: str, answers: str = "", interrupted_after: str = "", env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """How a command ends that is typed at a terminal, and what it paints there.

    :param answers: what its user types.
    :param interrupted_after: once this is to be seen, Ctrl-C is pressed.
    """
    ours, theirs = pty.openpty()
    settings = {**os.environ, "TERM": "xterm", "COLUMNS": "120", **(env or {})}
    process = subprocess.Popen(
        command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=settings, cwd=ROOT, start_new_session=True
    )
    os.close(theirs)
    painted = b""
    try:
        os.write(ours, answers.encode())
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end was closed
                break
            if not piece:
                break
            painted += piece
            if interrupted_after and interrupted_after.encode() in painted:
                process.send_signal(signal.SIGINT)
                interrupted_after = ""
        return process.wait(20), painted.decode("utf-8", "replace")
    finally:
        process.kill()
        os.close(ours)


class CommandRig:
    """A gateway with one workspace, which one demo worker serves, and another one that nobody serves."""

    def __init__(self, gateway: Gateway, worker: Worker) -> None:
        self.gateway = gateway
        self.worker = worker

    @property
    def config(self) -> str:
        return str(self.gateway.config_file)

    def admin(self, *arguments: str) -> Typed:
        """A command of its operator."""
        return typed(*arguments, "-c", self.config)

    def customer(self, *arguments: str) -> Typed:
        """A command of its customer."""
        return typed(*arguments, NGPU_URL=self.gateway.url, NGPU_KEY=KEY)

    def json(self, *arguments: str) -> Any:
        """What a command of its operator prints for programs."""
        done = self.admin(*arguments, "--json")
        assert done.code == 0, done
        return json.loads(done.out)

    def submitted(self, **data: Any) -> str:
        """The id of a task that was submitted."""
        done = self.customer("submit", "-d", json.dumps({**JOB, **data}))
        assert done.code == 0, done
        return done.out.strip()


@contextmanager
def running_rig(folder: Path) -> Iterator[CommandRig]:
    """A rig that ends with the block."""
    with running(folder) as processes:
        yield started(processes)


def started(processes: Processes) -> CommandRig:
    """A gateway that is ready."""
    worker = processes.start_worker()
    nodes = [{"address": NODE, "host": "127.0.0.1"}]
    health = {"interval": "200ms"}
    keys = [hashlib.sha256(KEY.encode()).hexdigest()]
    ours = {"upstream": [{"node": NODE, "ports": {8080: worker.port}}], "path": "sdapi/v1/img2img", "slots": 4}
    painting = {"id": WORKSPACE, "name": "painting", "keys": keys, "ports": {8080: 80}, "health": health, **ours}
    nobodys = {"upstream": [{"node": NODE, "ports": {8080: find_free_port()}}]}
    nobody = {"id": "nobody", "name": "idle", "ports": {8080: 80}, "health": health, **nobodys}
    gateway = processes.start_gateway({"nodes": nodes, "workspaces": [painting, nobody]})
    return CommandRig(gateway, worker)
