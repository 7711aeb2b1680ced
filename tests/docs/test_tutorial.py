"""The tutorial, as it stands there: files are written as it shows them, commands typed, each in its terminal."""

from __future__ import annotations

import io
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
from contextlib import ExitStack
from pathlib import Path

from desk import Desk
from docker_bed import bed_or_skip, docker_bed
from docker_engine import Engine
from markdown_page import documents, shape
from page_blocks import told
from processes import ROOT
from redis_server import needs_redis

LISTENS = {"worker": "18080", "gateway": "8081", "receiver": "9000", "redis": "6390", "second": "8091"}
"""The port at which what runs in a terminal of that name can be asked for."""

LONGEST = 60.0
"""Seconds that a command may say nothing."""

APPLETS = ("sh", "httpd", "head", "tr", "sleep", "printf")


class Terminal:
    """The one terminal in which commands come to an end, and what they set stays."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.errors = folder / "errors.log"
        with self.errors.open("wb") as errors:
            self._shell = subprocess.Popen(
                ["bash", "-euo", "pipefail"],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )

    def type(self, commands: str) -> str:
        """What they print.

        :raises AssertionError: one of them failed.
        """
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.stdin.write(f"{commands}\nprintf '\\x1e\\n'\n".encode())
        self._shell.stdin.flush()
        printed = b""
        while not printed.endswith(b"\x1e\n"):
            there, _, _ = select.select([self._shell.stdout], [], [], LONGEST)
            piece = os.read(self._shell.stdout.fileno(), 1 << 16) if there else b""
            assert piece, f"{commands}\n{printed.decode()}\n{self.errors.read_text()}"
            printed += piece
        return printed[:-2].decode()

    def close(self) -> None:
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.communicate(timeout=10)


def busybox(engine: Engine) -> None:
    """The image of that name, which everybody else's Docker fetches."""
    program = shutil.which("busybox")
    assert program is not None
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(program, "bin/busybox")
        for name in APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname, link.mode = tarfile.LNKTYPE, "bin/busybox", 0o755
            tar.addfile(link)
    command = ["docker", "-H", engine.url, "import", "-c", "ENV PATH=/bin", "-", "busybox"]
    subprocess.run(command, input=out.getvalue(), check=True, capture_output=True, timeout=30)


def test_who_follows_it_has_what_it_promises(tmp_path: Path) -> None:
    bed_or_skip()
    needs_redis()
    blocks = told("tutorial")
    checkout, folder = tmp_path / "ngpu", tmp_path / "my-gateway"
    checkout.mkdir()
    for name in (".venv", "docs"):
        (checkout / name).symlink_to(ROOT / name)
    with ExitStack() as stack:
        (engine,) = stack.enter_context(docker_bed(1)).engines
        busybox(engine)
        environment = {
            "DOCKER_HOST": engine.url,
            "NGPU_CONFIG": "ngpu.yaml",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        folder.mkdir()
        desk = Desk(folder, [*LISTENS.values(), "8080", "8090"], environment)
        terminal = Terminal(checkout, {**os.environ, "DOCKER_HOST": engine.url})
        stack.callback(terminal.close)
        running: dict[str, ExitStack] = {}
        printed = ""
        for block in blocks:
            kind, _, name = block.kind.partition(" ")
            text = desk.here(block.text).replace("unix:///run/docker.sock", engine.url)
            if name in LISTENS:
                if name == "gateway" and name in running:
                    running.pop(name).close()
                running[name] = stack.enter_context(ExitStack())
                running[name].enter_context(desk.terminal(text))
                wait_for(desk, name)
            elif name:
                (folder / name).write_text(text)
            elif kind == "sh":
                printed = terminal.type(text)
            elif kind == "json":
                assert shape(documents(printed)) == shape(documents(block.text))
                (said,), (shown,) = documents(printed), documents(block.text)
                assert (said.get("data"), said.get("msg")) == (shown.get("data"), shown.get("msg"))
            else:
                assert kind == "text" and printed == text
        assert (folder / "result.png").read_bytes().startswith(b"\x89PNG")
        desk.until(lambda: not engine.docker("ps", "-aq").strip(), "gone: the containers")


def wait_for(desk: Desk, name: str) -> None:
    """Until what was started in a terminal serves."""
    port = LISTENS[name]
    speaks = desk.is_ready if name not in ("redis", "receiver") else lambda port: is_there(desk.ports[port])
    desk.until(lambda: speaks(port), f"ready: {name}")


def is_there(port: str) -> bool:
    """Whether anybody listens."""
    try:
        socket.create_connection(("127.0.0.1", int(port)), 2).close()
    except OSError:
        return False
    return True
