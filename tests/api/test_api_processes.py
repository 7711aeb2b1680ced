"""Several processes behind the same listening sockets, on one Redis: customers notice nothing of their ends."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from api_rig import Rig, configuration, eventually, rig_of, workspace
from processes import ROOT, find_free_port
from redis_server import RedisServer, block
from scripted_worker import script
from several_rig import WORKSPACE, Customers, hang_up, is_alive, worker_pids
from tls_files import write_certificate

DELAYS = (0, 0, 0.05, 0.3, 1)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rig_of(
        tmp_path,
        1,
        lambda ports: configuration(workspace(WORKSPACE, *ports, slots=8), store=block(), processes=2),
    ) as one:
        one.gateway.ready_url = one.gateway.admin + "/readyz"
        eventually(lambda: "2 workers serve" in one.gateway.log.read_text(), "all are there")
        yield one


def change(rig: Rig, **keys: object) -> None:
    config = yaml.safe_load(rig.gateway.config_file.read_text())
    rig.gateway.config_file.write_text(yaml.safe_dump({**config, **keys}))


def pids(rig: Rig) -> dict[int, int]:
    return worker_pids(rig.gateway.log)


def test_a_worker_that_is_killed_is_replaced_and_nobody_is_refused(rig: Rig) -> None:
    """At once; one that dies again and again, ever more slowly."""
    before = pids(rig)
    with Customers(rig.gateway.url, *DELAYS) as customers:
        eventually(lambda: customers.answered > 20, "calls are answered")
        os.kill(before[1], signal.SIGKILL)
        said = f"worker 1 (process {before[1]}) was ended by SIGKILL"
        eventually(lambda: said in rig.gateway.log.read_text(), "it is said")
        eventually(lambda: "ngpu_workers 2.0" in figures(rig), "it was replaced")
        answered = customers.answered
        eventually(lambda: customers.answered > answered + 20, "calls are answered again")
    after = pids(rig)
    assert after[1] != before[1] and after[2] == before[2]
    assert len(customers.failures) <= len(DELAYS), "only the calls that it was serving"
    assert all("Connection aborted" in each or "Connection broken" in each for each in customers.failures)
    # the one before these may have lived for long by now; each of these dies as soon as it is there, and so young
    killed = {before[1]}
    while "another one takes its place in 2 s" not in rig.gateway.log.read_text():
        assert len(killed) < 6, rig.gateway.log.read_text()[-4000:]
        pid = eventually(lambda: {pids(rig)[1]} - killed, "it was replaced").pop()
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
        eventually(lambda pid=pid: f"(process {pid}) was ended by" in rig.gateway.log.read_text(), "it is said")  # type: ignore[misc]
    eventually(lambda: "ngpu_workers 2.0" in figures(rig), "it was replaced")
    assert "another one takes its place in 1 s" in rig.gateway.log.read_text()
    assert f"ngpu_worker_deaths_total {len(killed):.1f}" in figures(rig)


def test_a_worker_that_hangs_is_replaced(rig: Rig) -> None:
    """A stopped one answers as little as one whose loop is in a plugin for good."""
    before = pids(rig)
    os.kill(before[1], signal.SIGSTOP)
    eventually(lambda: f"worker 1 (process {before[1]}) was ended by" in rig.gateway.log.read_text(), "it ended", 60)
    assert "no sign of life for 30 s" in rig.gateway.log.read_text()
    eventually(lambda: "ngpu_workers 2.0" in figures(rig), "it was replaced")
    after = pids(rig)
    assert after[1] != before[1] and after[2] == before[2]

    def told() -> bool:
        events = rig.admin("/api/v1/events", rig.token).json()["events"]  # of the new one, or of the one that stayed
        return {"worker_hangs", "worker_died"} <= {each["kind"] for each in events}

    eventually(told, "the other worker was told of it")


def test_one_that_is_ended_so_says_where_it_stands(rig: Rig) -> None:
    pid = pids(rig)[1]
    os.kill(pid, signal.SIGABRT)
    eventually(lambda: f"worker 1 (process {pid}) was ended by SIGABRT" in rig.gateway.log.read_text(), "it ended")
    assert "most recent call first" in rig.gateway.log.read_text()


def figures(rig: Rig) -> str:
    reply = rig.admin("/metrics", rig.token)
    assert reply.status_code == 200, reply.text
    return reply.text


def test_a_reload_under_load_loses_no_call(rig: Rig) -> None:
    """Long calls are finished by the worker that has them, while others serve already."""
    before = pids(rig)
    client = rig.client(WORKSPACE)
    queued = [client.submit(script(delay=0.5, body=b"ok")) for _ in range(8)]
    with Customers(rig.gateway.url, *DELAYS) as customers:
        eventually(lambda: customers.answered > 20, "calls are answered")
        change(rig, workspaces=[workspace(each, rig.worker.port, slots=8) for each in (WORKSPACE, "4567")])
        hang_up(rig.gateway.pid)
        eventually(lambda: "reloaded: 2 workers serve" in rig.gateway.log.read_text(), "others serve")
        eventually(lambda: not any(is_alive(pid) for pid in before.values()), "those before them have ended")
    assert customers.failures == []
    assert [client.ended(task)["data"] for task in queued] == ["ok"] * 8
    other = rig.client("4567")
    assert other.ended(other.submit(script(body=b"ok")))["data"] == "ok"
    assert not set(before.values()) & set(pids(rig).values())


def test_a_session_of_the_dashboard_is_known_to_every_worker(rig: Rig) -> None:
    url = f"{rig.gateway.admin}/api/v1"
    logged_in = requests.post(f"{url}/session", json={"token": rig.token}, timeout=10)
    sent = {"Cookie": logged_in.headers["Set-Cookie"].split(";")[0], "Origin": rig.gateway.admin}

    def asked() -> set[int]:
        """The statuses that it is told, once both workers have told one."""
        told, before = set(), len(rig.log_lines())
        while len({line["process"] for line in rig.log_lines()[before:] if line.get("route") == "/api/v1/nodes"}) < 2:
            told.add(requests.get(f"{url}/nodes", headers=sent, timeout=10).status_code)
        return told

    assert asked() == {200}
    assert requests.delete(f"{url}/session", headers=sent, timeout=10).status_code == 200
    assert asked() == {401}


def test_what_cannot_be_used_changes_nothing(rig: Rig) -> None:
    """Neither a file that is wrong, nor one that no worker can start with; a replacement has the file as it was."""
    before, good = pids(rig), rig.gateway.config_file.read_text()
    rig.gateway.config_file.write_text(good + "\nprocesess: 1\n")
    hang_up(rig.gateway.pid)
    eventually(lambda: "nothing was changed" in rig.gateway.log.read_text(), "it says so")
    assert pids(rig) == before
    os.kill(before[2], signal.SIGKILL)
    eventually(lambda: f"worker 2 (process {before[2]}) was ended by" in rig.gateway.log.read_text(), "it is said")
    eventually(lambda: "ngpu_workers 2.0" in figures(rig), "it was replaced")
    assert pids(rig)[2] != before[2]
    rig.gateway.config_file.write_text(good)
    change(rig, store={**block(), "url": f"redis://127.0.0.1:{find_free_port()}", "timeout": "1s"})
    hang_up(rig.gateway.pid)
    eventually(lambda: "a worker could not start" in rig.gateway.log.read_text(), "it says so")
    assert rig.admin("/readyz").status_code == 200 and is_alive(before[1])


def test_everybody_shows_the_figures_of_all_and_says_whose_a_line_is(rig: Rig) -> None:
    asked = 0
    while {each["process"] for each in rig.log_lines() if each["listener"] == "public"} != {1, 2} or asked < 40:
        requests.get(rig.gateway.url + "/none", timeout=5)  # whoever is awake takes it, which may be the same for long
        asked += 1
        assert asked < 4000, "one of them takes all"

    def counted() -> dict[str, int]:
        found = re.findall(r'ngpu_http_requests_total{listener="public",process="(\d)".*?} (\d+)', figures(rig))
        return {number: sum(int(count) for each, count in found if each == number) for number, _ in found}

    eventually(lambda: sum(counted().values()) == asked, "all are counted")
    assert counted().keys() == {"1", "2"}
    assert figures(rig).count("# TYPE ngpu_http_requests_total") == 1
    said = [line for line in rig.gateway.log.read_text().splitlines() if "listening on tcp" in line]
    assert {line[:4] for line in said if line.startswith("[")} == {"[1] ", "[2] "}
    os.kill(rig.gateway.pid, signal.SIGKILL)
    eventually(lambda: not any(is_alive(pid) for pid in pids(rig).values()), "no worker outlives its parent")


def test_a_unix_socket_is_shared_and_one_process_takes_over_from_several(rig: Rig) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ngpu-s-"))
    config = yaml.safe_load(rig.gateway.config_file.read_text())
    before = rig.gateway.pid
    with Customers(rig.gateway.url, *DELAYS) as customers:
        for processes, said in ((1, "starting up"), (2, "2 workers serve")):
            count = rig.gateway.log.read_text().count(said)
            change(rig, listen=[*config["listen"], f"unix:{folder}/s"], processes=processes)
            hang_up(before)
            eventually(lambda said=said, count=count: rig.gateway.log.read_text().count(said) > count, said, 40)
            eventually(lambda: (folder / "s").exists() and rig.admin("/readyz").ok, "it serves")
            done = subprocess.run(
                ["curl", "-s", "--unix-socket", str(folder / "s"), "http://x/none"], capture_output=True, timeout=20
            )
            assert b"404" in done.stdout
    assert customers.failures == []
    rig.gateway.stop()
    assert not any(is_alive(pid) for pid in pids(rig).values())
    assert list(folder.iterdir()) == []
    folder.rmdir()


def test_a_start_that_fails_says_so_once_and_ends(tmp_path: Path) -> None:
    store = {**block(), "url": f"redis://127.0.0.1:{find_free_port()}", "timeout": "1s"}
    listen = {"listen": [f"tcp:{find_free_port()}"], "admin": {"listen": [f"tcp:{find_free_port()}"]}}
    (tmp_path / "ngpu.yaml").write_text(yaml.safe_dump({**configuration(), **listen, "store": store, "processes": 3}))
    command = [sys.executable, "-m", "ngpu.cli", "run", "-c", str(tmp_path / "ngpu.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert done.returncode == 1
    assert done.stdout.count("ngpu: Redis at") == 1, done.stdout


def test_one_process_takes_the_place_of_all_only_while_the_store_answers(tmp_path: Path) -> None:
    """It could not begin without, and the workers, which go on, would have ended for it."""
    redis = RedisServer(tmp_path / "redis").start()
    store = {"kind": "redis", "url": redis.url}
    try:
        with rig_of(tmp_path, 1, lambda ports: configuration(store=store, processes=2)) as rig:
            eventually(lambda: "2 workers serve" in rig.gateway.log.read_text(), "all are there")
            before = pids(rig)
            redis.kill9()
            change(rig, processes=1)
            hang_up(rig.gateway.pid)
            said = "nothing was changed: the store does not answer"
            eventually(lambda: said in rig.gateway.log.read_text(), "it says so")
            assert all(is_alive(pid) for pid in before.values())
    finally:
        redis.stop()


def test_a_store_that_is_not_shared_is_for_one_process(tmp_path: Path) -> None:
    (tmp_path / "ngpu.yaml").write_text("processes: 2\n")
    command = [sys.executable, "-m", "ngpu.cli", "check", "-c", str(tmp_path / "ngpu.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert done.returncode == 2
    assert ":1:12: processes: store sqlite is for one process" in done.stderr


def test_sockets_of_systemd_and_tls_are_handed_on(tmp_path: Path) -> None:
    """To workers, and to the process that takes over from them."""
    activate = shutil.which("systemd-socket-activate")
    if activate is None:
        pytest.skip("systemd-socket-activate is not installed (Debian's package systemd)")
    given, tls, admin = (find_free_port() for _ in range(3))
    pem = write_certificate(tmp_path, "127.0.0.1", datetime.timedelta(days=1))
    config = {
        "listen": ["systemd:domain=INET:index=0", f"ssl:{tls}:interface=127.0.0.1:privateKey={pem}:certKey={pem}"],
        "admin": {"listen": [f"tcp:{admin}:interface=127.0.0.1"]},
        "store": block(),
    }
    file, log = tmp_path / "ngpu.yaml", tmp_path / "log"

    def answers() -> bool:
        try:
            plain = requests.get(f"http://127.0.0.1:{given}/none", timeout=5)
            safe = requests.get(f"https://127.0.0.1:{tls}/none", timeout=5, verify=str(pem))
        except (requests.ConnectionError, requests.Timeout):
            return False
        return plain.status_code == safe.status_code == 404

    file.write_text(yaml.safe_dump({**config, "processes": 2}))
    command = [
        activate,
        "--fdname=web",
        "-l",
        f"127.0.0.1:{given}",
        sys.executable,
        "-m",
        "ngpu.cli",
        "run",
        "-c",
        str(file),
    ]
    with log.open("wb") as out:
        gateway = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT, start_new_session=True)
    try:
        eventually(answers, "it answers", 40)
        file.write_text(yaml.safe_dump({**config, "processes": 1}))
        hang_up(gateway.pid)
        eventually(lambda: log.read_text().count("starting up") == 4, "one process serves", 40)
        assert answers(), log.read_text()
        hang_up(gateway.pid)
        eventually(lambda: log.read_text().count("starting up") == 5, "another one serves", 40)
        assert answers(), log.read_text()
    finally:
        os.killpg(gateway.pid, signal.SIGKILL)
        gateway.wait()
