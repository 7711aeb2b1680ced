"""A node is emptied while customers call what runs on it."""

from __future__ import annotations

from collections.abc import Callable

from fleet_rig import NODES, FleetRig, Load, eventually

Push = Callable[..., str]
Make = Callable[..., FleetRig]


def test_draining_a_node_under_load_fails_no_call(fleet: Make, image: Push) -> None:
    rig = fleet(nodes=3)
    rig.want(image(), replicas=2)
    rig.start()
    rig.serving(2)
    busy = next(index for index, names in rig.by_node().items() if names)
    with Load(rig, customers=6) as load:
        eventually(lambda: load.answers["right"] > 20, "customers are served")
        assert rig.admin("POST", f"/nodes/{NODES[busy]}/drain").status_code == 200
        eventually(lambda: not rig.containers(busy), "the node is empty")
        before = load.answers["right"]
        eventually(lambda: load.answers["right"] > before + 20, "customers are served elsewhere")
    assert not load.wrong, load.wrong
    found = rig.serving(2)
    assert NODES[busy] not in {copy["node"] for copy in found["copies"]}
    rig.restart()
    rig.serving(2)
    assert not rig.containers(busy), "it stays drained over a restart"
