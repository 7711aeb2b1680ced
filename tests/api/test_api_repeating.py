"""Requests that come again, tasks that are tried again, queues that are dropped: through a real gateway."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import requests
from api_rig import Client, Rig, configuration, eventually, refused, rig_of, right, workspace
from scripted_worker import script

WIDE, NARROW, OTHER = "wide", "narrow", "other"
LIMIT = 30


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(
            workspace(WIDE, ports[0], slots=8),
            workspace(NARROW, ports[1], queue={"limit": LIMIT, "ttl": "1h"}, timeout="30s"),
            workspace(OTHER, ports[0], slots=8),
            apps={"echo": {"adapter": "passthrough", "workspace": WIDE, "path": "echo"}},
        )

    with rig_of(tmp_path_factory.mktemp("repeating"), 2, make) as one:
        yield one


@pytest.fixture
def narrow(rig: Rig) -> Iterator[Client]:
    """Of a workspace with one slot, which is free before and after."""
    client = rig.client(NARROW)
    yield client
    for task_id in client.listed():
        client.ask("POST", f"/user/cancelTask?taskID={task_id}")
    eventually(lambda: rig.workers[1].at_once == 0, "the worker has nothing to do")


def keyed(client: Client, key: str, url: str, data: Any = "x", mode: str = "Async", **more: Any) -> requests.Response:
    headers = {"Idempotency-Key": key, **more.pop("headers", {})}
    params = {"taskMode": mode, **more.pop("params", {})}
    return client.send(url, data, params=params, headers=headers, **more)


class TestIdempotencyKey:
    def test_the_same_request_is_the_same_task(self, rig: Rig) -> None:
        client, url = rig.client(WIDE), script(marker="same", delay=0.2, body=b"done")
        first = right(keyed(client, "k-same", url))
        again = right(keyed(client, "k-same", url))
        assert again["taskID"] == first["taskID"]
        assert client.ended(first["taskID"])["data"] == "done"
        replay = right(keyed(client, "k-same", url))
        assert (replay["taskID"], replay["status"], replay["data"]) == (first["taskID"], "finished", "done")
        assert rig.workers[0].markers().count("same") == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"data": "y"},
            {"data": {"x": 1}},
            {"url": "other"},
            {"params": {"taskPriority": "high"}},
            {"params": {"taskTtl": "5m"}},
            {"params": {"taskTimeout": "1m"}},
            {"address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"},
            {"headers": {"BtcAddress": ""}},
        ],
        ids=str,
    )
    def test_another_request_under_the_key_is_refused(self, rig: Rig, other: dict[str, Any]) -> None:
        client, key, url = rig.client(WIDE), f"k-other-{other}", script(body=b"done")
        first = right(keyed(client, key, url))
        asked = {"url": url, **other}
        assert "Idempotency-Key" in refused(keyed(client, key, **asked), 409)
        assert right(keyed(client, key, url))["taskID"] == first["taskID"]

    def test_how_long_the_reply_waits_makes_no_other_request(self, rig: Rig) -> None:
        client, url = rig.client(WIDE), script(marker="modes", delay=0.3, body=b"done")
        first = right(keyed(client, "k-modes", url))
        waited = right(keyed(client, "k-modes", url, mode="Sync"))
        assert (waited["taskID"], waited["data"]) == (first["taskID"], "done")
        preferred = right(keyed(client, "k-modes", url, mode="", headers={"Prefer": "wait=10"}))
        assert preferred["data"] == "done"

    def test_a_key_is_of_its_workspace_and_of_its_call(self, rig: Rig) -> None:
        url = script(body=b"done")
        ids = {right(keyed(rig.client(name), "k-shared", url))["taskID"] for name in (WIDE, OTHER)}
        assert len(ids) == 2
        body, headers = {"data": "x"}, {"Idempotency-Key": "k-app"}
        first = right(rig.client().ask("POST", "/user/echo?taskMode=Async", json=body, headers=headers))
        again = right(rig.client().ask("POST", "/user/echo?taskMode=Async", json=body, headers=headers))
        assert again["taskID"] == first["taskID"]
        refused(keyed(rig.client(WIDE), "k-app", "echo"), 409)

    def test_of_many_at_the_same_moment_one_runs_and_all_get_its_result(self, rig: Rig) -> None:
        url, data = script(marker="at once", delay=0.5, body=b"done"), "z" * 400_000

        def one(number: int) -> dict[str, Any]:
            mode = "Sync" if number % 2 else "Async"
            return right(keyed(rig.client(WIDE), "k-at-once", url, data, mode=mode))

        with ThreadPoolExecutor(12) as pool:
            replies = list(pool.map(one, range(12)))
        assert len({reply["taskID"] for reply in replies}) == 1
        assert [reply["data"] for reply in replies[1::2]] == ["done"] * 6
        assert rig.workers[0].markers().count("at once") == 1

    def test_a_client_that_waits_and_goes_finds_its_task_under_the_key(self, rig: Rig) -> None:
        """Without a key, closing the connection would cancel the task; with one the client may come back for it."""
        client, url = rig.client(WIDE), script(marker="left", delay=1.0, body=b"done")
        with pytest.raises(requests.Timeout):
            requests.post(
                f"{client.url}/user/schedulingTask",
                params={"taskMode": "Sync", "paramUrl": url},
                headers={"Authorization": WIDE, "Idempotency-Key": "k-left"},
                json={"data": "x"},
                timeout=0.3,
            )
        assert right(keyed(client, "k-left", url, mode="Sync"))["data"] == "done"
        assert rig.workers[0].markers().count("left") == 1
        assert "left" not in rig.workers[0].markers("cut")

    def test_a_refusal_of_the_worker_is_replayed_too(self, rig: Rig) -> None:
        client, url = rig.client(WIDE), script(marker="refusal", status=422, body=b"no")
        for _ in range(2):
            reply = keyed(client, "k-refusal", url, mode="Sync")
            assert (reply.status_code, reply.json()["data"]) == (422, "no")
        assert rig.workers[0].markers().count("refusal") == 1

    @pytest.mark.parametrize("mode", ["Async", "Sync"])
    def test_across_kill_9(self, rig: Rig, mode: str) -> None:
        """A client that got no answer sends the request again: it runs once, though the gateway died in between."""
        narrow = rig.client(NARROW)
        blocker = narrow.submit(script(delay=30))
        eventually(lambda: narrow.status(blocker) == "running", "the slot is taken")
        url, key = script(marker=f"killed {mode}", body=b"done"), f"k-killed-{mode}"
        with ThreadPoolExecutor(1) as pool:
            lost = pool.submit(keyed, rig.client(NARROW), key, url, mode=mode)
            eventually(lambda: len(narrow.listed()) and narrow.status(narrow.listed()[-1]) == "queued", "it waits")
            rig.gateway.kill9()
            lost.exception(20)
        rig.gateway.start()
        again = right(keyed(rig.client(NARROW), key, url, mode="Sync"))
        assert again["data"] == "done"
        assert rig.workers[1].markers().count(f"killed {mode}") == 1

    def test_one_that_a_crash_cut_is_over_and_not_to_be_sent_again(self, rig: Rig) -> None:
        client, url = rig.client(WIDE), script(marker="cut by a crash", delay=30)
        first = right(keyed(client, "k-cut", url))
        eventually(lambda: "cut by a crash" in rig.workers[0].markers(), "it runs")
        rig.gateway.kill9()
        rig.gateway.start()
        reply = keyed(client, "k-cut", url, mode="Sync")
        assert "unknown" in refused(reply, 502)
        assert reply.json()["taskID"] == first["taskID"] and "Retry-After" not in reply.headers
        right(client.ask("POST", f"/user/retryTask?taskID={first['taskID']}"))
        eventually(lambda: rig.workers[0].markers().count("cut by a crash") == 2, "it runs again, as its owner says")
        right(client.ask("POST", f"/user/cancelTask?taskID={first['taskID']}"))

    def test_what_was_refused_leaves_the_key_free(self, rig: Rig, narrow: Client) -> None:
        blocker = narrow.submit(script(delay=30))
        eventually(lambda: narrow.status(blocker) == "running", "the slot is taken")
        waiting = [narrow.submit(script()) for _ in range(LIMIT)]
        refused(keyed(narrow, "k-full", script()), 429)
        right(narrow.ask("POST", f"/user/cancelTask?taskID={waiting[0]}"))
        taken = right(keyed(narrow, "k-full", script()))["taskID"]
        assert right(keyed(narrow, "k-full", script()))["taskID"] == taken, "though the queue is full again"

    @pytest.mark.parametrize(
        "headers",
        [
            b"Idempotency-Key: \r\n",
            b"Idempotency-Key: " + b"k" * 256 + b"\r\n",
            b"Idempotency-Key: a\tb\r\n",
            b"Idempotency-Key: \xc3\xa4\r\n",
            b"Idempotency-Key: a\r\nIdempotency-Key: a\r\n",
            b"Idempotency-Key: a\x01b\r\n",
        ],
        ids=["empty", "too long", "a tab", "not ASCII", "twice", "a control character"],
    )
    def test_what_is_no_key(self, rig: Rig, headers: bytes) -> None:
        head = b"POST /user/schedulingTask HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: wide\r\n"
        reply = rig.raw(head + headers + b'Content-Length: 12\r\n\r\n{"data":"x"}')
        assert reply.startswith(b"HTTP/1.1 400 "), reply[:300]

    def test_the_longest_key(self, rig: Rig) -> None:
        right(keyed(rig.client(WIDE), "~" * 255, script()))


class TestRetry:
    def retry(self, client: Client, task_id: str, **params: str) -> requests.Response:
        return client.ask("POST", "/user/retryTask", params={"taskID": task_id, **params})

    def test_a_failed_task_runs_again_under_its_id(self, rig: Rig) -> None:
        client, worker = rig.client(WIDE), rig.workers[0]
        task_id = client.submit(script(marker="flaky", cut="close", once=1, body=b"done"), "payload")
        failed = client.ended(task_id)
        assert failed["status"] == "failed"
        reply = right(self.retry(client, task_id))
        assert (reply["result_code"], reply["taskID"]) == (200, task_id)
        done = eventually(lambda: (now := client.query(task_id))["status"] == "finished" and now, "it has run again")
        assert done["data"] == "done"
        record = client.detailed(task_id)
        assert (record["attempts"], record["retries"], record["reason"]) == (2, 1, "")
        assert worker.markers().count("flaky") == 2
        assert [bytes(call.body) for call in worker.calls if call.orders.get("marker") == "flaky"] == [b"payload"] * 2

    def test_a_sync_call_that_failed_too(self, rig: Rig) -> None:
        client = rig.client(WIDE)
        url = script(marker="sync flaky", cut="close", once=1, body=b"done")
        task_id = client.send(url, params={"taskMode": "Sync"}).json()["taskID"]
        right(self.retry(client, task_id))
        eventually(lambda: client.status(task_id) == "finished", "it has run again")

    def test_a_double_click_is_one_retry(self, rig: Rig, narrow: Client) -> None:
        task_id = narrow.submit(script(marker="clicked", status=500, delay=0.1))
        assert narrow.ended(task_id)["status"] == "failed"
        blocker = narrow.submit(script(delay=30))  # else it may have failed again before the last click
        eventually(lambda: narrow.status(blocker) == "running", "the slot is taken")
        with ThreadPoolExecutor(5) as pool:
            for reply in pool.map(lambda _: self.retry(rig.client(NARROW), task_id), range(5)):
                assert right(reply)["status"] == "queued"
        right(narrow.ask("POST", f"/user/cancelTask?taskID={blocker}"))
        eventually(lambda: narrow.status(task_id) == "failed", "it has failed again")
        assert narrow.detailed(task_id)["retries"] == 1
        assert rig.workers[1].markers().count("clicked") == 2

    def test_cancelled_ones_and_where_they_wait(self, rig: Rig, narrow: Client) -> None:
        running = narrow.submit(script(marker="cancelled and back", delay=30, body=b"done"))
        eventually(lambda: narrow.status(running) == "running", "it runs")
        first, second = (narrow.submit(script(delay=0.1)) for _ in range(2))
        right(narrow.ask("POST", f"/user/cancelTask?taskID={first}"))
        right(self.retry(narrow, first, taskTtl="10m"))
        assert [narrow.query(task)["queue_position"] for task in (second, first)] == [1, 2]
        right(narrow.ask("POST", f"/user/cancelTask?taskID={running}"))
        eventually(lambda: narrow.status(first) == "finished", "both have run")
        assert narrow.status(second) == "finished"

    def test_other_states_are_told(self, rig: Rig, narrow: Client) -> None:
        running = narrow.submit(script(delay=30))
        eventually(lambda: narrow.status(running) == "running", "it runs")
        queued = narrow.submit(script())
        assert "running" in refused(self.retry(narrow, running), 409)
        assert "queued" in refused(self.retry(narrow, queued), 409)
        right(narrow.ask("POST", f"/user/cancelTask?taskID={running}"))
        narrow.ended(queued)
        assert "finished" in refused(self.retry(narrow, queued), 409)
        assert narrow.status(queued) == "finished"

    def test_only_its_owner_may(self, rig: Rig) -> None:
        client = rig.client(WIDE)
        task_id = client.submit(script(status=500))
        client.ended(task_id)
        refused(self.retry(rig.client(), task_id), 401)
        refused(self.retry(rig.client(OTHER), task_id), 404)
        refused(client.ask("POST", "/user/retryTask"), 400)
        refused(self.retry(client, task_id, taskTtl="2d"), 400)
        refused(self.retry(client, task_id + "0"), 404)


class TestPurge:
    def purge(self, client: Client) -> dict[str, Any]:
        return right(client.ask("POST", "/user/purgeQueue"))

    def test_what_waits_is_cancelled_and_what_runs_is_not(self, rig: Rig, narrow: Client) -> None:
        running = narrow.submit(script(delay=30))
        eventually(lambda: narrow.status(running) == "running", "it runs")
        waiting = [narrow.submit(script(marker="purged")) for _ in range(LIMIT)]
        assert self.purge(narrow) == {"result_code": 200, "msg": "cancelled", "result_size": LIMIT}
        for task_id in waiting:
            assert narrow.query(task_id)["status"] == "cancelled"
        assert narrow.status(running) == "running"
        assert self.purge(narrow) == {"result_code": 200, "msg": "cancelled", "result_size": 0}
        right(narrow.ask("POST", f"/user/cancelTask?taskID={running}"))
        assert narrow.ended(narrow.submit(script(body=b"next")))["data"] == "next"
        assert "purged" not in rig.workers[1].markers()

    def test_who_waits_for_a_purged_task_is_told_at_once(self, rig: Rig, narrow: Client) -> None:
        blocker = narrow.submit(script(delay=30))
        eventually(lambda: narrow.status(blocker) == "running", "the slot is taken")
        before = len(narrow.listed())
        with ThreadPoolExecutor(2) as pool:
            sync = pool.submit(keyed, rig.client(NARROW), "k-waits", script(), mode="Sync")
            prefer = pool.submit(rig.client(NARROW).send, script(), headers={"Prefer": "wait=20"})
            eventually(lambda: len(narrow.listed()) == before + 2, "both wait")
            began = time.monotonic()
            assert self.purge(narrow)["result_size"] == 2
            assert refused(sync.result(5), 409)
            assert right_status(prefer.result(5)) == "cancelled"
            assert time.monotonic() - began < 4

    def test_only_with_a_credential(self, rig: Rig) -> None:
        refused(rig.client().ask("POST", "/user/purgeQueue"), 401)


def right_status(response: requests.Response) -> str:
    assert response.status_code == 200
    return str(response.json()["status"])


def test_clients_that_send_until_they_are_answered_have_each_request_once(rig: Rig) -> None:
    """Through kill -9 at any moment: as many tasks as requests, and none of them reaches the worker twice."""
    rng, stop = random.Random(), threading.Event()
    answered: dict[str, set[str]] = {}

    def customer(number: int) -> None:
        client, count = rig.client(OTHER), 0
        while not stop.is_set():
            count += 1
            marker = f"sure-{number}-{count}"
            url = script(marker=marker, delay=0.01, body=marker.encode())
            asked_again = False
            deadline = time.monotonic() + 30
            while True:
                assert time.monotonic() < deadline, "no answer"
                with suppress(requests.RequestException, ValueError):
                    reply = keyed(client, marker, url, mode="Sync" if count % 3 == 0 else "Async")
                    if reply.status_code != 503:
                        answered.setdefault(marker, set()).add(reply.json()["taskID"])
                        if count % 2 or asked_again:
                            break
                        asked_again = True
                time.sleep(0.02)

    with ThreadPoolExecutor(6) as pool:
        customers = [pool.submit(customer, number) for number in range(6)]
        try:
            for _ in range(3):
                time.sleep(rng.uniform(0.1, 0.6))
                rig.gateway.kill9()
                rig.gateway.start()
            enough = len(answered) + 30
            eventually(lambda: len(answered) > enough, "it goes on")
        finally:
            stop.set()
        for each in customers:
            each.result(60)
    client = rig.client(OTHER)
    assert all(len(ids) == 1 for ids in answered.values()), "one task for each key"
    mine = {next(iter(ids)): marker for marker, ids in answered.items()}
    assert set(mine) <= set(client.listed())
    for task_id, marker in mine.items():
        reply = client.ended(task_id, 30)
        assert reply["status"] == "failed" or reply["data"] == marker
    runs = Counter(marker for marker in rig.workers[0].markers() if marker.startswith("sure-"))
    assert set(runs.values()) == {1}
    assert len([task for task in client.listed() if task in mine]) == len(answered)
