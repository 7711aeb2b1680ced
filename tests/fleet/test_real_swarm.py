"""A Docker Swarm as one node of the fleet: the same deploying, finding again, updating and removing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from docker_bed import Bed
from docker_images import busybox_layer
from fleet_rig import FLEET, NODES, FleetRig, Load, eventually
from leaks import FAILED
from processes import Processes

ID = "in-a-swarm"


class SwarmRig(FleetRig):
    """Its one node is a Swarm of three machines with two GPUs each."""

    def configuration(self) -> dict[str, object]:
        manager = self.bed.engines[0]
        node = {
            "address": NODES[0],
            "host": manager.host,
            "engine": f"swarm+{manager.url}",
            "engine_options": {"restart_delay": "500ms"},
            "gpus": {"type": "X", "count": 6},
        }
        return {**super().configuration(), "nodes": [node]}

    def services(self) -> list[str]:
        manager = self.bed.engines[0]
        labels = ["--filter", f"label=ngpu.fleet={FLEET}"]
        return manager.docker("service", "ls", *labels, "--format", "{{.Name}}").split()


@pytest.fixture
def rig(swarm_bed: Bed, processes: Processes, request: pytest.FixtureRequest) -> Iterator[SwarmRig]:
    made = SwarmRig(swarm_bed, processes, 1)
    yield made
    if request.node.stash.get(FAILED, False):
        print(made.gateway.tail())
    made.gateway.kill9()
    for name in made.services():
        swarm_bed.engines[0].docker("service", "rm", name)


def test_deployed_found_again_updated_and_removed(rig: SwarmRig, swarm_bed: Bed) -> None:
    swarm_bed.registry.push("swarmed:1", [busybox_layer()])
    rig.start()
    health = {"interval": "200ms", "timeout": "2s", "grace": "30s"}
    reference = f"{swarm_bed.registry.host}/swarmed:1"
    rig.want(reference, ID, replicas=3, gpus={"type": "X", "count": 1}, health=health)
    rig.put(ID)
    found = rig.serving(3, ID, 60)
    assert {copy["node"] for copy in found["copies"]} == {NODES[0]}
    assert {copy["machine"] for copy in found["copies"]} <= {"0xM1", "0xM2", "0xM3"}
    assert len({copy["machine"] for copy in found["copies"]}) > 1
    assert rig.call("x", ID).json()["data"] == "x"
    before = sorted(rig.services())
    assert len(before) == 3
    rig.gateway.kill9()
    rig.gateway.start()
    rig.serving(3, ID, 60)
    assert sorted(rig.services()) == before
    with Load(rig, id=ID) as load:
        rig.put(ID, env={"VERSION": "2"})
        eventually(lambda: not set(before) & set(rig.services()), "all are new", 90)
        rig.serving(3, ID, 60)
    assert load.wrong == {}
    assert rig.admin("DELETE", f"/workspaces/{ID}").status_code == 200
    eventually(lambda: rig.services() == [], "nothing is left of it")
