"""Slots, the queue and its limits, and how tasks are cancelled: what the workers' own journal says."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from api_rig import Client, Rig, configuration, eventually, refused, rig_of, right, workspace
from processes import find_free_port
from scripted_worker import script

WIDE, NARROW, BRIEF, DOWN, FOREIGN = "wide", "narrow", "brief", "down", "foreign"
LIMIT = 5


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(
            workspace(WIDE, *ports[:3], slots=2),
            workspace(NARROW, ports[3], queue={"limit": LIMIT}),
            workspace(BRIEF, ports[4], queue={"ttl": "1s"}, retention="2s"),
            workspace(DOWN, find_free_port(), queue={"limit": LIMIT}, timeout="3s"),
            workspace(FOREIGN, ports[3]),
        )

    with rig_of(tmp_path_factory.mktemp("queue"), 5, make) as one:
        yield one


@pytest.fixture
def narrow(rig: Rig) -> Iterator[Client]:
    """Of a workspace with one replica, one slot and a short queue, which is empty before and after."""
    client, worker = rig.client(NARROW), rig.workers[3]
    yield client
    for task_id in client.listed():
        client.ask("POST", f"/user/cancelTask?taskID={task_id}")
    eventually(lambda: worker.at_once == 0, "the worker has nothing to do")


def sync(client: Client, url: str) -> Any:
    return client.send(url, params={"taskMode": "Sync"})


def test_no_replica_gets_more_calls_than_it_has_slots(rig: Rig) -> None:
    """40 at once, half of them waiting for their result, over three workers of two slots each."""
    client, workers = rig.client(WIDE), rig.workers[:3]

    def one(number: int) -> str:
        url = script(marker=f"slots-{number}", delay=0.1, body=b"%d" % number)
        if number % 2:
            reply = right(sync(rig.client(WIDE), url))
            assert reply["data"] == str(number)
            return str(reply["taskID"])
        return rig.client(WIDE).submit(url)

    with ThreadPoolExecutor(40) as pool:
        ids = list(pool.map(one, range(40)))
    for number, task_id in enumerate(ids):
        assert client.ended(task_id)["data"] == str(number)
    arrived = [marker for worker in workers for marker in worker.markers() if marker.startswith("slots-")]
    assert sorted(arrived) == sorted(f"slots-{number}" for number in range(40)), "each exactly once"
    assert [worker.most_at_once for worker in workers] == [2, 2, 2], "all slots were used, and no more"


def test_tasks_run_in_the_order_of_their_submission(rig: Rig, narrow: Client) -> None:
    ids = [narrow.submit(script(marker=f"order-{number}", delay=0.05)) for number in range(LIMIT)]
    for task_id in ids:
        narrow.ended(task_id)
    markers = [marker for marker in rig.workers[3].markers() if marker.startswith("order-")]
    assert markers == [f"order-{number}" for number in range(LIMIT)]


def test_a_full_queue_refuses_and_keeps_nothing(rig: Rig, narrow: Client) -> None:
    running = narrow.submit(script(delay=30))
    eventually(lambda: narrow.status(running) == "running", "the slot is taken")
    waiting = [narrow.submit(script()) for _ in range(LIMIT)]
    before = narrow.listed()
    for _ in range(3):
        response = narrow.send(script(marker="one too many"))
        refused(response, 429)
        assert int(response.headers["Retry-After"]) >= 1
    assert narrow.listed() == before
    assert [narrow.query(task_id)["queue_position"] for task_id in waiting] == list(range(1, LIMIT + 1))
    right(narrow.ask("POST", f"/user/cancelTask?taskID={waiting[0]}"))
    assert narrow.query(waiting[1])["queue_position"] == 1
    narrow.submit(script())


def test_calls_that_wait_have_a_limit_too(rig: Rig) -> None:
    """Where nothing serves, clients that wait pile up: past the queue's limit they are told at once."""
    client = rig.client(NARROW)
    blocker = client.submit(script(delay=30))
    eventually(lambda: client.status(blocker) == "running", "the slot is taken")

    def one(_: int) -> int:
        return int(sync(rig.client(NARROW), script(delay=0.01)).status_code)

    with ThreadPoolExecutor(LIMIT + 5) as pool:
        answers = [pool.submit(one, number) for number in range(LIMIT + 5)]
        eventually(lambda: sum(answer.done() for answer in answers) == 5, "five are refused")
        assert [answer.result() for answer in answers if answer.done()] == [429] * 5
        right(client.ask("POST", f"/user/cancelTask?taskID={blocker}"))
        assert sorted(answer.result() for answer in answers) == [200] * LIMIT + [429] * 5


def test_a_task_that_waits_too_long_expires(rig: Rig) -> None:
    client, worker = rig.client(BRIEF), rig.workers[4]
    first = client.submit(script(delay=3))
    late = client.submit(script(marker="late"), {})
    reply = client.ended(late)
    assert reply["status"] == "expired" and reply["result_code"] != 200
    assert reply["data"]["result_code"] > 102
    assert client.detailed(late)["state"] == -1
    assert client.ended(first)["status"] == "finished", "its time to live is for the queue only"
    assert "late" not in worker.markers()


def test_ended_tasks_are_forgotten_after_their_retention(rig: Rig) -> None:
    client = rig.client(BRIEF)
    task_id = client.submit(script())
    client.ended(task_id)
    # the gateway looks once a minute; a restart looks at once
    eventually(lambda: time.time() - stamp(task_id) > 4, "its retention is over")
    rig.gateway.restart()
    eventually(lambda: client.ask("GET", f"/user/queryTask?taskID={task_id}").status_code == 404, "gone")
    assert task_id not in client.listed()


def stamp(task_id: str) -> float:
    return time.mktime(time.strptime(task_id[:17], "%Y%m%d_%H_%M_%S")) - time.timezone


def test_a_queued_task_can_be_cancelled_and_never_runs(rig: Rig, narrow: Client) -> None:
    blocker = narrow.submit(script(delay=30))
    eventually(lambda: narrow.status(blocker) == "running", "the slot is taken")
    queued = narrow.submit(script(marker="cancelled while queued"))
    reply = right(narrow.ask("POST", f"/user/cancelTask?taskID={queued}"))
    assert reply["result_code"] == 200 and reply["status"] == "cancelled" and reply["taskID"] == queued
    right(narrow.ask("POST", f"/user/cancelTask?taskID={blocker}"))
    assert narrow.ended(narrow.submit(script()))["status"] == "finished", "the slot is free again"
    told = narrow.ended(queued)
    assert told["status"] == "cancelled" and told["result_code"] != 200
    inside = json.loads(told["data"])
    assert inside["result_code"] < 0 or inside["result_code"] > 102
    assert narrow.detailed(queued)["state"] == 5
    assert "cancelled while queued" not in rig.workers[3].markers()


def test_cancelling_a_running_task_ends_the_workers_call(rig: Rig, narrow: Client) -> None:
    task_id = narrow.submit(script(marker="cancelled while running", delay=60))
    worker = rig.workers[3]
    eventually(lambda: "cancelled while running" in worker.markers(), "it runs")
    began = time.monotonic()
    right(narrow.ask("POST", f"/user/cancelTask&taskID={task_id}"))
    eventually(lambda: "cancelled while running" in worker.markers("cut"), "the worker sees it", 5)
    assert time.monotonic() - began < 5
    assert narrow.query(task_id)["status"] == "cancelled"
    assert narrow.ended(narrow.submit(script()))["status"] == "finished", "the slot is free again"
    assert narrow.query(task_id)["status"] == "cancelled"


def test_what_has_ended_cannot_be_cancelled(narrow: Client) -> None:
    ended = narrow.submit(script())
    narrow.ended(ended)
    assert "finished" in refused(narrow.ask("POST", f"/user/cancelTask?taskID={ended}"), 409)
    assert narrow.status(ended) == "finished"
    cancelled = narrow.submit(script(delay=60))
    right(narrow.ask("POST", f"/user/cancelTask?taskID={cancelled}"))
    assert "cancelled" in refused(narrow.ask("POST", f"/user/cancelTask?taskID={cancelled}"), 409)


def test_cancelling_a_call_whose_client_waits_answers_it(rig: Rig, narrow: Client) -> None:
    before = set(narrow.listed())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sync, rig.client(NARROW), script(delay=60))
        (task_id,) = eventually(lambda: set(narrow.listed()) - before, "it runs")
        right(narrow.ask("POST", f"/user/cancelTask?taskID={task_id}"))
        refused(waiting.result(10), 409)


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_goes_ends_its_call(rig: Rig, narrow: Client, reset: bool) -> None:
    """The worker's call is aborted within two seconds, and the task ends as cancelled."""
    worker, marker, before = rig.workers[3], f"gone-{reset}", set(narrow.listed())
    with socket.create_connection(rig.address, 10) as sock:
        sock.sendall(sync_request(script(marker=marker, delay=60)))
        eventually(lambda: marker in worker.markers(), "it runs")
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    eventually(lambda: marker in worker.markers("cut"), "the worker sees it")
    (task_id,) = set(narrow.listed()) - before
    assert narrow.ended(task_id)["status"] == "cancelled"
    assert right(sync(narrow, script()))["result_code"] == 200


def test_a_client_that_goes_while_it_waits_for_a_slot_leaves_the_line(rig: Rig, narrow: Client) -> None:
    blocker = narrow.submit(script(delay=30))
    eventually(lambda: narrow.status(blocker) == "running", "the slot is taken")
    with socket.create_connection(rig.address, 10) as sock:
        sock.sendall(sync_request(script(marker="left the line")))
        time.sleep(0.2)
    right(narrow.ask("POST", f"/user/cancelTask?taskID={blocker}"))
    assert right(sync(narrow, script()))["result_code"] == 200
    assert "left the line" not in rig.workers[3].markers()


def test_one_that_waits_for_its_result_may_go_and_the_task_runs_on(rig: Rig, narrow: Client) -> None:
    """With Prefer: wait the task is in the queue; whoever submitted it may come back for it."""
    before = set(narrow.listed())
    with socket.create_connection(rig.address, 10) as sock:
        sock.sendall(sync_request(script(delay=0.5, body=b"kept"), "taskMode=", "Prefer: wait=20"))
        (task_id,) = eventually(lambda: set(narrow.listed()) - before, "it is in")
    assert narrow.ended(task_id)["data"] == "kept"


def sync_request(url: str, mode: str = "taskMode=Sync", *fields: str) -> bytes:
    target = "/user/schedulingTask?" + mode + "&paramUrl=" + url.replace("&", "%26")
    body = b'{"data": "x"}'
    lines = [f"POST {target} HTTP/1.1", "Host: x", f"Authorization: {NARROW}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_tasks_survive_while_nothing_serves(rig: Rig) -> None:
    """A sync call is told soon; an async one waits for its workspace to come back."""
    client = rig.client(DOWN)
    task_id = client.submit(script())
    began = time.monotonic()
    refused(sync(client, script()), 503)
    assert time.monotonic() - began < 3
    assert client.status(task_id) == "queued"


def test_the_workers_never_saw_one_call_twice(rig: Rig) -> None:
    for worker in rig.workers:
        named: list[str] = [marker for marker in worker.markers() if marker]
        assert len(named) == len(set(named))
