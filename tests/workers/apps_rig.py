"""A gateway with apps, whatever workers a test starts, and what a published client of sadTalker does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import requests
from api_rig import HOLDER, NODES, Client, configuration, eventually, right
from processes import Gateway, Processes, running
from stand_in import StandIn

S = TypeVar("S", bound=StandIn)
HEAD, VIDEO, SPEECH = "367614711220405248", "367614711220405249", "367614711220405250"
"""Workspaces of the talking heads, and of their text to speech."""

WITHIN = 20.0


def workspace(id: str, ports: dict[int, int], **keys: Any) -> dict[str, Any]:
    """One replica that runs already: declared port → where it listens."""
    upstream = [{"node": NODES[0], "ports": ports}]
    health = {"interval": "100ms", "timeout": "2s"}
    return {"id": id, "ports": dict.fromkeys(ports, 4040), "upstream": upstream, "health": health, **keys}


def talking(adapter: str, of: str, **tts: Any) -> dict[str, Any]:
    """The app's block, as docs/plugins.md has it, but for how often it asks."""
    options = {"tts": {"workspace": SPEECH, "port": 7990, "kind": "edge_tts", **tts}, "interval": "50ms"}
    return {"adapter": adapter, "workspace": of, "port": 8075, "options": options}


class Apps:
    """What a test has started.

    :ivar allow: egress.allow; the stand-ins listen on loopback.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._workers: list[StandIn] = []
        self.started = False
        self.gateway: Gateway
        self.allow = ["127.0.0.0/8"]

    @classmethod
    @contextmanager
    def begun(cls, folder: Path) -> Iterator[Apps]:
        with running(folder) as processes:
            apps = cls(processes)
            try:
                yield apps
            finally:
                for worker in apps._workers:
                    worker.stop()

    def worker(self, worker: S) -> S:
        self._workers.append(worker)
        return worker.start()

    def start(self, *workspaces: dict[str, Any], apps: dict[str, Any], **keys: Any) -> Client:
        """The gateway; a client that shows no credential."""
        egress = {"allow": self.allow}
        self.gateway = self._processes.start_gateway(configuration(*workspaces, apps=apps, egress=egress, **keys))
        self.started = True
        return self.client()

    def client(self, credential: str | None = None) -> Client:
        return Client(self.gateway.url, credential)


def flat(url: str, **more: Any) -> dict[str, Any]:
    """The body that published clients send to sadTalker."""
    return {
        "image_url": url,
        "text": "你好，我是马斯克。",
        "pronouncer": "en-US-GuyNeural",
        "backGroundName": "laba",
        "btc_address": HOLDER,
        **more,
    }


def submit(client: Client, body: dict[str, Any], app: str = "sadTalker") -> str:
    """What published clients do with the reply: HTTP 200, and ``task_id``."""
    reply = right(client.ask("POST", f"/user/{app}", json=body))
    assert reply["result_code"] == 200 and reply["task_id"] == reply["taskID"] == reply["taskId"]
    return str(reply["task_id"])


def status(client: Client, task_id: str, app: str = "sadTalker") -> dict[str, Any]:
    """STATUS, which is HTTP 200 with numbers as codes, whatever it tells."""
    return right(client.ask("GET", f"/user/{app}?taskID={task_id}"))


def followed(client: Client, task_id: str, app: str = "sadTalker") -> dict[str, Any]:
    """The last STATUS of a job, asked for as published pollers do: 101 and 102 go on, all else ends."""
    deadline = time.monotonic() + WITHIN
    while (told := status(client, task_id, app))["result_code"] in (101, 102):
        assert time.monotonic() < deadline, told
        time.sleep(0.03)
    return told


def has_state(client: Client, task_id: str, state: int) -> None:
    eventually(lambda: client.detailed(task_id)["state"] == state, f"state {state}", WITHIN)


def fetched(url: str) -> bytes:
    return requests.get(url, timeout=5).content
