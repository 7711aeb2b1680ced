"""Events and figures of several processes, of one gateway and of two, on one Redis: whoever is asked tells of all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from api_rig import Rig, configuration, eventually, rig_of, workspace
from redis_server import RedisServer, block
from scripted_worker import script

ONE = "0123"


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, Rig, Rig]]:
    """A gateway of one process, and one of two."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    store = block(server)

    def make(**keys: Any) -> Any:
        return lambda ports: configuration(workspace(ONE, *ports, slots=8), store=store, **keys)

    try:
        with (
            rig_of(tmp_path_factory.mktemp("a"), 1, make()) as a,
            rig_of(tmp_path_factory.mktemp("b"), 1, make(processes=2)) as b,
        ):
            eventually(lambda: "2 workers serve" in b.gateway.log.read_text(), "all are there")
            yield server, a, b
    finally:
        server.stop()


def events(rig: Rig, **query: Any) -> list[dict[str, Any]]:
    path = "/api/v1/events?" + "&".join(f"{name}={value}" for name, value in query.items())
    reply = rig.admin(path, rig.token)
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["events"]
    return found


def test_each_tells_of_all(rigs: tuple[RedisServer, Rig, Rig]) -> None:
    _, a, b = rigs
    eventually(lambda: len(events(a, kind="gateway_started")) == 3, "those that came later are heard of")
    names = {each["gateway"] for each in events(a, kind="gateway_started")}
    assert len(names) == 3 and len({name.partition(":")[0] for name in names}) == 1
    assert events(a, kind="gateway_joined") and events(a, kind="gateway_leads")
    assert b.client(ONE).send(script(status=500, body=b"no"), params={"taskMode": "Sync"}).status_code >= 500
    for rig in (a, b, b, b):
        (failed,) = eventually(lambda rig=rig: events(rig, kind="task_failed"), "it is told everywhere")
        assert failed["workspace"] == ONE and failed["task"]


def test_the_series_of_a_gateway_are_those_of_its_processes(rigs: tuple[RedisServer, Rig, Rig]) -> None:
    _, _, b = rigs
    for _ in range(12):
        assert b.client(ONE).send(script(body=b"fine"), params={"taskMode": "Sync"}).status_code == 200

    def counted() -> bool:
        reply = b.admin(f"/api/v1/series?workspace={ONE}&window=10m", b.token)
        assert reply.status_code == 200, reply.text
        return sum(point["requests"] for point in reply.json()["points"]) == 13

    eventually(counted, "all calls, whichever process made them", 25)


@pytest.mark.parametrize("which", [1, 2])
def test_a_reload_that_is_refused(rigs: tuple[RedisServer, Rig, Rig], which: int) -> None:
    """The parent of several processes has no journal that anybody reads: a worker tells of it."""
    a, other = (rigs[1], rigs[2]) if which == 1 else (rigs[2], rigs[1])
    right = a.gateway.config_file.read_text()
    a.gateway.config_file.write_text("nodes: what")
    os.kill(a.gateway.pid, signal.SIGHUP)
    refused = eventually(lambda: (found := events(other, kind="reload_refused"))[which - 1 :] and found, "it is told")[
        -1
    ]
    assert eventually(lambda: events(a, kind="reload_refused"), "here, too")
    a.gateway.config_file.write_text(right)
    assert refused["severity"] == "error" and "cannot be used" in refused["message"]


def test_a_store_that_is_away_and_comes_back(rigs: tuple[RedisServer, Rig, Rig]) -> None:
    server, a, _ = rigs
    before = len(events(a, kind="store_back"))
    server.kill9()
    away = eventually(lambda: events(a, kind="store_unavailable"), "it is told without the store")
    assert away[-1]["severity"] == "error" and "Redis" in away[-1]["message"]
    server.start()
    eventually(lambda: len(events(a, kind="store_back")) > before, "and back")
