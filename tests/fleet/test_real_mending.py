"""A run-time workspace that the file does not fit any more: its copies outlive the slip."""

from __future__ import annotations

import time
from collections.abc import Callable

from fleet_rig import FleetRig, eventually

Push = Callable[..., str]
Make = Callable[..., FleetRig]

GATES = {"guests": {"checker": "static", "options": {"balances": {}}, "tickers": ["AINN"]}}


def test_copies_stay_while_the_file_does_not_fit_their_workspace(fleet: Make, image: Push) -> None:
    rig = fleet(1, gates=GATES)
    rig.start()
    rig.want(image(), id="mine", replicas=1, gate="guests")
    mine = rig.workspaces.pop("mine")
    made = rig.admin("POST", "/workspaces", json=mine)
    assert made.status_code == 201, made.text
    rig.serving(1, id="mine")
    before = rig.containers(id="mine")
    rig.gateway.stop()
    config = rig.configuration()
    rig.gateway.write_config({**config, "gates": {}})
    rig.gateway.start()
    shown = rig.shown("mine")
    assert shown["state"] == "failed" and "gate" in str(shown["problems"])
    eventually(lambda: rig.admin("GET", "/nodes").json()["nodes"][0]["state"] == "up", "the engine was looked at")
    time.sleep(2)  # a few rounds of 500 ms, in which nothing is to happen
    assert rig.containers(id="mine") == before
    rig.gateway.stop()
    assert rig.containers(id="mine") == before
    rig.gateway.write_config(config)
    rig.gateway.start()
    rig.serving(1, id="mine")
    assert rig.containers(id="mine") == before
