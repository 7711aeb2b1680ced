"""A gateway as its customers see it: its process, scripted workers behind it, and a client that speaks the contract."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import requests
from processes import Gateway, running
from scripted_worker import ScriptedWorker

T = TypeVar("T")
NODES = (
    "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13",
    "0xf54B48DBD69d4f0841e458a551422Cf8eC1DEaaa",
    "0xCac10F51814E8e425a6877951fecb7746161c669",
)
HOLDER = "bc1pp8vyhh2ma0ntzjwr26xxrn5r0w296yu68wdwle5rrhgtv3a2lgkqtyayus"
NO_HOLDER = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
PLACEHOLDER = "0000000000000000000000000GFg7xJaNVN2"
PORT = 8080
WITHIN = 40.0
"""Seconds of patience, nobody's promise: with four files of tests side by side a start takes several times as long."""


def eventually(true: Callable[[], T], what: str, within: float = WITHIN) -> T:
    """What ``true`` gives once it is something."""
    deadline = time.monotonic() + within
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.02)
    return found


def key_hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def workspace(id: str, *workers: int, **keys: Any) -> dict[str, Any]:
    """A block of ``workspaces``: one replica a worker (by its port), each on a node of its own."""
    upstream = [{"node": node, "ports": {PORT: port}} for node, port in zip(NODES, workers, strict=False)]
    health = {"interval": "200ms", "timeout": "2s"}
    return {"id": id, "ports": {PORT: 7860}, "upstream": upstream, "health": health, **keys}


def configuration(*workspaces: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A configuration with the three nodes and a gate that one address passes."""
    gate = {"checker": "static", "options": {"balances": {HOLDER: {"AINN": "100.9"}}}, "tickers": ["AINN"]}
    nodes = [{"address": node, "host": "127.0.0.1"} for node in NODES]
    return {"nodes": nodes, "workspaces": list(workspaces), "gates": {"ainn": gate}, **keys}


class Client:
    """A customer's program: knows the address, shows a credential or none."""

    def __init__(self, url: str, credential: str | None = None) -> None:
        self.url = url
        self.credential = credential
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """One call, as it comes back. ``path`` may hold a query, sent as it stands."""
        headers = dict(more.pop("headers", {}))
        if self.credential is not None and "Authorization" not in headers:
            headers["Authorization"] = self.credential
        return self._session.request(
            method, self.url + path, headers=headers, allow_redirects=False, timeout=60, **more
        )

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """A GET that must succeed."""
        return right(self.ask("GET", path, params=params))

    def send(self, url: str | None = None, data: Any = "x", **more: Any) -> requests.Response:
        """schedulingTask; ``params`` and ``headers`` add to it, ``address`` is the btc_address."""
        params = {"paramUrl": url, **more.pop("params", {})}
        body = {"data": data, **({"btc_address": more.pop("address")} if "address" in more else {})}
        return self.ask("POST", "/user/schedulingTask", params=params, json=body, **more)

    def submit(self, url: str | None = None, data: Any = "x", **more: Any) -> str:
        """An async task's id."""
        task_id: str = right(self.send(url, data, **more))["taskID"]
        return task_id

    def query(self, task_id: str) -> dict[str, Any]:
        return self.get("/user/queryTask", taskID=task_id)

    def detailed(self, task_id: str) -> dict[str, Any]:
        info: dict[str, Any] = self.get("/user/getDetailed", taskID=task_id)["taskInfo"]
        return info

    def status(self, task_id: str) -> str:
        return str(self.query(task_id)["status"])

    def ended(self, task_id: str, within: float = WITHIN) -> dict[str, Any]:
        """queryTask's reply once the task has ended, asked for as published pollers do."""

        def poll() -> dict[str, Any] | None:
            reply = self.query(task_id)
            return reply if reply["result_size"] else None

        return eventually(poll, f"the end of {task_id}", within)

    def listed(self, **params: Any) -> list[str]:
        ids: list[str] = self.get("/user/queryTaskList", **params)["taskIds"]
        return ids


class Rig:
    """One gateway and its workers, for all tests of a module."""

    def __init__(self, gateway: Gateway, workers: list[ScriptedWorker]) -> None:
        self.gateway = gateway
        self.workers = workers

    @property
    def worker(self) -> ScriptedWorker:
        return self.workers[0]

    def client(self, credential: str | None = None) -> Client:
        return Client(self.gateway.url, credential)

    def admin(self, path: str, token: str | None = None) -> requests.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.get(self.gateway.admin + path, headers=headers, timeout=10)

    @property
    def token(self) -> str:
        return (self.gateway.config_file.parent / "var/admin.token").read_text().strip()

    def raw(self, *pieces: bytes, end: bool = False) -> bytes:
        """Everything that comes back for these bytes until the gateway closes, or the reply is whole."""
        with socket.create_connection(self.address, 10) as sock:
            for piece in pieces:
                sock.sendall(piece)
            return read_reply(sock)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.gateway.url.removeprefix("http://").partition(":")
        return host, int(port)

    def log_lines(self) -> list[dict[str, Any]]:
        """The access log so far; a line that is being written is not there yet."""
        lines = self.gateway.log.read_text("utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]


@contextmanager
def rig_of(
    folder: Path,
    workers: int,
    make: Callable[[list[int]], Mapping[str, Any]],
    env: Mapping[str, str] | None = None,
) -> Iterator[Rig]:
    """A rig with so many workers; ``make`` gets their ports and gives the configuration."""
    started: list[ScriptedWorker] = []
    try:
        started.extend(ScriptedWorker().start() for _ in range(workers))
        with running(folder) as processes:
            config = make([worker.port for worker in started])
            yield Rig(processes.start_gateway(config, env=env), started)
    finally:
        for worker in started:
            worker.stop()


def right(response: requests.Response) -> dict[str, Any]:
    """The body of a reply that succeeds, as the contract has it: HTTP 200 and a JSON object."""
    assert response.status_code == 200, f"{response.status_code}: {response.text[:500]}"
    assert response.headers["Content-Type"] == "application/json"
    body: dict[str, Any] = response.json()
    return body


def refused(response: requests.Response, status: int) -> str:
    """The message of a reply that fails with this status, in both places where clients look for it."""
    assert response.status_code == status, f"{response.status_code}: {response.text[:500]}"
    body = response.json()
    assert body["result_code"] == status and type(body["result_code"]) is int
    assert isinstance(body["msg"], str) and body["msg"]
    return str(body["msg"])


def read_reply(sock: socket.socket) -> bytes:
    """One whole reply with a Content-Length, or all there is when the connection ends first."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    wanted = int(lengths[0].split(b":")[1]) if lengths else 1 << 60
    while len(body) < wanted and (piece := sock.recv(65536)):
        body += piece
    return head + b"\r\n\r\n" + body
