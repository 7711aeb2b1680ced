"""One Docker daemon of a test's own, and the certificates with which it is asked."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
READY_WITHIN, STOPPED_WITHIN = 60.0, 30.0


def run(*command: str) -> str:
    """What a command prints.

    :raises AssertionError: with what it said, when it fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": SYSTEM_PATH}, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
    return done.stdout


def wait_until(holds: Callable[[], bool], within: float, what: Callable[[], str]) -> None:
    """Look again and again until something holds.

    :raises AssertionError: with ``what``, when it does not in time.
    """
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what()}"
        time.sleep(0.02)


class Certificates:
    """An authority, and certificates of it for the daemons of a bed and for who asks them."""

    def __init__(self, folder: Path, hosts: list[str], name: str = "localhost") -> None:
        self.folder = folder
        folder.mkdir()
        self.ca = folder / "ca.pem"
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        authority = ("-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", str(folder / "ca.key"))
        run("openssl", "req", *new, *authority, "-out", str(self.ca))
        names = ",".join([f"DNS:{name}", *(f"IP:{host}" for host in hosts)])
        self.server = self._make(new, "server", f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
        self.client = self._make(new, "client", "extendedKeyUsage=clientAuth\n")

    def _make(self, new: tuple[str, ...], name: str, extensions: str) -> tuple[Path, Path]:
        key, request, made = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        (self.folder / "extensions").write_text(extensions)
        run("openssl", "req", *new, "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request))
        signer = ("-CA", str(self.ca), "-CAkey", str(self.folder / "ca.key"), "-CAcreateserial", "-days", "2")
        extended = ("-extfile", str(self.folder / "extensions"))
        run("openssl", "x509", "-req", "-in", str(request), *signer, *extended, "-out", str(made))
        return made, key


class Engine:
    """One daemon. ``url`` is its socket, ``tcp`` its port, with mutual TLS where the bed has ``certificates``.

    :ivar disk: the size of a disk in memory, such as ``60m``, that it has in place of a folder; new after each start.
    :ivar host: where ports that its containers publish are reached.
    """

    def __init__(self, folder: Path, name: str, network: list[str], enter: list[str], host: str, tcp: int) -> None:
        self.folder, self.name, self.host = folder, name, host
        self.socket = folder / "docker.sock"
        self.url = f"unix://{self.socket}"
        self.tcp = f"tcp://{host}:{tcp}"
        self.certificates: Certificates | None = None
        self.disk = ""
        self._network, self._enter = network, enter
        self._first: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    def launch(self) -> Self:
        """Start it, as after the machine's boot; containers that are to run do so again."""
        shutil.rmtree(self.folder / "exec", ignore_errors=True)  # as a boot empties /run
        (self.folder / "pid").unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)
        script = "mkdir -p /run/containerd && mount -t tmpfs none /run/containerd; "
        if self.disk:
            script += f"mkdir -p {self.folder}/data && mount -t tmpfs -o size={self.disk} none {self.folder}/data; "
        script += '"$@" & wait $!'
        first = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c", script, "sh"]
        with (self.folder / "log").open("ab") as log:
            self._first = subprocess.Popen(
                [
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    *self._enter,
                    *first,
                    *self._command(),
                ],  # nor may it outlive the tests
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PATH": SYSTEM_PATH},
            )
        return self

    def start(self) -> Self:
        """``launch`` it and wait until it answers."""
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Return once it answers."""
        assert self._first is not None
        first = self._first
        wait_until(lambda: self.answers() or first.poll() is not None, READY_WITHIN, self.tail)
        assert first.poll() is None, f"{self.name} ended: {self.tail()}"

    def _command(self) -> list[str]:
        folder = self.folder
        command = ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
        command += ["--pidfile", f"{folder}/pid", "--host", self.url, "--host", self.tcp]
        command += ["--cgroup-parent", f"/{self.name}", "--shutdown-timeout", "3", "--log-level", "warn"]
        if self.certificates is None:
            command += ["--tls=false"]
        else:
            cert, key = self.certificates.server
            command += ["--tlsverify", "--tlscacert", str(self.certificates.ca)]
            command += ["--tlscert", str(cert), "--tlskey", str(key)]
        return command + self._network

    def answers(self) -> bool:
        """Whether it does so now, at its socket."""
        try:
            return self._get("/_ping", 2)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def containers(self, *labels: str, ended: bool = True) -> list[dict[str, Any]]:
        """All that have these labels (``name=value``), as its API has them.

        :param ended: those that do not run, too.
        """
        filters = urlencode({"all": int(ended), "filters": json.dumps({"label": labels})})
        status, body = self._get(f"/containers/json?{filters}", 60)
        assert status == 200, body
        found: list[dict[str, Any]] = json.loads(body)
        return found

    def _get(self, path: str, timeout: float) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(timeout)
        try:
            connection.sock.connect(str(self.socket))
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def kill(self) -> None:
        """Cut its power: the daemon and its containers end without a word."""
        if self._first is not None:
            first, self._first = self._first, None
            inside = _children(first.pid)
            first.kill()
            first.wait(STOPPED_WITHIN)
            # the first process of a namespace is the last one that is gone
            wait_until(lambda: not any(map(_is_alive, inside)), STOPPED_WITHIN, self.tail)

    def stop(self) -> None:
        """Let it end its containers and itself (TERM)."""
        if self._first is not None and self._first.poll() is None:
            with suppress(ProcessLookupError, AssertionError):
                os.kill(self.pid, signal.SIGCONT)
                os.kill(self.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._first.wait(STOPPED_WITHIN)
        self.kill()

    @property
    def pid(self) -> int:
        """The daemon's, as seen from outside of its namespace."""
        assert self._first is not None
        parent = self._first.pid
        for _ in range(5):  # unshare, sh, dockerd
            children = _children(parent)
            assert children, f"{self.name} does not run: {self.tail()}"
            parent = children[0]
            if Path(f"/proc/{parent}/comm").read_text().strip() == "dockerd":
                return parent
        raise AssertionError(f"{self.name} has no daemon: {self.tail()}")

    def hang(self) -> None:
        """Stop the daemon where it stands: it takes connections and answers nothing. Its containers go on."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """End ``hang``."""
        os.kill(self.pid, signal.SIGCONT)

    def docker(self, *arguments: str) -> str:
        """What the ``docker`` command says, asked about this engine."""
        return run("docker", "--host", self.url, *arguments)

    def tail(self) -> str:
        """The end of its log."""
        log = self.folder / "log"
        return log.read_text("utf-8", "replace")[-3000:] if log.exists() else "no log"

    def clean(self) -> None:
        """Remove its empty cgroups."""
        for base in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")):
            top = base / self.name
            if top.is_dir():
                for folder in sorted((each for each in top.rglob("*") if each.is_dir()), reverse=True):
                    with suppress(OSError):
                        folder.rmdir()
                with suppress(OSError):
                    top.rmdir()


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
