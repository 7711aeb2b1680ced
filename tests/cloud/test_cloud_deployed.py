"""How a workspace stands, out of what the gateway and the fleet tell."""

from __future__ import annotations

from typing import Any

from ngpu.cloud.deployed import Deployed
from ngpu.cloud.standing import NodeStanding, Standing, docker_state, node_rows
from ngpu.errors import NotFound
from ngpu.workspaces import Deployment, Entry, Source

NODE = {"address": "0xA1", "progress": 40, "status": 0, "reason": "its image comes"}


class Gateway:
    """Workspaces by id, and what the fleet tells of each."""

    def __init__(self, told: Deployment | None = None, fits: bool = True) -> None:
        self._told = told
        workspace: Any = object() if fits else None
        self._entry = Entry("1", Source.API, {}, workspace)

    def get(self, workspace_id: str) -> Entry:
        if workspace_id != "1":
            raise NotFound("none")
        return self._entry

    def deployment(self, workspace_id: str) -> Deployment | None:
        return self._told


def standing(told: Deployment | None, fits: bool = True) -> Standing:
    gateway: Any = Gateway(told, fits)
    deployed = Deployed(gateway, gateway)
    assert deployed.has("1") and not deployed.has("2")
    return deployed.standing("1")


def test_what_the_fleet_does_not_know_yet_waits() -> None:
    assert docker_state(standing(None)) == 1
    gateway: Any = Gateway()
    assert docker_state(Deployed(gateway).standing("1")) == 1, "nor is there a fleet to ask"


def test_copies_on_their_way_and_copies_that_serve() -> None:
    loading = standing(Deployment("deploying", nodes=[NODE]))
    assert (docker_state(loading), loading.nodes) == (2, [NodeStanding("0xA1", 40, False, "its image comes")])
    assert docker_state(standing(Deployment("deploying", nodes=[{**NODE, "progress": 100}]))) == 3
    serving = standing(Deployment("degraded", nodes=[NODE, {**NODE, "address": "0xA2", "progress": 100, "status": 1}]))
    assert docker_state(serving) == 4
    assert [(row["nodeAddr"], row["rStatus"]) for row in node_rows(serving)] == [("0xA2", 1), ("0xA1", 0)]


def test_why_there_is_no_place_is_told() -> None:
    told = Deployment("deploying", unplaced=[{"address": "0xA1", "reason": "its GPUs are taken"}])
    assert (docker_state(standing(told)), standing(told).reason) == (1, "its GPUs are taken")
    assert standing(Deployment("deploying", "said already", unplaced=told.unplaced)).reason == "said already"


def test_what_will_not_come_by_itself_has_failed() -> None:
    for state in ("failed", "suspended", "removing"):
        assert docker_state(standing(Deployment(state, "why", nodes=[{**NODE, "progress": 100}]))) == 5
    old = standing(None, fits=False)
    assert docker_state(old) == 5 and "ask the operator" in old.reason


def test_a_rollback_that_serves_is_ready() -> None:
    serving = {**NODE, "progress": 100, "status": 1}
    assert docker_state(standing(Deployment("failed", "the new one never got healthy", nodes=[serving]))) == 4
