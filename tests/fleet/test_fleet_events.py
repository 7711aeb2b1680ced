"""What operators are told of a fleet: what was placed, moved, lost and placed again, and how deployments went."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gateway_rig import begun, done
from test_fleet import ID, House

from ngpu.journal import Entry, Journal
from ngpu.sharing import Alone


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    begun(made.fleet.stop())


@contextmanager
def told(house: House) -> Iterator[Journal]:
    journal = Journal("here:1", house.world.clock, Alone.news)
    journal.start()
    try:
        yield journal
    finally:
        journal.stop()


def kinds(journal: Journal) -> list[str]:
    return [each.kind for each in journal.after(0)]


def of(journal: Journal, kind: str) -> list[Entry]:
    return [each for each in journal.after(0) if each.kind == kind]


def test_a_deployment_a_drain_and_its_end(house: House) -> None:
    with told(house) as journal:
        workspace = house.put()
        house.start()
        house.until("serving")
        copies = house.report().copies
        placed = of(journal, "copy_placed")
        assert {each.replica for each in placed} == {copy["id"] for copy in copies}
        assert {each.node for each in placed} == {copy["node"] for copy in copies}
        assert {each.workspace for each in placed} == {workspace.label}
        seen = kinds(journal)
        assert seen.index("deploy_begun") < seen.index("copy_placed") < seen.index("deploy_done")
        node = copies[0]["node"]
        done(house.fleet.drain(node))
        house.world.until(lambda: node not in {copy["node"] for copy in house.report().copies})
        (leaves,) = of(journal, "copy_leaves")
        assert (leaves.node, leaves.severity) == (node, "info") and "replaced" in leaves.message
        assert of(journal, "copy_gone")[0].replica == leaves.replica
        assert len(of(journal, "copy_placed")) == 3
        done(house.fleet.undrain(node))
        done(house.fleet.undeploy(ID))
        assert kinds(journal)[-2:] == ["node_undrained", "undeployed"]


def test_a_node_that_is_lost(house: House) -> None:
    with told(house) as journal:
        house.put()
        house.start()
        house.until("serving")
        lost = house.report().copies[0]["node"]
        house.world.engines[lost].away = "no route"
        house.world.until(lambda: len(of(journal, "copy_placed")) == 3, what="it is placed again")
        (away,) = of(journal, "node_away")
        assert (away.node, away.severity) == (lost, "error") and "no route" in away.message
        house.world.until(lambda: of(journal, "copy_leaves"), what="the lost one is given up")
        assert of(journal, "copy_leaves")[0].severity == "warning"
        house.world.engines[lost].away = ""
        house.world.until(lambda: any(each.id > away.id for each in of(journal, "node_back")))


def test_a_version_that_never_gets_healthy_and_an_image_that_is_not_there(house: House) -> None:
    with told(house) as journal:
        house.put()
        house.start()
        house.until("serving")
        house.world.bad.add("v2")
        house.put(command=["v2"])
        house.world.until(lambda: of(journal, "deploy_failed"), what="it is told")
        (failed,) = of(journal, "deploy_failed")
        assert failed.severity == "error" and "health check" in failed.message
        house.world.registry.down = True
        house.put(image={"reference": "registry.example/other:1"})
        house.world.until(lambda: of(journal, "image_failed"), what="it is told")
