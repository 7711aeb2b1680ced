"""The admin API's calls of tasks, at a real gateway, each reply as docs/openapi-admin.yaml says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from asking_admin import Admin
from described import Described
from processes import ROOT, find_free_port, running

from ngpu.http.admin import API

NODE = "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
HOLDER = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
ALL, ONE = f"{API}/tasks", f"{API}/tasks/{{task}}"


def block(id: str, port: int, **keys: Any) -> dict[str, Any]:
    upstream = [{"node": NODE, "ports": {"8080": port}}]
    return {"id": id, "name": f"the {id}", "ports": {"8080": 7860}, "upstream": upstream, "path": "/echo", **keys}


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    with running(tmp_path_factory.mktemp("tasks")) as processes:
        worker = processes.start_worker()
        workspaces = [block("up", worker.port), block("down", find_free_port())]
        nodes = [{"address": NODE, "host": "127.0.0.1"}]
        gateway = processes.start_gateway({"nodes": nodes, "workspaces": workspaces})
        yield Admin(gateway, Described(ROOT / "docs/openapi-admin.yaml"))


def submit(admin: Admin, workspace: str, address: str = "") -> str:
    reply = requests.post(
        f"{admin.gateway.url}/user/schedulingTask?taskMode=Async&paramUrl=/x?secret=1",
        json={"btc_address": address, "data": {}},
        headers={"Authorization": workspace},
        timeout=10,
    )
    task_id: str = reply.json()["taskID"]
    return task_id


def ended(admin: Admin, task_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while (task := admin.ask("GET", ONE, 200, task_id)["task"])["status"] in ("queued", "running"):
        assert time.monotonic() < deadline, task
        time.sleep(0.05)
    found: dict[str, Any] = task
    return found


def listed(admin: Admin, **params: Any) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    while True:
        page = admin.ask("GET", ALL, 200, params=params)
        found += [task["id"] for task in page["tasks"]]
        if "next_cursor" not in page:
            return found
        params["cursor"] = page["next_cursor"]


def test_tasks_of_all_workspaces_are_found_the_newest_first(admin: Admin) -> None:
    """An operator looks for what went wrong just now, and does not know whose it was."""
    order = ("up", "down", "down", "up", "down")
    ids = [submit(admin, workspace, HOLDER if n == 1 else "") for n, workspace in enumerate(order)][::-1]
    for n in (1, 4):
        ended(admin, ids[n])
    assert listed(admin)[:5] == ids
    assert listed(admin, limit=2)[:5] == ids, "pages show each task once, over all workspaces"
    assert [each for each in listed(admin, workspace="down") if each in ids] == [ids[0], ids[2], ids[3]]
    assert listed(admin, address=HOLDER) == [ids[3]]
    assert set(listed(admin, node=NODE.lower())) & set(ids) == {ids[1], ids[4]}
    assert set(listed(admin, status="queued", limit=1)) >= {ids[0], ids[2], ids[3]}
    assert listed(admin, start="1h")[:5] == ids and listed(admin, end="1h") == []
    assert listed(admin, start="2020-01-01", end="2020-01-02 10:00:00") == []


def test_the_life_of_a_task(admin: Admin) -> None:
    task_id = submit(admin, "down", HOLDER)
    waits = admin.ask("GET", ONE, 200, task_id)["task"]
    assert (waits["status"], waits["workspace_name"], waits["address"]) == ("queued", "the down", HOLDER)
    assert waits["target"] == "/x", "a query may hold a credential"
    assert waits["queue_position"] >= 1 and waits["started_at"] is None and waits["ran"] == 0
    assert admin.ask("POST", f"{ONE}/cancel", 200, task_id)["task"]["status"] == "cancelled"
    admin.ask("POST", f"{ONE}/cancel", 409, task_id)
    again = admin.ask("POST", f"{ONE}/retry", 200, task_id)["task"]
    assert (again["status"], again["retries"]) == ("queued", 1)
    admin.ask("POST", f"{ONE}/cancel", 200, task_id)


def test_what_ran_tells_where_and_for_how_long(admin: Admin) -> None:
    task = ended(admin, submit(admin, "up"))
    assert (task["node"], task["host"], task["attempts"]) == (NODE, "127.0.0.1", 1)
    assert task["submitted_at"] <= task["started_at"] <= task["ended_at"]
    assert task["worker_status"] == 404 and task["status"] == "failed", "the demo worker has no such path"
    assert 0 <= task["ran"] < 20 and task["code"] >= 400 and task["reason"]


def test_refusals(admin: Admin) -> None:
    for name in ("", "/cancel", "/retry"):
        admin.ask("POST" if name else "GET", ONE + name, 404, "nobody")
    for params in ({"limit": 0}, {"limit": "x"}, {"status": "lost"}, {"start": "now"}, {"cursor": "x"}):
        admin.ask("GET", ALL, 400, params=params)
    admin.ask("GET", ALL, 400, params=[("limit", "1"), ("limit", "2")])
    admin.ask("GET", ALL, 401, headers={"Authorization": "Bearer wrong"})
