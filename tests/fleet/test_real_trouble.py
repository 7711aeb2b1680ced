"""Engines that are cut off, hang and come back, while customers call."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import requests
from fleet_rig import NODES, PORT, WORKSPACE, FleetRig, Load, eventually

Push = Callable[..., str]
Make = Callable[..., FleetRig]


def test_an_engine_that_is_killed_costs_no_call_and_its_copy_is_placed_elsewhere(fleet: Make, image: Push) -> None:
    rig = fleet(3, node_grace="2s")
    rig.want(image(), replicas=2, retry="idempotent")
    rig.start()
    found = rig.serving(2)
    victim = NODES.index(found["copies"][0]["node"])
    lost = rig.containers(victim)
    with Load(rig) as load:
        time.sleep(0.5)
        rig.bed.engines[victim].kill()
        killed = time.monotonic()
        eventually(lambda: rig.shown()["serving"] == 1, "the dead one is taken out")
        out = time.monotonic() - killed
        rig.serving(2)
        time.sleep(0.5)
    print(f"a dead node was taken out after {out:.2f} s; answers: {dict(load.answers)}")
    assert load.wrong == {}
    assert load.answers["right"] > 20
    assert NODES[victim] not in {copy["node"] for copy in rig.shown()["copies"]}
    rig.bed.engines[victim].start()
    eventually(lambda: rig.containers(victim) == [], "what is surplus on the node that is back is removed")
    assert lost[0] not in rig.containers()
    assert rig.serving(2)["state"] == "serving"
    shown = rig.admin("GET", "/workspaces").json()["workspaces"]
    assert [each["serving"] for each in shown] == [2]


def test_an_engine_that_starts_anew_sends_nobody_to_the_container_of_another_customer(fleet: Make, image: Push) -> None:
    """It gives out the same few ports again, to whichever container starts first."""
    rig = fleet(1)
    rig.interval = "5s"
    health = {"interval": "10s", "timeout": "2s", "grace": "5s"}  # as they are where nothing is said of them
    names = [f"customer{number}" for number in range(4)]
    for name in names:
        rig.want(image(), id=name, name=name, replicas=1, env={"WHO": name}, health=health)
    rig.start()
    for name in names:
        rig.serving(1, name)
    answers: Counter[str] = Counter()
    over = Event()

    def calls(name: str) -> None:
        while not over.is_set():
            reply = rig.call(id=name, page="cgi-bin/who")
            told = reply.json()["data"] if reply.status_code == 200 else "an error"
            answers["right" if told == name else told] += 1
            time.sleep(0.02)

    with ThreadPoolExecutor(len(names)) as pool:
        try:
            customers = [pool.submit(calls, name) for name in names]
            for _ in range(3):
                rig.bed.engines[0].kill()
                rig.bed.engines[0].start()
                for name in names:
                    rig.serving(1, name)
                before = answers["right"]
                eventually(lambda: answers["right"] > before + 20, "calls go on")  # noqa: B023
        finally:
            over.set()
    for customer in customers:
        customer.result()
    assert answers.keys() <= {"right", "an error"}, answers


def test_an_engine_that_hangs_harms_its_own_node_only(fleet: Make, image: Push) -> None:
    rig = fleet(3, node_grace="2s")
    rig.want(image(), replicas=2)
    rig.start()
    found = rig.serving(2)
    victim = NODES.index(found["copies"][0]["node"])
    engine = rig.bed.engines[victim]
    with Load(rig) as load:
        engine.hang()
        try:
            away = f'ngpu_engine_up{{node="{NODES[victim]}"}} 0.0'
            eventually(lambda: away in rig.metrics(), "it is away")
            began = time.monotonic()
            rig.workspaces["other"] = {**rig.workspaces[next(iter(rig.workspaces))], "id": "other", "name": "other"}
            rig.put("other", replicas=1)
            rig.serving(1, "other")
            assert time.monotonic() - began < 6, "another deployment has to wait for a hung engine"
            eventually(
                lambda: NODES[victim] not in {copy["node"] for copy in rig.shown()["copies"]}, "it is placed elsewhere"
            )
            rig.serving(2)
        finally:
            engine.go_on()
        eventually(lambda: rig.containers(victim) == [], "what is surplus on the node that is back is removed")
    assert load.wrong == {}
    rig.serving(2)


def test_a_container_that_is_removed_by_hand_comes_back(fleet: Make, image: Push) -> None:
    rig = fleet(1)
    rig.want(image(), replicas=1)
    rig.start()
    rig.serving(1)
    before = rig.inspect(rig.containers()[0], "{{.Id}}")
    rig.bed.engines[0].docker("rm", "-f", rig.containers()[0])
    eventually(lambda: (names := rig.containers()) and rig.inspect(names[0], "{{.Id}}") != before, "it is made again")
    rig.serving(1)
    assert rig.call("x").json()["data"] == "x"


def test_a_job_that_a_copy_has_is_followed_on_after_the_gateway_was_killed(fleet: Make, image: Push) -> None:
    """Copies are let in again once their engine was looked at; until then their jobs wait, and are not sent twice."""
    options = {"submit": {"path": "cgi-bin/job"}, "poll": {"path": "cgi-bin/job", "interval": "200ms"}}
    app = {"adapter": "queue_worker", "workspace": WORKSPACE, "port": PORT, "mode": "async", "options": options}
    rig = fleet(2, apps={"job": app})
    rig.want(image(), replicas=2)
    rig.start()
    rig.serving(2)
    reply = requests.post(
        f"{rig.gateway.url}/user/job", json={"data": {}}, headers={"Authorization": WORKSPACE}, timeout=9
    )
    task = {"taskID": reply.json()["taskID"]}

    def queried(call: str) -> dict[str, Any]:
        told: dict[str, Any] = requests.get(f"{rig.gateway.url}/user/{call}", params=task, timeout=9).json()
        return told

    eventually(lambda: queried("getDetailed")["taskInfo"]["state"] == 4, "the worker has the job")
    rig.gateway.kill9()
    rig.gateway.start()
    ended = eventually(lambda: (now := queried("queryTask"))["result_size"] and now, "the job's end")
    assert ended["status"] == "finished", ended
    printed = "".join(rig.bed.engines[index].docker("logs", name) for index in (0, 1) for name in rig.containers(index))
    assert printed.count("submitted") == 1, printed
