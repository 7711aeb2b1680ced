"""Workspaces through the admin API of a real gateway: made, changed, removed under load, found after kill -9."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from api_rig import NODES, Client, Rig, configuration, eventually, key_hash, refused, rig_of, right, workspace
from scripted_worker import script

OF_THE_FILE = "of-the-file"
SECRET = "s3cr3t-s3cr3t"


class Operator:
    """Speaks the admin API."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def ask(self, method: str, path: str = "", **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.rig.token}"} | more.pop("headers", {})
        url = f"{self.rig.gateway.admin}/api/v1/workspaces{path}"
        return requests.request(method, url, headers=headers, timeout=60, **more)

    def create(self, id: str, *workers: int, **keys: Any) -> dict[str, Any]:
        """A workspace with a replica on each of these workers' ports."""
        reply = self.ask("POST", json=workspace(id, *(workers or (self.rig.worker.port,)), **keys))
        assert reply.status_code == 201, reply.text
        made: dict[str, Any] = reply.json()["workspace"]
        return made

    def change(self, id: str, *workers: int, **keys: Any) -> dict[str, Any]:
        settings = workspace(id, *(workers or (self.rig.worker.port,)), **keys)
        changed: dict[str, Any] = right(self.ask("PUT", f"/{id}", json=settings))["workspace"]
        return changed

    def delete(self, id: str) -> str:
        return str(right(self.ask("DELETE", f"/{id}"))["msg"])

    def show(self, id: str) -> dict[str, Any]:
        shown: dict[str, Any] = right(self.ask("GET", f"/{id}"))["workspace"]
        return shown

    def ids(self) -> list[str]:
        return [each["id"] for each in right(self.ask("GET"))["workspaces"]]

    def metrics(self) -> str:
        return self.rig.admin("/metrics", self.rig.token).text


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(
            workspace(OF_THE_FILE, ports[0], keys=[key_hash("file")], env={"A": SECRET}), fleet={"mounts": ["/srv"]}
        )

    with rig_of(tmp_path_factory.mktemp("workspaces"), 2, make) as one:
        yield one


@pytest.fixture
def operator(rig: Rig) -> Iterator[Operator]:
    """Takes everything away again that a test has made."""
    operator = Operator(rig)
    yield operator
    for workspace_id in operator.ids():
        if workspace_id != OF_THE_FILE:
            operator.delete(workspace_id)


def run(client: Client, **what: Any) -> requests.Response:
    return client.send(script(**what), params={"taskMode": "Sync"})


class TestMaking:
    def test_it_can_be_called_at_once(self, operator: Operator) -> None:
        client = operator.rig.client("w1")
        refused(run(client), 401)
        made = operator.create("w1", name="first")
        assert (made["id"], made["source"], made["state"], made["settings"]["name"]) == ("w1", "api", "static", "first")
        assert right(run(client))["result_code"] == 200
        assert client.ended(client.submit(script()))["status"] == "finished"

    def test_it_is_there_after_kill_9_and_so_is_its_change(self, operator: Operator) -> None:
        operator.create("w1", keys=[key_hash("first")])
        operator.rig.gateway.kill9()
        operator.rig.gateway.start()
        assert right(run(operator.rig.client("first")))
        operator.change("w1", keys=[key_hash("second")])
        operator.rig.gateway.kill9()
        operator.rig.gateway.start()
        assert right(run(operator.rig.client("second")))
        refused(run(operator.rig.client("first")), 401)
        operator.delete("w1")
        operator.rig.gateway.kill9()
        operator.rig.gateway.start()
        refused(run(operator.rig.client("second")), 401)
        assert operator.ids() == [OF_THE_FILE]

    def test_what_is_answered_is_kept_whenever_it_is_killed(self, operator: Operator) -> None:
        """Killed in the middle of a row of changes, a few times over; the last acknowledged ones are there."""
        operator.create("w0")
        name = 0
        told = threading.Event()

        def change() -> None:
            nonlocal name
            while True:
                try:
                    operator.change("w0", name=str(name + 1))
                except requests.ConnectionError:
                    return
                name += 1
                told.set()

        for _ in range(3):
            told.clear()
            with ThreadPoolExecutor(1) as pool:
                changing = pool.submit(change)
                assert told.wait(30)
                operator.rig.gateway.kill9()
                changing.result(30)
            operator.rig.gateway.start()
            kept = int(operator.show("w0")["name"])
            assert kept in (name, name + 1), "the one that was under way may have been kept without being told"
            name = kept

    def test_one_that_no_node_can_deploy_is_refused(self, operator: Operator) -> None:
        reply = operator.ask("POST", json={"id": "w1", "ports": {"8080": 80}, "image": {"reference": "busybox"}})
        assert "no node has an engine" in refused(reply, 400)


class TestChanging:
    def test_keys_are_revoked_by_the_time_it_is_answered(self, operator: Operator) -> None:
        operator.create("w1", keys=[key_hash("old")])
        old, new = operator.rig.client("old"), operator.rig.client("new")
        assert right(run(old))
        for _ in range(5):
            operator.change("w1", keys=[key_hash("new")])
            refused(run(old), 401)
            assert right(run(new))
            operator.change("w1", keys=[key_hash("old")])
            refused(run(new), 401)
            assert right(run(old))

    def test_other_replicas_take_over_under_load_and_no_call_fails(self, operator: Operator) -> None:
        first, second = operator.rig.workers
        operator.create("w1", first.port, slots=4)
        assert right(run(operator.rig.client("w1")))
        stop = threading.Event()

        def customer(number: int) -> Counter[int]:
            client, seen = operator.rig.client("w1"), Counter[int]()
            while not stop.is_set():
                seen[run(client, delay="0.02").status_code] += 1
            return seen

        with ThreadPoolExecutor(6) as pool:
            customers = [pool.submit(customer, number) for number in range(6)]
            for turn in range(6):
                workers = [first.port, second.port] if turn % 2 else [first.port]
                operator.change("w1", *workers, slots=4, queue={"limit": 100 + turn})
                time.sleep(0.2)
            stop.set()
            seen = sum((each.result(60) for each in customers), Counter[int]())
        assert set(seen) == {200} and seen[200] > 50

    def test_a_running_call_ends_under_the_settings_it_began_with(self, operator: Operator) -> None:
        first, second = operator.rig.workers
        operator.create("w1", first.port)
        client = operator.rig.client("w1")
        assert right(run(client))
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run, client, marker="long", delay="1")
            eventually(lambda: "long" in first.markers(), "the call at its worker")
            operator.change("w1", second.port, keys=[key_hash("other")])
            assert right(running.result(30))


class TestRemoving:
    def test_under_load_nothing_hangs_and_every_task_ends(self, operator: Operator) -> None:
        label = "under-load"
        operator.create("w1", slots=2, name=label)
        client = operator.rig.client("w1")
        assert right(run(client))
        assert label in operator.metrics()
        tasks = [client.submit(script(marker=f"t{number}", delay="0.3")) for number in range(30)]
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(run, client, delay="0.3") for _ in range(8)]
            eventually(lambda: "t0" in operator.rig.worker.markers(), "the first task at its worker")
            assert "removed" in operator.delete("w1")
            codes = Counter(each.result(30).status_code for each in waiting)
        assert set(codes) <= {200, 503, 401}
        anybody = operator.rig.client()
        ends = [anybody.ended(task_id) for task_id in tasks]
        by_status = Counter(end["status"] for end in ends)
        assert set(by_status) == {"finished", "failed"} and by_status["failed"] > 10
        assert {end["msg"] for end in ends if end["status"] == "failed"} == {
            "its workspace was removed before the task could run"
        }
        refused(run(client), 401)
        assert label not in operator.metrics()

    def test_it_can_be_made_again_at_once(self, operator: Operator) -> None:
        client = operator.rig.client("w1")
        for _ in range(5):
            operator.create("w1")
            assert right(run(client))
            operator.delete("w1")
            refused(run(client), 401)


class TestShowing:
    def test_what_stands_where(self, operator: Operator) -> None:
        operator.create("w1", *(worker.port for worker in operator.rig.workers))
        both = ("serving", "in_flight", "running", "replicas", "queued")
        shown = eventually(lambda: (found := operator.show("w1"))["serving"] == 2 and found, "two replicas that serve")
        assert [shown[name] for name in both] == [2, 0, 2, 2, 0]
        assert [copy["node"] for copy in shown["copies"]] == list(NODES[:2])
        assert {copy["health"] for copy in shown["copies"]} == {"up"}
        assert shown["nodes"] == [{"address": n, "progress": 100, "status": 1, "reason": ""} for n in NODES[:2]]
        listed = right(operator.ask("GET"))["workspaces"]
        assert [(each["id"], each["source"]) for each in listed] == [(OF_THE_FILE, "file"), ("w1", "api")]

    def test_secrets_are_not_shown(self, operator: Operator) -> None:
        operator.create("w1", keys=[key_hash("k")], env={"TOKEN": SECRET})
        for path in ("", "/w1", f"/{OF_THE_FILE}"):
            text = operator.ask("GET", path).text
            assert SECRET not in text and key_hash("k") not in text and key_hash("file") not in text
        assert operator.show(OF_THE_FILE)["settings"]["keys"] == ["***"]

    def test_no_log_holds_an_id_or_a_secret(self, operator: Operator) -> None:
        hidden = "hidden-4711"
        operator.create(hidden, env={"TOKEN": SECRET})
        operator.change(hidden, env={"TOKEN": SECRET + "2"})
        operator.ask("PUT", f"/{hidden}", json={"env": {"TOKEN": [SECRET]}})
        operator.ask("PATCH", f"/{hidden}")
        operator.ask("GET", f"/{hidden}/copies/{hidden}")
        operator.ask("GET", f"/{hidden}", headers={"Authorization": "wrong"})
        operator.delete(hidden)
        log = operator.rig.gateway.log.read_text("utf-8")
        assert hidden not in log and SECRET not in log
        lines = [each for each in operator.rig.log_lines() if each["listener"] == "admin" and "path" in each]
        paths = {(each["method"], each["path"]) for each in lines}
        assert {("PUT", "/api/v1/workspaces/<workspace>"), ("PATCH", "/api/v1/workspaces/...")} <= paths


class TestRefusing:
    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    def test_those_of_the_file_are_read_only(self, operator: Operator, method: str) -> None:
        reply = operator.ask(method, f"/{OF_THE_FILE}", json=workspace(OF_THE_FILE, 1))
        assert "stands in the configuration file" in refused(reply, 409)
        assert right(run(operator.rig.client("file")))

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_what_is_not_there(self, operator: Operator, method: str) -> None:
        refused(operator.ask(method, "/nobody", json=workspace("nobody", 1)), 404)
        refused(operator.ask(method, "/%ff%00x", json={}), 400)

    def test_an_id_or_a_key_that_is_taken(self, operator: Operator) -> None:
        refused(operator.ask("POST", json=workspace(OF_THE_FILE, 1)), 409)
        reply = operator.ask("POST", json=workspace("w1", 1, keys=[key_hash("file")]))
        refused(reply, 400)
        assert [each["path"] for each in reply.json()["problems"]] == ["keys[0]"]

    def test_all_problems_with_their_paths(self, operator: Operator) -> None:
        wrong = workspace("w1", 1, retry="sometimes", gate="nowhere", container={"mounts": [{"source": "/x"}]})
        reply = operator.ask("POST", json=wrong)
        assert "these settings cannot be used" in refused(reply, 400)
        problems = {each["path"]: each["message"] for each in reply.json()["problems"]}
        assert problems.keys() == {"retry", "gate", "container.mounts[0].target"}
        assert problems["retry"].startswith("must be 'never', 'connect' or 'idempotent'")
        assert operator.ids() == [OF_THE_FILE]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", 400),
            (b"null", 400),
            (b"[]", 400),
            (b'"w1"', 400),
            (b"{", 400),
            (b'{"id": "w1"} x', 400),
            (b'{"id": "w1", "id": "w2"}', 400),
            (b'{"slots": NaN}', 400),
            (b'{"slots": 1e999}', 400),
            (b'{"slots": ' + b"9" * 5000 + b"}", 400),
            (b'{"id": "\xff"}', 400),
            (b'{"id": "\\ud800", "ports": {"8080": 1}}', 400),
            (b'{"name": "\\ud800\\ud800"}', 400),
            (b'{"\\ud800": 1}', 400),
            (b'{"labels": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400),
            (b'{"command": [' + b"0," * 50_000 + b"0]}", 400),
            (b'{"env": {' + b",".join(b'"A%d": 1' % number for number in range(4_000)) + b"}}", 400),
            (b'{"id": {"id": {}}, "ports": [[]], "upstream": {"a": []}, "image": 5, "health": []}', 400),
            (b'{"selection": {"policy": 5, "options": {"x": {"y": null}}}, "apps": [1], "gate": {}}', 400),
            (b'{"id": "' + b"x" * 300_000 + b'"}', 413),
        ],
    )
    def test_rubbish_gets_an_error_and_changes_nothing(self, operator: Operator, body: bytes, status: int) -> None:
        refused(operator.ask("POST", data=body), status)
        operator.create("w1")
        refused(operator.ask("PUT", "/w1", data=body), status)
        assert operator.show("w1")["settings"]["id"] == "w1"
        assert operator.rig.admin("/readyz").status_code == 200

    def test_a_body_that_is_too_large_is_refused_before_it_is_sent(self, operator: Operator) -> None:
        host, port = operator.rig.gateway.admin.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        connection.putrequest("POST", "/api/v1/workspaces")
        connection.putheader("Authorization", f"Bearer {operator.rig.token}")
        connection.putheader("Content-Length", str(1 << 30))
        connection.endheaders()
        reply = connection.getresponse()
        assert reply.status == 413 and json.loads(reply.read())["result_code"] == 413
        connection.close()


ROUTES = [
    ("GET", ""),
    ("POST", ""),
    ("GET", f"/{OF_THE_FILE}"),
    ("GET", "/nobody"),
    ("PUT", f"/{OF_THE_FILE}"),
    ("PUT", "/nobody"),
    ("DELETE", f"/{OF_THE_FILE}"),
    ("DELETE", "/nobody"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
class TestCredentials:
    def test_nothing_is_done_or_told_without_the_token(self, operator: Operator, method: str, path: str) -> None:
        """Whether there is such a workspace is not told either; a customer's credential is no token."""
        token = operator.rig.token
        url = f"{operator.rig.gateway.admin}/api/v1/workspaces{path}"
        wrong = (None, "", "Bearer ", "Bearer wrong", f"Bearer {token}x", f"Bearer {token[:-1]}", "Bearer file", "file")
        for shown in (*wrong, f"Basic {token}", f"Bearer {token}, Bearer {token}"):
            headers = {} if shown is None else {"Authorization": shown}
            reply = requests.request(method, url, headers=headers, json=workspace("w1", 1), timeout=10)
            assert "admin token" in refused(reply, 401)
            assert reply.headers["WWW-Authenticate"] == 'Bearer realm="ngpu"'
        assert operator.ids() == [OF_THE_FILE]

    def test_with_the_token_it_is_looked_at(self, operator: Operator, method: str, path: str) -> None:
        assert operator.ask(method, path, json={}).status_code in (200, 400, 404, 409)
