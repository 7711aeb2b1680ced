"""64 MiB in and out: whole and equal, in bounded memory, and nobody else has to wait for it."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pytest
from api_rig import Rig, configuration, eventually, refused, rig_of, right, workspace
from scripted_worker import EVERY_BYTE, filled, script

ID = "367614711220405248"
MIB = 1 << 20
SIZE = 64 * MIB
SLACK = 48 * MIB
"""What a process that is not warm yet grows by, whatever passes: more than the half of what would show as held."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(workspace(ID, *ports, slots=4, timeout="60s"))

    with rig_of(tmp_path_factory.mktemp("large"), 1, make) as one:
        right(one.client(ID).send(script(), params={"taskMode": "Sync"}))
        yield one


class Bystanders:
    """Small calls, one after the other, while something large goes on; and the gateway's memory meanwhile.

    :ivar slowest: seconds that the slowest of them took.
    :ivar lasted: seconds that all of it took.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.slowest = 0.0
        self.calls = 0
        self.failure = ""

    def __enter__(self) -> Self:
        Path(f"/proc/{self._rig.gateway.pid}/clear_refs").write_text("5")  # the peak counts from here
        self._before = self._memory("VmRSS")
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.lasted = time.monotonic() - self._began
        self._stop.set()
        self._thread.join(60)
        self.grown = self._memory("VmHWM") - self._before
        told = f"{self.calls} small calls, the slowest {self.slowest:.3f} s; memory grew by {self.grown / MIB:.0f} MiB"
        print("\n" + told)

    def _memory(self, name: str) -> int:
        for line in Path(f"/proc/{self._rig.gateway.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {name}")

    def _work(self) -> None:
        client = self._rig.client(ID)
        task_id = client.submit(script())
        while not self._stop.is_set():
            for call in (
                lambda: self._rig.admin("/healthz"),
                lambda: client.ask("GET", "/user/queryNodes"),
                lambda: client.ask("GET", f"/user/queryTask?taskID={task_id}"),
                lambda: client.send(script(), params={"taskMode": "Sync"}),
            ):
                began = time.monotonic()
                response = call()
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.calls += 1
                if response.status_code != 200:
                    self.failure = f"{response.status_code}: {response.text}"
            time.sleep(0.005)


CASES = {
    "object": ({}, {"object": 1}, {"image": filled(SIZE).decode()}),
    "text": ("x", {}, filled(SIZE).decode()),
    "bytes": ("x", {"binary": 1}, base64.b64encode(filled(SIZE, EVERY_BYTE)).decode()),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_large_result_is_kept_and_read_back(rig: Rig, kind: str) -> None:
    data, orders, expected = CASES[kind]
    client = rig.client(ID)
    with Bystanders(rig) as bystanders:
        task_id = client.submit(script(size=SIZE, **orders), data)
        eventually(lambda: not is_pending(rig, task_id), "the worker's reply is in", 60)
        response = client.ask("GET", f"/user/queryTask?taskID={task_id}")
    reply = json.loads(response.content)
    assert reply["result_code"] == 200 and reply["data"] == expected
    check(bystanders, grown=SLACK)


def is_pending(rig: Rig, task_id: str) -> bool:
    """By its head, which comes before the large rest is read."""
    with rig.client(ID).ask("GET", f"/user/queryTask?taskID={task_id}", stream=True) as response:
        return b'"result_size":0' in next(response.iter_content(1000))


def check(bystanders: Bystanders, grown: int) -> None:
    assert not bystanders.failure
    assert bystanders.calls >= 8
    assert bystanders.slowest < max(1.0, bystanders.lasted / 2), "much less than the large one took"
    assert bystanders.grown < grown


def test_a_large_result_for_a_client_that_waits(rig: Rig) -> None:
    with Bystanders(rig) as bystanders:
        response = rig.client(ID).send(script(size=SIZE), params={"taskMode": "Sync"})
    assert right(response)["data"] == filled(SIZE).decode()
    check(bystanders, grown=SLACK)


def test_the_record_of_a_large_task_is_whole_too(rig: Rig) -> None:
    client = rig.client(ID)
    task_id = client.submit(script(size=8 * MIB, binary=1))
    client.ended(task_id)
    assert base64.b64decode(client.detailed(task_id)["response"]) == filled(8 * MIB, EVERY_BYTE)


def test_a_large_request_goes_through_whole(rig: Rig) -> None:
    """Exactly the limit, which is 64 MiB by default; one byte more is refused."""
    client, body = rig.client(ID), filled(SIZE, EVERY_BYTE)
    query = {"paramUrl": script(marker="large", size=10)}
    with Bystanders(rig) as bystanders:
        sent = client.ask("POST", "/user/schedulingTask", params=query, data=body, headers={"BtcAddress": ""})
        assert client.ended(right(sent)["taskID"], 60)["status"] == "finished"
    assert bytes(rig.worker.call("large").body) == body
    check(bystanders, grown=SLACK)
    more = client.ask("POST", "/user/schedulingTask", params=query, data=body + b"x", headers={"BtcAddress": ""})
    refused(more, 413)


@pytest.mark.parametrize("mode", ["Async", "Sync"])
def test_a_large_envelope_goes_through_whole(rig: Rig, mode: str) -> None:
    client, text = rig.client(ID), filled(SIZE - 100).decode()
    query = {"taskMode": mode, "paramUrl": script(marker=f"envelope-{mode}", size=10)}
    with Bystanders(rig) as bystanders:
        sent = client.ask("POST", "/user/schedulingTask", params=query, data='{"data": "' + text + '"}')
        assert client.ended(right(sent)["taskID"], 60)["status"] == "finished"
    assert bytes(rig.worker.call(f"envelope-{mode}").body).decode() == text
    check(bystanders, grown=SLACK)


def test_a_client_that_reads_slowly_or_leaves_costs_little(rig: Rig) -> None:
    """Twenty of them at once, who read the beginning of a large result and then do nothing, and go."""
    client = rig.client(ID)
    task_id = client.submit(script(size=SIZE))
    eventually(lambda: not is_pending(rig, task_id), "the worker's reply is in", 60)
    with Bystanders(rig) as bystanders:
        readers = [rig.client(ID).ask("GET", f"/user/queryTask?taskID={task_id}", stream=True) for _ in range(20)]
        for reader in readers:
            assert len(next(reader.iter_content(100_000))) > 0
        time.sleep(0.5)
        for reader in readers:
            reader.close()
    check(bystanders, grown=64 * MIB)


def test_many_large_requests_at_once_are_read_one_after_the_other(tmp_path: Path) -> None:
    """Twelve envelopes of 16 MiB, with room for eight of them; a slot for each, so that nobody waits for one."""
    size, count = 16 * MIB, 12
    text = filled(size - 100).decode()

    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(workspace(ID, ports[0], slots=16), limits={"body_memory": "128MiB"})

    with rig_of(tmp_path, 1, make) as rig, ThreadPoolExecutor(count) as pool, Bystanders(rig) as bystanders:
        client = rig.client(ID)
        query = {"paramUrl": script(size=10)}
        sending = [
            pool.submit(client.ask, "POST", "/user/schedulingTask", params=query, data='{"data": "' + text + '"}')
            for _ in range(count)
        ]
        ids = {right(each.result(60))["taskID"] for each in sending}
        assert len(ids) == count
        assert all(client.ended(task_id, 60)["status"] == "finished" for task_id in ids)
    check(bystanders, grown=6 * size)
