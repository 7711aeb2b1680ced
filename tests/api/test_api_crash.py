"""Crash safety: `kill -9` at any moment loses no task whose id was answered, and runs none twice at once.

NGPU_CRASH_ROUNDS says how often the gateway is killed (4 by default).
"""

from __future__ import annotations

import itertools
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest
import redis_server
import requests
from api_rig import Client, Rig, configuration, eventually, rig_of, right, workspace
from scripted_worker import STARTED, Line, script

ROUNDS = int(os.environ.get("NGPU_CRASH_ROUNDS", "4"))
LONGEST_LIFE = 0.8
RUNS_WITHIN = 3.0
ONCE, AGAIN = "once", "again"
UNKNOWN = "its outcome is unknown"
STOPPING = "the gateway is stopping"


@pytest.fixture(params=["sqlite", "redis"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    store = {"kind": "sqlite", "path": "ngpu.sqlite"} if request.param == "sqlite" else redis_server.block()

    def make(ports: list[int]) -> dict[str, Any]:
        long = {"queue": {"limit": 100_000}}
        return configuration(
            workspace(ONCE, *ports, slots=4, **long),
            workspace(AGAIN, *ports, slots=4, retry="idempotent", **long),
            store=store,
        )

    with rig_of(tmp_path_factory.mktemp("crash"), 2, make) as one:
        yield one


class Customers:
    """Threads that submit tasks, each with a marker of its own, whatever happens to the gateway.

    :ivar answered: marker → task id, of those that were taken in.
    """

    def __init__(self, rig: Rig, count: int) -> None:
        self._rig = rig
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self.answered: dict[str, str] = {}
        self.refusals: Counter[int] = Counter()
        self._threads = [threading.Thread(target=self._work, args=(index,), daemon=True) for index in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def burst(self, number: int) -> None:
        """More than the workers can take at once, so that some surely wait."""
        client = self._rig.client(ONCE)
        for each in range(20):
            marker = f"{ONCE}-burst-{number}-{each}"
            self.answered[marker] = client.submit(script(marker=marker, delay=0.1, body=marker.encode()))

    def _work(self, index: int) -> None:
        workspace_id = (ONCE, AGAIN)[index % 2]
        rng = random.Random(index)
        client = self._rig.client(workspace_id)
        while not self._stop.is_set():
            marker = f"{workspace_id}-{next(self._numbers)}"
            # every tenth call waits for its result on its connection
            mode = "Sync" if rng.random() < 0.1 else "Async"
            url = script(marker=marker, delay=rng.uniform(0, 0.08), body=marker.encode())
            try:
                response = client.send(url, params={"taskMode": mode})
                if response.status_code == 200:
                    self.answered[marker] = response.json()["taskID"]
                else:
                    self.refusals[response.status_code] += 1
            except (requests.RequestException, ValueError):
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 0.06))


def test_killed_at_any_moment(rig: Rig) -> None:
    rng = random.Random()
    waited = []
    with Customers(rig, 8) as customers:
        for number in range(ROUNDS):
            time.sleep(rng.uniform(0.02, LONGEST_LIFE))
            customers.burst(number)
            rig.gateway.kill9()
            ended = time.monotonic()
            rig.gateway.start()
            ready = time.monotonic()
            waited.append(eventually(lambda since=ended: first_run(rig, since), "a queued task runs") - ready)
    tally = settle(rig, customers.answered)
    print(f"\n{ROUNDS} kills: {dict(tally)}, first run {max(waited):.2f} s after the start at the latest")
    assert max(waited) < RUNS_WITHIN
    assert tally["finished"] > ROUNDS


def first_run(rig: Rig, since: float) -> float | None:
    """When the first call after a time came to a worker."""
    starts = [line.at for line in journal(rig) if line.event == STARTED and line.at > since]
    return min(starts, default=None)


def journal(rig: Rig) -> list[Line]:
    return [line for worker in rig.workers for line in tuple(worker.journal)]


def settle(rig: Rig, answered: dict[str, str]) -> Counter[str]:
    """Wait for the end of everything, then hold the workers' journal against the records."""
    tally: Counter[str] = Counter(accepted=len(answered))
    listed: set[str] = set()
    for name in (ONCE, AGAIN):
        client = rig.client(name)
        eventually(lambda client=client: queued_or_running(client) == 0, f"{name} has nothing more to do", 90)
        listed.update(all_ids(client))
    tally["lost"] = len(set(answered.values()) - listed)
    visitor = rig.client()
    markers = {task_id: marker for marker, task_id in answered.items()}
    for task_id in sorted(listed):
        reply = visitor.query(task_id)
        assert reply["status"] in ("finished", "failed"), reply
        if task_id not in markers and STOPPING in reply["msg"]:
            tally["refused"] += 1  # a client that stood in line was told so, and has no id
            continue
        tally[reply["status"]] += 1
        if reply["status"] == "failed":
            assert UNKNOWN in reply["msg"], reply
            assert visitor.detailed(task_id)["state"] == -1
        elif task_id in markers:
            assert reply["data"] == markers[task_id]
    runs = spans(journal(rig))
    tally["repeated"] = sum(len(found) > 1 for found in runs.values())
    twice = [marker for marker, found in runs.items() if marker.startswith(ONCE) and len(found) > 1]
    overlapping = [marker for marker, found in runs.items() if overlap(found)]
    assert not tally["lost"]
    assert not twice, "ran twice, though nobody said that it may"
    assert not overlapping, "two runs of one task at once"
    return tally


def all_ids(client: Client) -> list[str]:
    found: list[str] = []
    more: dict[str, str] = {}
    while True:
        reply = client.get("/user/queryTaskList", limit=10_000, **more)
        found += reply["taskIds"]
        if "next_cursor" not in reply:
            return found
        more = {"cursor": reply["next_cursor"]}


def queued_or_running(client: Client) -> int:
    """How many of the workspace's last tasks have not ended; only the last, since they run in order."""
    time.sleep(0.2)
    return sum(client.status(task_id) in ("queued", "running") for task_id in all_ids(client)[-60:])


def spans(lines: list[Line]) -> dict[str, list[tuple[float, float]]]:
    """From when to when each marker's task was worked on."""
    found: dict[str, list[tuple[float, float]]] = {}
    begun: dict[str, list[float]] = {}
    for line in sorted(lines, key=lambda line: line.at):
        if not line.marker:
            continue
        if line.event == STARTED:
            begun.setdefault(line.marker, []).append(line.at)
        else:
            found.setdefault(line.marker, []).append((begun[line.marker].pop(0), line.at))
    assert not any(begun.values()), "a worker still works"
    return found


def overlap(found: list[tuple[float, float]]) -> bool:
    return any(later[0] < earlier[1] for earlier, later in itertools.pairwise(sorted(found)))


def test_stopped_in_the_middle_of_work(rig: Rig) -> None:
    """TERM: running calls come to their end, what waits is kept, and the next start goes on with it."""
    with Customers(rig, 8) as customers, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sync, rig.client(ONCE), script(marker="waited for", delay=1.5, body=b"done"))
        eventually(lambda: any("waited for" in worker.markers() for worker in rig.workers), "it runs")
        rig.gateway.stop()
        assert right(waiting.result(20))["data"] == "done", "a client that waited got its result"
        rig.gateway.start()
        time.sleep(0.3)
    tally = settle(rig, customers.answered)
    assert tally["failed"] == tally["repeated"] == 0, tally


def test_a_client_that_says_nothing_does_not_hold_up_the_end(rig: Rig) -> None:
    with socket.create_connection(rig.address, 10) as sock:
        sock.sendall(b"GET /half HT")
        rig.client(ONCE).listed()
        began = time.monotonic()
        rig.gateway.stop()
        assert time.monotonic() - began < 3


def sync(client: Client, url: str) -> requests.Response:
    return client.send(url, params={"taskMode": "Sync"})
