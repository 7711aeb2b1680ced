"""Changes of what is deployed, while customers call: nobody notices."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import requests
from docker_images import SERVES
from fleet_rig import FleetRig, Load, eventually

Push = Callable[..., str]
Make = Callable[..., FleetRig]
API = "made-at-run-time"


def deployed(rig: FleetRig, reference: str, replicas: int = 3, **keys: object) -> None:
    """A workspace that was made at run time, and serves."""
    rig.start()
    rig.want(reference, API, replicas=replicas, **keys)
    rig.put(API)
    rig.serving(replicas, API)


def test_an_update_under_load_fails_no_call(fleet: Make, image: Push) -> None:
    rig = fleet()
    deployed(rig, image("app:1"), retry="never")
    before = set(rig.containers(id=API))
    fewest: list[int] = []
    with Load(rig, id=API) as load:
        time.sleep(0.3)
        rig.put(API, image={"reference": image("app:2", 1 << 20)}, env={"VERSION": "2"})

        def done() -> bool:
            shown = rig.shown(API)
            fewest.append(shown["serving"])
            revisions = {copy["revision"] for copy in shown["copies"]}
            return len(revisions) == 1 and len(shown["copies"]) == 3 and not before & set(rig.containers(id=API))

        eventually(done, "all are new", 60)
        time.sleep(0.3)
    assert load.wrong == {}
    assert load.answers["right"] > 50
    assert min(fewest) >= 3
    assert len(rig.containers(id=API)) == 3


def test_an_update_that_never_gets_healthy_is_taken_back(fleet: Make, image: Push) -> None:
    rig = fleet()
    health = {"interval": "200ms", "timeout": "2s", "grace": "2s"}
    deployed(rig, image("app:1"), replicas=2, health=health)
    before = sorted(rig.containers(id=API))
    with Load(rig, id=API) as load:
        rig.put(API, command=["/bin/busybox", "sleep", "1000"])
        found = eventually(lambda: "taken back" in (now := rig.shown(API))["reason"] and now, "the reason", 30)
        eventually(lambda: sorted(rig.containers(id=API)) == before, "it is taken back")
    assert load.wrong == {}
    assert found["state"] == "serving"
    assert "taken back" in found["reason"]
    rig.put(API, command=list(SERVES))
    eventually(lambda: rig.shown(API)["reason"] == "", "what is wanted is what runs")
    assert sorted(rig.containers(id=API)) == before


def test_calls_that_run_come_to_their_end_before_a_copy_goes(fleet: Make, image: Push) -> None:
    """Scaling down and removing drain first: containers get one second after TERM, and calls take as long."""
    rig = fleet()
    deployed(rig, image("app:1"), retry="never", container={"stop_grace": "100ms"})

    def slow(data: str) -> requests.Response:
        return requests.post(
            f"{rig.gateway.url}/user/schedulingTask",
            params={"paramUrl": "cgi-bin/slow", "taskMode": "Sync"},
            json={"data": data},
            headers={"Authorization": API},
            timeout=30,
        )

    with ThreadPoolExecutor(6) as pool:
        for change in (lambda: rig.put(API, replicas=1), lambda: rig.admin("DELETE", f"/workspaces/{API}")):
            calls = [pool.submit(slow, str(number)) for number in range(6)]
            eventually(lambda: rig.admin("GET", f"/workspaces/{API}").json()["workspace"]["in_flight"] == 6, "they run")
            change()
            answers = [call.result() for call in calls]
            assert [answer.json().get("data") for answer in answers] == [str(number) for number in range(6)]
            if rig.admin("GET", f"/workspaces/{API}").status_code == 200:
                rig.serving(1, API)
    eventually(lambda: rig.containers(id=API) == [], "nothing is left of it")
