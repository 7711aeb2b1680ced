"""A registry of images for tests: the real program, filled over HTTP without an engine."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
USERNAME, PASSWORD = "puller", "let-me-in"
HASHED = "$2y$05$abcdefghijklmnopqrstuu3Jd./u/rH1RxB6auX5v7gLP6uWhKCgG"
"""The bcrypt hash of PASSWORD, which is all that a registry's file of users may hold."""


class Registry:
    """``docker-registry`` over a folder.

    :param login: whether it asks for USERNAME and PASSWORD.
    """

    def __init__(self, folder: Path, address: str, port: int, login: bool = False) -> None:
        self.folder, self.login = folder, login
        self.host = f"{address}:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._blobs: dict[str, str] = {}  # by digest, a repository that has it
        folder.mkdir()

    def launch(self, path: str) -> None:
        """Start it."""
        users = ""
        if self.login:
            (self.folder / "users").write_text(f"{USERNAME}:{HASHED}\n")
            users = f"auth: {{htpasswd: {{realm: test, path: {self.folder}/users}}}}\n"
        (self.folder / "registry.yml").write_text(
            "version: 0.1\nlog: {level: warn}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.folder}/data}}}}\n"
            f"http: {{addr: '{self.host}'}}\n{users}"
        )
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(self.folder / "registry.yml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": path},
            )

    def wait_ready(self) -> None:
        """Return once it takes connections."""
        address, _, port = self.host.rpartition(":")
        deadline = time.monotonic() + 20
        while True:
            with suppress(OSError):
                socket.create_connection((address, int(port)), 1).close()
                return
            assert self._process is not None and self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the registry did not start"
            time.sleep(0.02)

    def start(self, path: str) -> None:
        """Start it, and return once it takes connections."""
        self.launch(path)
        self.wait_ready()

    def stop(self) -> None:
        """End it; its images stay."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait(10)

    @contextmanager
    def slowed(self) -> Iterator[None]:
        """It works for a twentieth of the time, so that what takes images in is seen at it."""
        assert self._process is not None
        process, ended = self._process, threading.Event()

        def slow() -> None:
            while not ended.wait(0.01):
                process.send_signal(signal.SIGSTOP)
                ended.wait(0.19)
                process.send_signal(signal.SIGCONT)

        thread = threading.Thread(target=slow)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def push(self, name: str, layers: list[bytes], config: dict[str, Any] | None = None) -> str:
        """Put an image in.

        :param name: with its tag, without the registry's host.
        :param layers: tars.
        :returns: its reference with its digest.
        """
        repository, _, tag = name.partition(":")
        digests = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        described = {
            "architecture": "amd64",
            "os": "linux",
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": digests},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._blob(repository, json.dumps(described).encode(), CONFIG),
            "layers": [self._blob(repository, _compressed(layer), LAYER) for layer in layers],
        }
        text = json.dumps(manifest).encode()
        put = self._ask("PUT", f"/v2/{repository}/manifests/{tag}", data=text, headers={"Content-Type": MANIFEST})
        return f"{self.host}/{repository}@{put.headers['Docker-Content-Digest']}"

    def _blob(self, repository: str, data: bytes, kind: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        there = self._blobs.setdefault(digest, repository)
        mount = f"?mount={digest}&from={there}" if there != repository else ""
        begun = self._ask("POST", f"/v2/{repository}/blobs/uploads/{mount}")
        if begun.status_code != requests.codes.created:  # else it has taken the other repository's
            place = begun.headers["Location"]
            self._ask("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", data=data)
        return {"mediaType": kind, "size": len(data), "digest": digest}

    def _ask(self, method: str, path: str, **fields: Any) -> requests.Response:
        url = path if path.startswith("http") else f"http://{self.host}{path}"
        login = (USERNAME, PASSWORD) if self.login else None
        answer = requests.request(method, url, auth=login, timeout=30, **fields)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer


@functools.lru_cache(8)
def _compressed(layer: bytes) -> bytes:
    """Most images have one layer in common."""
    return gzip.compress(layer, 1, mtime=0)
