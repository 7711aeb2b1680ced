"""Customers that go on whatever happens to the gateways, and remember what was promised to them."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import requests
from scripted_worker import script

ONCE, CONNECT, AGAIN = "once", "connect", "again"
WORKSPACES = (ONCE, CONNECT, AGAIN)
"""One each for ``retry: never``, ``connect`` and ``idempotent``."""

TIMEOUT = 12.0
"""Seconds after which a customer gives a call up."""

ENDS = frozenset({"finished", "failed", "cancelled", "expired"})


@dataclass
class Promised:
    """What customers know for certain.

    :ivar markers: task id → marker, of each task whose id was answered.
    :ivar keyed: marker → ids that its Idempotency-Key was answered with.
    :ivar cancelled: ids whose cancel was confirmed.
    :ivar ends: ids → every end that a customer was told of.
    :ivar hooked: ids of tasks with a webhook.
    :ivar counts: calls by kind, and refusals by status.
    """

    markers: dict[str, str] = field(default_factory=dict)
    keyed: dict[str, set[str]] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    ends: dict[str, set[str]] = field(default_factory=dict)
    hooked: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Customers:
    """So many threads of them.

    :param urls: of the gateways; each call goes to any of them.
    :param hook: the URL of a receiver of webhooks, "" for none.
    :param pace: seconds between two calls of a customer, at most.
    """

    def __init__(self, urls: list[str], journal: Path, seed: int, count: int, hook: str, pace: float) -> None:
        self.promised = Promised()
        self._urls = urls
        self._hook = hook
        self._pace = pace
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._journal = journal.open("a")
        self._threads = [
            threading.Thread(target=self._live, args=(random.Random(f"{seed} {index}"),), daemon=True)
            for index in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        self._journal.close()

    def _live(self, rng: random.Random) -> None:
        acts: dict[Callable[[random.Random], None], int] = {
            self._submit: 8,
            self._with_key: 5,
            self._sync: 2,
            self._raw: 2,
            self._wait: 2,
            self._cancel: 2,
            self._poll: 4,
            self._stream: 1,
        }
        while not self._stop.is_set():
            act = rng.choices(list(acts), list(acts.values()))[0]
            self.promised.counts[act.__name__.strip("_")] += 1
            try:
                act(rng)
            except (requests.RequestException, ValueError, KeyError):
                self.promised.counts["broken off"] += 1
                self._stop.wait(0.1)
            self._stop.wait(rng.uniform(0, self._pace))

    def _new(self, rng: random.Random) -> tuple[str, str, str]:
        """Workspace, marker, and what the worker is to do."""
        workspace = rng.choice(WORKSPACES)
        marker = f"{workspace}-{next(self._numbers)}"
        return workspace, marker, script(marker=marker, delay=rng.choice([0.01, 0.05, 0.3, 1.0]), body=marker.encode())

    def _ask(self, rng: random.Random, method: str, path: str, workspace: str, **more: Any) -> requests.Response:
        headers = {"Authorization": workspace, **more.pop("headers", {})}
        url = rng.choice(self._urls) + path
        reply = requests.request(method, url, headers=headers, timeout=TIMEOUT, allow_redirects=False, **more)
        if reply.status_code != 200:
            self.promised.counts[f"HTTP {reply.status_code}"] += 1
        return reply

    def _send(self, rng: random.Random, workspace: str, orders: str, params: dict[str, str], **more: Any) -> Any:
        params = {"paramUrl": orders, **params}
        reply = self._ask(rng, "POST", "/user/schedulingTask", workspace, params=params, json={"data": "x"}, **more)
        return reply.json() if reply.status_code == 200 else None

    def _accepted(self, task_id: str, marker: str, hooked: bool = False) -> None:
        with self._lock:
            self.promised.markers[task_id] = marker
            if hooked:
                self.promised.hooked.add(task_id)
            self._journal.write(f"{task_id} {marker}\n")
            self._journal.flush()

    def _told(self, task_id: str, reply: dict[str, Any]) -> None:
        if reply["status"] in ENDS:
            with self._lock:
                self.promised.ends.setdefault(task_id, set()).add(reply["status"])

    def _submit(self, rng: random.Random) -> None:
        workspace, marker, orders = self._new(rng)
        hooked = bool(self._hook) and rng.random() < 0.2
        params = {"taskMode": "Async", "taskPriority": rng.choice(["low", "normal", "high"])}
        reply = self._send(rng, workspace, orders, {**params, **({"webhook": self._hook} if hooked else {})})
        if reply is not None:
            self._accepted(reply["taskID"], marker, hooked)

    def _with_key(self, rng: random.Random) -> None:
        """Sent again, to any gateway, until it was answered; and now and then once more."""
        workspace, marker, orders = self._new(rng)
        ids = self.promised.keyed.setdefault(marker, set())
        until = time.monotonic() + 30
        while not self._stop.is_set() and time.monotonic() < until:
            try:
                reply = self._send(
                    rng, workspace, orders, {"taskMode": "Async"}, headers={"Idempotency-Key": f"key-{marker}"}
                )
            except requests.RequestException:
                reply = None
            if reply is None:
                self._stop.wait(0.2)
                continue
            ids.add(reply["taskID"])
            self._accepted(reply["taskID"], marker)
            if rng.random() < 0.7:
                return

    def _sync(self, rng: random.Random) -> None:
        workspace, marker, orders = self._new(rng)
        reply = self._send(rng, workspace, orders, {"taskMode": "Sync"})
        if reply is not None:
            self._accepted(reply["taskID"], marker)
            if reply["data"] != marker:
                self.promised.wrong.append(f"{marker} was answered with {reply['data']!r}")

    def _raw(self, rng: random.Random) -> None:
        workspace, marker, orders = self._new(rng)
        reply = self._ask(rng, "POST", f"/proxy/{orders}", workspace, data=b"x")
        if reply.status_code == 200:
            self._accepted(reply.headers["Ngpu-Task"], marker)
            if reply.text != marker:
                self.promised.wrong.append(f"{marker} was answered with {reply.text!r}")

    def _wait(self, rng: random.Random) -> None:
        workspace, marker, orders = self._new(rng)
        reply = self._send(rng, workspace, orders, {}, headers={"Prefer": "wait=3"})
        if reply is not None:
            self._accepted(reply["taskID"], marker)
            self._told(reply["taskID"], reply)

    def _one(self, rng: random.Random, latest: int = 60) -> tuple[str, str]:
        """Id and workspace of one of the tasks that were taken in latest."""
        with self._lock:
            ids = list(self.promised.markers)[-latest:]
        task_id = rng.choice(ids) if ids else ""
        return task_id, self.promised.markers.get(task_id, "").partition("-")[0]

    def _cancel(self, rng: random.Random) -> None:
        task_id, workspace = self._one(rng, 4)
        if task_id:
            reply = self._ask(rng, "POST", "/user/cancelTask", workspace, params={"taskID": task_id})
            if reply.status_code == 200:
                self.promised.cancelled.add(task_id)

    def _poll(self, rng: random.Random) -> None:
        task_id, workspace = self._one(rng)
        if task_id:
            reply = self._ask(rng, "GET", "/user/queryTask", workspace, params={"taskID": task_id})
            if reply.status_code == 404:
                self.promised.wrong.append(f"{task_id} was taken in, and then there was no such task")
            elif reply.status_code == 200:
                self._told(task_id, reply.json())

    def _stream(self, rng: random.Random) -> None:
        task_id, workspace = self._one(rng)
        if not task_id:
            return
        reply = self._ask(rng, "GET", "/user/queryTask/stream", workspace, params={"taskID": task_id}, stream=True)
        until = time.monotonic() + 5
        with reply:
            for line in reply.iter_lines(chunk_size=1):
                if line.startswith(b"data:"):
                    self._told(task_id, json.loads(line[5:]))
                if self._stop.is_set() or time.monotonic() > until:
                    return
