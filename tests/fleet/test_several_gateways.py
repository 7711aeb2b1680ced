"""A fleet that several gateways have: all serve it, one works on it, and any of them may be asked."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_rig import done
from gateways import ID, several

from ngpu.errors import StoreUnavailable


def test_every_gateway_serves_what_one_of_them_brought_up() -> None:
    with several() as they:
        they.start()
        they.until(they.all_serve, "all serve")
        assert [bool(gateway.changed) for gateway in they.gateways] == [True, False, False]
        assert they.created() == 2
        they.put(replicas=3)
        they.until(lambda: they.all_serve(3), "the third, too")
        they.put(replicas=1)
        they.until(lambda: they.all_serve(1) and len(they.world.names()) == 1, "one is left")


@pytest.mark.parametrize("after", [0.2, 1.0, 3.0, 5.0])
def test_another_one_goes_on_where_the_leader_died(after: float) -> None:
    with several() as they:
        for engine in they.world.engines.values():
            engine.pull_seconds = 4.0
        they.start()
        they.world.pass_time(after)
        first, second, _ = they.gateways
        first.die()
        they.world.pass_time(5.0)
        assert second.changed == []
        they.hall.lead(second.shared)
        they.until(they.all_serve, "the others serve")
        they.world.pass_time(10)
        assert len(they.world.names()) == 2 and len(second.fleet._state.copies) == 2


def test_one_that_ceases_to_lead_leaves_the_steps_that_it_had_before_it() -> None:
    """`several` sees to it that none of them asks an engine for a change without leading."""
    with several(2, nodes=1) as they:
        for engine in they.world.engines.values():
            engine.slow["create"] = 3.0
        they.start(replicas=2)
        first, second = they.gateways
        they.until(lambda: "create" in first.changed, "the first container is being made")
        they.hall.leader = second.shared  # as after a pause: nobody has told it yet
        they.world.pass_time(5)
        assert first.changed.count("create") == 1 and "start" not in first.changed
        they.hall.lead(None)
        they.hall.lead(second.shared)
        for engine in they.world.engines.values():
            engine.slow.clear()
        they.until(they.all_serve, "the other one has gone on")
        assert len(they.world.names()) == 2


def test_leading_back_and_forth_ends_where_it_should() -> None:
    with several(3) as they:
        they.start()
        for turn in range(30):
            they.hall.lead(they.gateways[turn % 3].shared)
            they.world.pass_time(0.3)
        they.until(they.all_serve, "all serve")
        they.world.pass_time(10)
        assert len(they.world.names()) == 2
        assert len(they.world.shelf["copies"]) == 2


def test_a_write_that_was_refused_and_made_all_the_same_places_no_copy_twice() -> None:
    with several(2) as they:
        first = they.gateways[0]
        put, refused = first.led.put, []

        async def lying(collection: str, key: str, document: Any) -> None:
            await put(collection, key, document)
            if collection == "copies" and len(refused) < 2:
                refused.append(key)
                raise StoreUnavailable("no answer in time")

        first.led.put = lying  # type: ignore[method-assign]
        they.start()
        they.until(they.all_serve, "all serve")
        they.world.pass_time(5)
        assert sorted(they.world.shelf["copies"]) == sorted(refused)
        assert they.created() == 2


def test_what_is_asked_of_one_that_does_not_lead_is_done_and_shown_at_once() -> None:
    with several() as they:
        they.start()
        they.until(they.all_serve, "all serve")
        _, second, third = they.gateways
        done(second.fleet.undeploy(ID))
        assert second.report.state == "suspended"
        they.until(lambda: not they.world.names(), "undeployed")
        assert [gateway.report.state for gateway in they.gateways] == ["suspended"] * 3
        done(third.fleet.deploy(ID))
        assert third.report.state == "deploying"
        they.until(they.all_serve, "deployed again")
        assert they.world.shelf["asked"] == {}
        done(second.fleet.drain("n0"))
        they.until(lambda: not they.world.engines["n0"].names(), "drained")
        they.until(they.all_serve, "moved")
        assert [gateway.fleet.nodes()[0]["draining"] for gateway in they.gateways] == [True] * 3
        done(third.fleet.undrain("n0"))
        they.world.pass_time(1)
        assert [gateway.fleet.nodes()[0]["draining"] for gateway in they.gateways] == [False] * 3


def test_what_is_asked_while_nobody_leads_waits_for_the_next_one() -> None:
    with several() as they:
        they.start()
        they.until(they.all_serve, "all serve")
        first, second, third = they.gateways
        first.die()
        done(second.fleet.undeploy(ID))
        they.world.pass_time(10)
        assert len(they.world.names()) == 2 and third.report.state == "suspended"
        they.hall.lead(third.shared)
        they.until(lambda: not they.world.names(), "undeployed")


def test_a_failed_change_is_tried_again_when_any_gateway_is_asked() -> None:
    with several(2) as they:
        they.start()
        they.until(they.all_serve, "all serve")
        they.world.bad.add("bad")
        they.put(command=["bad"])
        they.until(lambda: "taken back" in they.gateways[1].report.reason, "taken back")
        they.world.bad.clear()
        done(they.gateways[1].fleet.deploy(ID))
        they.until(lambda: they.world.commands() == [("bad",)] * 2 and they.all_serve(), "it works by now")


def test_all_tell_the_same_of_an_image_on_its_way_and_of_what_fails() -> None:
    with several(2) as they:
        for engine in they.world.engines.values():
            engine.pull_seconds = 8.0
        they.start()
        they.world.pass_time(3)
        first, second = they.gateways
        seen = []
        for _ in range(5):
            they.world.pass_time(1)
            (mine,), (theirs,) = ({node["progress"] for node in each.report.nodes} for each in (first, second))
            assert abs(mine - theirs) <= 20 and second.report.copies[0]["state"] == "pulling"
            seen.append(theirs)
        assert seen == sorted(seen) and len(set(seen)) > 2
        they.until(they.all_serve, "all serve")
        they.put(replicas=9)
        they.world.pass_time(5)
        assert second.report.unplaced == first.report.unplaced != []
        assert second.report.reason == first.report.reason != ""
        for engine in they.world.engines.values():
            engine.refuse["create"] = "no device"
        they.put(replicas=2, command=["v2"])
        they.until(lambda: "no device" in first.report.reason, "it is told")
        they.until(lambda: "no device" in second.report.reason, "the other tells it too", 2.0)


def test_one_that_missed_the_news_looks_by_itself() -> None:
    with several(2) as they:
        they.start()
        they.until(they.all_serve, "all serve")
        first, second = they.gateways
        first.say = lambda collection: None  # type: ignore[method-assign]
        first.documents._changed = first.led._changed = lambda collection: None
        done(first.fleet.drain("n0"))
        they.until(lambda: second.fleet.nodes()[0]["draining"], "it has looked", 6.0)
