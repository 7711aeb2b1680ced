"""Virtual hosts: a whole host is one workspace's, and its credential is asked for unless the workspace is open."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from raw_rig import ID, OK, OTHER, PORT, Rig, configuration, rig_of, workspace

OPEN, QUERY = "open-workspace", "query-workspace"
KEY = "k-4711"
FIELDS = ("X-Forwarded-For: 203.0.113.7, 10.0.0.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: sd.example.com")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        return configuration(
            workspace(ID, *ports, hosts=["SD.example.com", "alias.example.com."]),
            workspace(OTHER, *ports),
            workspace(OPEN, *ports, hosts=["open.example.com"], raw={"open": True}),
            workspace(QUERY, *ports, hosts=["q.example.com"], keys=[digest], raw={"open": True, "key_in_query": True}),
            trusted_proxies=["127.0.0.2/32"],
        )

    with rig_of(tmp_path_factory.mktemp("hosts"), 1, make) as one:
        yield one


def reached(rig: Rig, *args: Any, **more: Any) -> dict[str, str]:
    """The fields with which a request reaches the worker; ``""`` is its request line."""
    with rig.ask(*args, **more) as client:
        worker, head = rig.worker.take()
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.head().field("Ngpu-Status") == "worker"
    return {"": head.line, **{name.lower(): value for name, value in head.fields}}


@pytest.mark.parametrize("host", ["sd.example.com", "Sd.Example.COM:8443", "alias.example.com", "sd.example.com."])
@pytest.mark.parametrize(
    "target", ["/", "/proxy/8080/x", "/user/queryNodes", "/ngpu/api/v1/x", "/a//b?key=mine", "http://sd.example.com/z"]
)
def test_every_path_of_the_host_is_the_workers(rig: Rig, host: str, target: str) -> None:
    fields = reached(rig, target, host=host)
    assert fields[""] == f"GET {target.removeprefix('http://sd.example.com')} HTTP/1.1"
    assert fields["host"] == ("sd.example.com" if "://" in target else host)
    assert "x-forwarded-prefix" not in fields and "authorization" not in fields


def test_a_credential_of_this_workspace_is_needed(rig: Rig) -> None:
    rig.refused(rig.ask("/", host="sd.example.com", credential=None), 401)
    told = rig.refused(rig.ask("/", host="sd.example.com", credential="nobody"), 401)
    assert rig.refused(rig.ask("/", host="sd.example.com", credential=OTHER), 401) == told, "a key was told from none"
    assert rig.worker.idle()


def test_an_open_workspace_needs_none_and_a_wrong_one_is_wrong_all_the_same(rig: Rig) -> None:
    assert reached(rig, "/x?key=theirs", host="open.example.com", credential=None)[""] == "GET /x?key=theirs HTTP/1.1"
    reached(rig, "/x", host="open.example.com", credential=OPEN)
    rig.refused(rig.ask("/x", host="open.example.com", credential=OTHER), 401)
    rig.refused(rig.ask("/proxy/x", host="gw.test", credential=None), 401)


def test_a_key_in_the_query_of_a_host(rig: Rig) -> None:
    assert reached(rig, f"/x?key={KEY}", host="q.example.com", credential=None)[""] == "GET /x HTTP/1.1"
    rig.refused(rig.ask("/x?key=wrong", host="q.example.com", credential=None), 401)
    rig.refused(rig.ask(f"/x?key={KEY}", host="sd.example.com", credential=None), 401)


def test_other_hosts_are_the_gateways_own(rig: Rig) -> None:
    for host in ("example.com", "x.sd.example.com", "127.0.0.1"):
        with rig.ask("/user/queryNodes", host=host) as client:
            head = client.head()
            assert head.status == 200 and head.field("Ngpu-Status") is None


def test_what_a_trusted_proxy_says_stays_and_what_others_say_does_not(rig: Rig) -> None:
    with rig.connect(source="127.0.0.2") as client:
        client.send(_asked("inner.test"))
        worker, head = rig.worker.take()
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.head().status == 200
    told = {name.lower(): value for name, value in head.fields if name.lower().startswith("x-forwarded-")}
    assert told == {
        "x-forwarded-for": "203.0.113.7, 10.0.0.9, 127.0.0.2",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "sd.example.com",
        "x-forwarded-prefix": "/proxy",
    }
    assert head.field("host") == "inner.test"
    told_others = reached(rig, "/proxy/x", *FIELDS, host="inner.test")
    assert told_others["x-forwarded-for"] == "127.0.0.1" and told_others["x-forwarded-proto"] == "http"
    assert told_others["x-forwarded-host"] == "inner.test"


def _asked(host: str) -> bytes:
    lines = ["GET /proxy/x HTTP/1.1", f"Host: {host}", *FIELDS, f"Authorization: {ID}", "", ""]
    return "\r\n".join(lines).encode()


def admin(rig: Rig, method: str, path: str, settings: dict[str, Any] | None = None) -> requests.Response:
    token = (rig.gateway.config_file.parent / "var/admin.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    return requests.request(method, rig.gateway.admin + "/api/v1" + path, headers=headers, json=settings, timeout=10)


def test_hosts_come_change_and_go_at_run_time_and_no_two_workspaces_share_one(rig: Rig) -> None:
    made = {**workspace("made", rig.worker.port), "hosts": ["made.example.com", "SD.example.com."]}
    made["ports"] = {str(PORT): 7860}
    made["upstream"] = [{"node": made["upstream"][0]["node"], "ports": {str(PORT): rig.worker.port}}]
    reply = admin(rig, "POST", "/workspaces", made)
    assert reply.status_code == 400
    assert reply.json()["problems"] == [
        {"path": "hosts[1]", "message": "this host is another workspace's: no two may share one"}
    ]
    for hosts, path in ((["a.test", "A.test."], "hosts[1]"), (["10.0.0.1"], "hosts[0]"), (["a/b"], "hosts[0]")):
        reply = admin(rig, "POST", "/workspaces", {**made, "hosts": hosts})
        assert [problem["path"] for problem in reply.json()["problems"]] == [path]
    assert admin(rig, "POST", "/workspaces", {**made, "hosts": ["made.example.com"]}).status_code == 201
    assert reached(rig, "/x", host="made.example.com", credential="made")[""] == "GET /x HTTP/1.1"
    assert admin(rig, "PUT", "/workspaces/made", {**made, "hosts": ["new.example.com"]}).status_code == 200
    reached(rig, "/x", host="new.example.com", credential="made")
    with rig.ask("/x", host="made.example.com", credential="made") as client:
        assert client.head().status == 404
    assert admin(rig, "DELETE", "/workspaces/made").status_code == 200
    with rig.ask("/x", host="new.example.com", credential="made") as client:
        head = client.head()
        assert head.status == 404 and head.field("Ngpu-Status") is None
