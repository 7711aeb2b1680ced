"""What a submission may ask for beside its work, and how much a workspace may submit: through a real gateway."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
from api_rig import Client, Rig, configuration, eventually, refused, rig_of, right, workspace
from scripted_worker import script

WIDE, NARROW, PACED, DAILY, AGING = "wide", "narrow", "paced", "daily", "aging"
ZONE = ZoneInfo(f"Etc/GMT{time.gmtime().tm_hour - 12:+d}")
"""Where it is about noon: a quota begins anew at midnight."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(
            workspace(WIDE, ports[0], slots=8, timeout="20s", queue={"ttl": "1h"}),
            workspace(NARROW, ports[1], timeout="20s"),
            workspace(PACED, ports[0], slots=8, rate={"per_second": 0.2, "burst": 3}),
            workspace(DAILY, ports[0], slots=8, quota={"per_day": 4}),
            workspace(AGING, ports[1], queue={"ttl": "8s"}),
            timezone=str(ZONE),
        )

    with rig_of(tmp_path_factory.mktemp("wishes"), 2, make) as one:
        yield one


@pytest.fixture
def narrow(rig: Rig) -> Iterator[Client]:
    """Of a workspace with one slot, which is free before and after."""
    client = rig.client(NARROW)
    yield client
    right(client.ask("POST", "/user/purgeQueue"))
    for task_id in client.listed():
        client.ask("POST", f"/user/cancelTask?taskID={task_id}")
    eventually(lambda: rig.workers[1].at_once == 0, "the worker has nothing to do")


def submit(client: Client, url: str, **params: str) -> str:
    task_id: str = right(client.send(url, params={"taskMode": "Async", **params}))["taskID"]
    return task_id


def blocked(client: Client, seconds: float = 30) -> str:
    """A task that has the only slot."""
    task_id = client.submit(script(delay=seconds))
    eventually(lambda: client.status(task_id) == "running", "the slot is taken")
    return task_id


class TestPriority:
    def test_high_goes_first_and_low_last_and_their_places_say_so(self, rig: Rig, narrow: Client) -> None:
        blocker = blocked(narrow)
        wanted = ["low", "normal", "high", "NORMAL", "High", ""]
        ids = [submit(narrow, script(marker=f"p{n}-{p}", delay=0.02), taskPriority=p) for n, p in enumerate(wanted)]
        assert [narrow.query(task_id)["queue_position"] for task_id in ids] == [6, 3, 1, 4, 2, 5]
        right(narrow.ask("POST", f"/user/cancelTask?taskID={blocker}"))
        for task_id in ids:
            narrow.ended(task_id)
        markers = [marker for marker in rig.workers[1].markers() if re.match(r"p\d-", marker)]
        assert markers == ["p2-high", "p4-High", "p1-normal", "p3-NORMAL", "p5-", "p0-low"]

    def test_the_estimate_follows_the_place(self, rig: Rig, narrow: Client) -> None:
        narrow.ended(narrow.submit(script(delay=1.2)))
        blocked(narrow)
        low = submit(narrow, script(), taskPriority="low")
        alone = narrow.query(low)
        assert (alone["queue_position"], alone["wait_estimate"] >= 1) == (1, True)
        for _ in range(30):
            submit(narrow, script(), taskPriority="high")
        behind = narrow.query(low)
        assert behind["queue_position"] == 31
        assert behind["wait_estimate"] > alone["wait_estimate"]

    def test_low_is_not_put_off_for_ever(self, rig: Rig) -> None:
        """It goes before what comes a quarter of the ttl after it, however much comes."""
        client = rig.client(AGING)
        blocker = blocked(client)
        low = submit(client, script(marker="aged", delay=0.01), taskPriority="low")
        before = submit(client, script(marker="soon after", delay=0.01))
        eventually(lambda: time.time() > submitted_at(client, low) + 3.1, "a quarter of the ttl is over")
        late = [submit(client, script(marker=f"late {n}", delay=0.01)) for n in range(3)]
        assert [client.query(task)["queue_position"] for task in (before, low, *late)] == [1, 2, 3, 4, 5]
        right(client.ask("POST", f"/user/cancelTask?taskID={blocker}"))
        for task_id in (low, *late):
            assert client.ended(task_id)["status"] == "finished"
        mine = [marker for marker in rig.workers[1].markers() if marker in ("aged", "soon after", "late 0")]
        assert mine == ["soon after", "aged", "late 0"]

    def test_none_of_these(self, rig: Rig) -> None:
        assert "low, normal or high" in refused(rig.client(WIDE).send(params={"taskPriority": "urgent"}), 400)


def submitted_at(client: Client, task_id: str) -> float:
    told = client.detailed(task_id)["requesttime"]
    return datetime.strptime(told, "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZONE).timestamp()


class TestTimes:
    def test_a_ttl_of_its_own(self, rig: Rig, narrow: Client) -> None:
        blocked(narrow)
        brief = submit(narrow, script(marker="brief"), taskTtl="500ms")
        longer = submit(narrow, script(), taskTtl="1m")
        assert narrow.ended(brief)["status"] == "expired"
        assert narrow.status(longer) == "queued"
        assert "brief" not in rig.workers[1].markers()

    def test_a_ttl_of_a_client_that_waits(self, rig: Rig, narrow: Client) -> None:
        blocked(narrow)
        began = time.monotonic()
        refused(narrow.send(script(), params={"taskMode": "Sync", "taskTtl": "1s"}), 503)
        assert 0.9 < time.monotonic() - began < 5

    @pytest.mark.parametrize("mode", ["Sync", "Async"])
    def test_a_timeout_of_its_own(self, rig: Rig, mode: str) -> None:
        client = rig.client(WIDE)
        marker = f"too long {mode}"
        url = script(marker=marker, delay=20)
        reply = client.send(url, params={"taskMode": mode, "taskTimeout": "700ms"})
        if mode == "Sync":
            refused(reply, 504)
        else:
            assert client.ended(right(reply)["taskID"])["result_code"] == 504
        eventually(lambda: marker in rig.workers[0].markers("cut"), "the worker's call was cut")

    @pytest.mark.parametrize(
        ("params", "said"),
        [
            ({"taskTtl": "2h"}, "taskTtl is more than the 3600s"),
            ({"taskTimeout": "21s"}, "taskTimeout is more than the 20s"),
            ({"taskTtl": "30"}, "taskTtl needs a unit"),
            ({"taskTtl": "0"}, "taskTtl must be more than 0"),
            ({"taskTimeout": "-1s"}, "taskTimeout must be a duration"),
            ({"taskTimeout": "soon"}, "taskTimeout must be a duration"),
            ({"taskTtl": "5 weeks"}, "taskTtl has an unknown unit"),
            ({"taskTtl": ["1s", "1s"]}, "taskTtl stands in the query more than once"),
        ],
        ids=str,
    )
    def test_what_the_workspace_does_not_let_it_have(self, rig: Rig, params: dict[str, Any], said: str) -> None:
        before = len(rig.client(WIDE).listed())
        assert said in refused(rig.client(WIDE).send(params=params), 400)
        assert len(rig.client(WIDE).listed()) == before

    def test_just_the_limit(self, rig: Rig) -> None:
        params = {"taskTtl": "60m", "taskTimeout": "20s", "taskMode": "Sync"}
        right(rig.client(WIDE).send(script(), params=params))


def limits_of(reply: requests.Response) -> dict[str, tuple[int, int]]:
    """What is left, and for how many seconds, by the name of the limit."""
    found = re.findall(r'"(\w+)";r=(\d+);t=(\d+)', reply.headers.get("RateLimit", ""))
    return {name: (int(left), int(reset)) for name, left, reset in found}


class TestRate:
    def test_a_burst_passes_and_then_429_says_when(self, rig: Rig) -> None:
        client = rig.client(PACED)
        replies = [client.send(script(), params={"taskMode": "Async"}) for _ in range(4)]
        assert [reply.status_code for reply in replies] == [200, 200, 200, 429]
        assert [limits_of(reply)["rate"][0] for reply in replies] == [2, 1, 0, 0]
        assert replies[0].headers["RateLimit-Policy"] == '"rate";q=3;w=15'
        assert "0.2 requests a second" in refused(replies[3], 429)
        after = int(replies[3].headers["Retry-After"])
        assert 1 <= after <= 5
        assert len(client.listed()) == 3
        refused(client.ask("POST", "/user/retryTask?taskID=x"), 429)
        assert client.ask("GET", "/user/queryTaskList").status_code == 200, "reading is not limited"
        right(rig.client(WIDE).send(script()))
        deadline = time.monotonic() + after
        eventually(lambda: time.monotonic() >= deadline, "as long as it was asked to")
        right(client.send(script(), params={"taskMode": "Sync"}))

    def test_a_large_body_is_not_read_first(self, rig: Rig) -> None:
        while rig.client(PACED).send(script()).status_code == 200:
            pass
        head = (
            b"POST /user/schedulingTask HTTP/1.1\r\nHost: x\r\nAuthorization: paced\r\nContent-Length: 60000000\r\n\r\n"
        )
        assert rig.raw(head + b"x" * 1000).startswith(b"HTTP/1.1 429 ")

    def test_without_limits_nothing_is_said_of_any(self, rig: Rig) -> None:
        reply = rig.client(WIDE).send(script())
        assert limits_of(reply) == {} and "RateLimit-Policy" not in reply.headers


class TestQuota:
    def test_it_counts_tasks_of_all_kinds_and_across_restarts(self, rig: Rig) -> None:
        client = rig.client(DAILY)
        first = client.send(script(), params={"taskMode": "Async"})
        left, reset = limits_of(first)["quota"]
        assert left == 3 and 0 < reset <= 86400
        assert first.headers["RateLimit-Policy"] == '"quota";q=4;w=86400'
        assert limits_of(client.send(script(status=500), params={"taskMode": "Sync"}))["quota"][0] == 2
        key = {"Idempotency-Key": "k"}
        for _ in range(2):
            right(client.send(script(), params={"taskMode": "Sync"}, headers=key))
        refused(client.ask("POST", "/user/schedulingTask", data=b"no JSON"), 400)
        rig.gateway.restart()
        assert limits_of(client.send(script(), params={"taskMode": "Sync"}))["quota"][0] == 0
        for mode in ("Sync", "Async"):
            reply = client.send(script(marker="over the quota"), params={"taskMode": mode})
            assert "quota of 4" in refused(reply, 429)
            assert int(reply.headers["Retry-After"]) == limits_of(reply)["quota"][1]
        right(client.send(script(), params={"taskMode": "Sync"}, headers=key))  # its task is there already
        refused(client.send(script(), params={"taskMode": "Async"}, headers={"Idempotency-Key": "new"}), 429)
        assert len(client.listed()) == 4
        failed = next(task for task in client.listed() if client.status(task) == "failed")
        refused(client.ask("POST", f"/user/retryTask?taskID={failed}"), 429)
        assert client.status(failed) == "failed"
        assert "over the quota" not in rig.workers[0].markers()

    def test_at_once_no_more_get_in(self, rig: Rig) -> None:
        rig.gateway.stop()
        text = rig.gateway.config_file.read_text().replace("per_day: 4", "per_day: 9")
        rig.gateway.config_file.write_text(text)
        rig.gateway.start()
        before = len(rig.client(DAILY).listed())

        def one(number: int) -> int:
            mode = "Sync" if number % 2 else "Async"
            return int(rig.client(DAILY).send(script(delay=0.05), params={"taskMode": mode}).status_code)

        with ThreadPoolExecutor(16) as pool:
            codes = list(pool.map(one, range(16)))
        assert codes.count(200) == 5 and codes.count(429) == 11
        assert len(rig.client(DAILY).listed()) == before + 5
