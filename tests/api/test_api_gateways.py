"""Three real gateways on one Redis, as customers see them: any of them answers, and none of them is missed."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from api_rig import Client, configuration, eventually, right, workspace
from processes import Gateway, running
from redis_server import RedisServer, block
from scripted_worker import ScriptedWorker, script
from stopwatch import Stopwatch

ONCE, AGAIN, WIDE = "once", "again", "wide"
LEASE = 3.0


class House:
    """Three gateways with one configuration, and one worker, which does one thing at a time for `ONCE` and `AGAIN`."""

    def __init__(self, gateways: list[Gateway], worker: ScriptedWorker) -> None:
        self.gateways = gateways
        self.worker = worker

    def client(self, number: int, credential: str = ONCE) -> Client:
        return Client(self.gateways[number].url, credential)

    def started(self, marker: str) -> int:
        """How often a call has reached the worker."""
        return self.worker.markers().count(marker)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    worker = ScriptedWorker().start()
    config = configuration(
        workspace(ONCE, worker.port),
        workspace(AGAIN, worker.port, retry="idempotent"),
        workspace(WIDE, worker.port, slots=64),
        store={**block(server), "lease": f"{LEASE:g}s"},
    )
    try:
        with running(tmp_path_factory.mktemp("gateways")) as processes:
            yield House([processes.start_gateway(config) for _ in range(3)], worker)
    finally:
        worker.stop()
        server.stop()


def test_any_of_them_answers(house: House) -> None:
    task_id = house.client(0).submit(script(body=b"7"))
    assert [house.client(number).ended(task_id)["data"] for number in (1, 2, 0)] == ["7"] * 3
    assert [house.client(number).listed() for number in range(3)] == [[task_id]] * 3
    first = house.client(1).send(script(body=b"1"), headers={"Idempotency-Key": "k"})
    second = house.client(2).send(script(body=b"1"), headers={"Idempotency-Key": "k"})
    assert right(first)["taskID"] == right(second)["taskID"]
    house.client(0).ended(right(first)["taskID"])  # else the next test finds it running


def test_a_replica_of_one_slot_gets_one_call_at_a_time(house: House) -> None:
    """From three gateways at once, waiting calls and tasks alike; and each gateway gets its turns."""
    before = len(house.worker.journal)
    took: dict[int, list[float]] = {0: [], 1: [], 2: []}

    def call(number: int) -> None:
        began = time.monotonic()
        right(house.client(number % 3).send(script(delay=0.02), params={"taskMode": "Sync"}))
        took[number % 3].append(time.monotonic() - began)

    with ThreadPoolExecutor(30) as pool:
        tasks = [pool.submit(house.client(n % 3).submit, script(delay=0.02)) for n in range(30)]
        calls = [pool.submit(call, n) for n in range(60)]
        assert [each.result() for each in calls] == [None] * 60
        for task in tasks:
            house.client(0).ended(task.result())
    lines = house.worker.journal[before:]
    assert max(line.at_once for line in lines) == 1
    assert len([line for line in lines if line.event == "start"]) == 90
    slowest = [max(times) for times in took.values()]
    assert max(slowest) < 4 * min(slowest), f"somebody had to wait for the others: {slowest}"


def test_whoever_waits_is_woken_by_another_one(house: House) -> None:
    url, key = script(delay=2.0, body=b"late"), {"Idempotency-Key": "late"}
    task_id = right(house.client(0).send(url, headers=key))["taskID"]
    watch = Stopwatch()

    def wait(number: int) -> tuple[Any, float]:
        reply = house.client(number).send(url, headers={**key, "Prefer": "wait=20"})
        return right(reply)["data"], watch.seconds()

    def follow(number: int) -> tuple[list[str], float]:
        stream = f"{house.gateways[number].url}/user/queryTask/stream?taskID={task_id}"
        with requests.get(stream, stream=True, timeout=20, headers={"Authorization": ONCE}) as reply:
            lines = [line for line in reply.iter_lines(chunk_size=1) if line.startswith(b"data:")]
            events = [json.loads(line[5:])["status"] for line in lines]
        return events, watch.seconds()

    with ThreadPoolExecutor(6) as pool:
        waits = [pool.submit(wait, number) for number in range(3)]
        streams = [pool.submit(follow, number) for number in range(3)]
        ends = [each.result() for each in waits] + [each.result() for each in streams]
    assert [data for data, _ in ends[:3]] == ["late"] * 3
    assert all(events[-1] == "finished" and "running" in events for events, _ in ends[3:])
    moments = [moment for _, moment in ends]
    assert max(moments) - min(moments) < 0.6, "nobody had to look by himself"


def test_a_cancel_reaches_the_one_that_runs_it(house: House) -> None:
    def one(number: int) -> None:
        task_id = house.client(number, WIDE).submit(script(delay=20.0, marker=f"cancel {number}"))
        eventually(lambda: house.started(f"cancel {number}"), "it runs")
        watch = Stopwatch()
        right(house.client((number + 1) % 3, WIDE).ask("POST", f"/user/cancelTask?taskID={task_id}"))
        eventually(lambda: f"cancel {number}" in house.worker.markers("cut"), "its call is cut")
        assert watch.seconds() < 1.0
        assert house.client((number + 2) % 3, WIDE).status(task_id) == "cancelled"

    for number in range(3):
        one(number)


def test_one_workspaces_backlog_is_not_anothers_wait(house: House) -> None:
    """And tasks of one run in their order, whichever gateway took them in; a higher priority goes before."""
    with ThreadPoolExecutor(12) as pool:
        waiting = list(pool.map(lambda n: house.client(n % 3).submit(script(delay=0.1)), range(120)))
    for number in range(3):
        watch = Stopwatch()
        other = house.client(number, WIDE).submit(script(body=b"quick"))
        assert house.client((number + 1) % 3, WIDE).ended(other)["data"] == "quick"
        assert watch.seconds() < 1.5
    urgent = house.client(2).submit(script(marker="urgent"), params={"taskPriority": "high"})
    assert house.client(0).status(waiting[-1]) == "queued", "there is a backlog all the while"
    house.client(1).ended(urgent)
    assert house.client(0).status(waiting[-1]) == "queued", "it has overtaken the backlog"
    right(house.client(0).ask("POST", "/user/purgeQueue"))
    eventually(lambda: all(house.client(1).status(task_id) != "running" for task_id in waiting), "the last one is over")


def submitted_to_run_on(house: House, number: int, credential: str, marker: str, delay: float) -> str:
    """A task that this gateway runs: the others are not asked to, while they are stopped."""
    others = [gateway for each, gateway in enumerate(house.gateways) if each != number]
    for gateway in others:
        gateway.signal(signal.SIGSTOP)
    try:
        task_id = house.client(number, credential).submit(script(delay=delay, marker=marker))
        eventually(lambda: house.started(marker), "it runs")
    finally:
        for gateway in others:
            gateway.signal(signal.SIGCONT)
    return task_id


@pytest.mark.parametrize(("credential", "runs"), [(ONCE, 1), (AGAIN, 2)])
def test_what_a_killed_one_ran_is_taken_over(house: House, credential: str, runs: int) -> None:
    marker = f"killed {credential}"
    task_id = submitted_to_run_on(house, 0, credential, marker, 2.0)
    house.gateways[0].kill9()
    began = time.monotonic()
    reply = house.client(1, credential).ended(task_id, 30.0)
    print(f"\ntaken over and settled after {time.monotonic() - began:.1f} s, with a lease of {LEASE:g} s")
    assert house.started(marker) == runs
    if runs == 1:
        assert "its outcome is unknown" in reply["msg"]
    else:
        assert reply["status"] == "finished"
    house.gateways[0].start()
    assert house.client(0, credential).status(task_id) == reply["status"]


def test_one_that_was_paused_overwrites_nothing(house: House) -> None:
    """Others have taken over what it ran, and it finds out by itself, and goes on."""
    task_id = submitted_to_run_on(house, 2, AGAIN, "paused", 1.5)
    house.gateways[2].signal(signal.SIGSTOP)
    try:
        reply = house.client(0, AGAIN).ended(task_id, 30.0)
        assert reply["status"] == "finished"
    finally:
        house.gateways[2].signal(signal.SIGCONT)
    after = house.client(0, AGAIN).detailed(task_id)
    eventually(lambda: house.client(2, AGAIN).detailed(task_id) == after, "it answers as the others do")
    done = house.client(2, AGAIN).submit(script(body=b"on"))
    assert house.client(2, AGAIN).ended(done)["data"] == "on"
    time.sleep(1.0)
    assert house.client(1, AGAIN).detailed(task_id) == after
    assert house.started("paused") == 2


def test_a_stop_hands_over_at_once(house: House) -> None:
    """A stop gives what runs its time, and hands what waits to the others."""
    tasks = [house.client(1).submit(script(delay=0.1, body=b"%d" % number)) for number in range(20)]
    house.gateways[1].stop()
    assert [house.client(0).ended(task_id)["data"] for task_id in tasks] == [str(number) for number in range(20)]
    house.gateways[1].start()
    assert house.client(1).listed() == house.client(0).listed()
