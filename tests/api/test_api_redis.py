"""A gateway whose store is a Redis: what its customers and its operator see when one of the two goes away."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from api_rig import Rig, configuration, eventually, refused, rig_of, workspace
from redis_server import RedisServer, block
from scripted_worker import script
from several_rig import hang_up

WORKSPACE = "0123"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def rig(tmp_path_factory: pytest.TempPathFactory, server: RedisServer) -> Iterator[Rig]:
    store = {**block(server), "timeout": "2s"}
    with rig_of(
        tmp_path_factory.mktemp("gateway"), 1, lambda ports: configuration(workspace(WORKSPACE, *ports), store=store)
    ) as one:
        yield one


def test_nothing_is_lost_when_the_gateway_is_killed(rig: Rig) -> None:
    client = rig.client(WORKSPACE)
    done = client.submit(script(body=b"0123"))
    assert client.ended(done)["data"] == "0123"
    running = client.submit(script(delay=30))
    eventually(lambda: client.status(running) == "running", "it runs")
    waiting = [client.submit(script(body=b"%d" % number)) for number in range(5)]
    rig.gateway.kill9()
    rig.gateway.start()
    assert client.query(done)["data"] == "0123"
    assert "its outcome is unknown" in client.ended(running)["msg"]
    assert [client.ended(task_id)["data"] for task_id in waiting] == ["0", "1", "2", "3", "4"]
    assert client.listed() == [done, running, *waiting]


def test_nothing_is_lost_when_redis_is_killed(rig: Rig, server: RedisServer) -> None:
    client = rig.client(WORKSPACE)
    tasks = [client.submit(script(delay=0.05, body=b"%d" % number)) for number in range(20)]
    eventually(lambda: client.status(tasks[2]) != "queued", "some have run")
    server.kill9()
    assert rig.admin("/healthz").status_code == 200
    ready = rig.admin("/readyz")
    assert ready.status_code == 503 and f"127.0.0.1:{server.port}" in ready.text
    assert "cannot be reached" in refused(client.send(script()), 503)
    server.start()
    eventually(lambda: rig.admin("/readyz").status_code == 200, "it is ready again")
    assert [client.ended(task_id)["data"] for task_id in tasks] == [str(number) for number in range(20)]
    assert rig.worker.at_once == 0


def test_who_waits_gets_the_answer_though_redis_has_forgotten_the_call(rig: Rig, server: RedisServer) -> None:
    client = rig.client(WORKSPACE)
    kept = server.keep()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.send, script(delay=8, body=b"done"), params={"taskMode": "Sync"})
        eventually(lambda: rig.client(WORKSPACE).listed(), "it is recorded as a running one")
        server.fall_back(kept)
        reply = answer.result(60)
    assert (reply.status_code, reply.json()["data"]) == (200, "done")
    assert client.listed() == [reply.json()["taskID"]], "its record was made anew"
    assert client.query(reply.json()["taskID"])["data"] == "done"


def test_a_redis_that_hangs_costs_a_bounded_wait(rig: Rig, server: RedisServer) -> None:
    client = rig.client(WORKSPACE)
    done = client.submit(script(body=b"x"))
    client.ended(done)
    server.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert "no answer" in refused(client.ask("GET", f"/user/queryTask?taskID={done}"), 503)
        assert "127.0.0.1" in refused(client.send(script()), 503)
        assert time.monotonic() - began < 8
        hang_up(rig.gateway.pid)  # a process that took this one's place would find no store, and end
        eventually(lambda: "nothing was changed: Redis at" in rig.gateway.log.read_text(), "a reload is refused")
    finally:
        server.signal(signal.SIGCONT)
    eventually(lambda: client.ask("GET", f"/user/queryTask?taskID={done}").status_code == 200, "it is there again")


def test_a_result_of_many_pieces(rig: Rig) -> None:
    client = rig.client(WORKSPACE)
    task_id = client.submit(script(size=20_000_000, type="text/plain"))
    assert len(client.ended(task_id)["data"]) == 20_000_000


def test_a_start_without_redis_says_so(rig: Rig, free_port: int) -> None:
    config = yaml.safe_load(rig.gateway.config_file.read_text())
    config["store"]["url"] = f"redis://u:hunter2@127.0.0.1:{free_port}"
    rig.gateway.stop()
    rig.gateway.write_config(config)
    with pytest.raises(AssertionError, match="ended with 1") as ended:
        rig.gateway.start()
    assert f"Redis at 127.0.0.1:{free_port} cannot be reached" in str(ended.value)
    assert "hunter2" not in rig.gateway.log.read_text()
    checked = subprocess.run(
        [sys.executable, "-m", "ngpu.cli", "check", "-c", str(rig.gateway.config_file)], capture_output=True, text=True
    )
    assert checked.returncode == 0, "what is written is right; whether it is there, only a start can say"
