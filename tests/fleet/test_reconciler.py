"""The loop over engines in memory: what an operator sees of it, one thing after another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred
from world import GRACE, INTERVAL, NODE_GRACE, REFERENCE, World

from ngpu.containers import ContainerHealth, ContainerState
from ngpu.fleet.reconciler import HALTING


def serving(count: int, replicas: int = 2, **fields: object) -> World:
    world = World(**{"nodes": 3, "gpus": 2, **fields})
    world.deploy(replicas=replicas)
    world.start()
    world.until(lambda: len(world.up()) == count, what="serving")
    return world


def test_a_deployment_comes_up_one_copy_a_node() -> None:
    world = serving(2)
    assert sorted(len(names) for names in world.containers().values()) == [0, 1, 1]
    pinned = {engine.spec(name).image for engine in world.engines.values() for name in engine.names()}
    assert pinned == {world.registry.pinned(REFERENCE, None)}
    assert all("id-w" not in text for kept in world.shelf.values() for text in [*kept, *kept.values()])


def test_a_gateway_that_was_killed_finds_its_copies_and_starts_no_second_one() -> None:
    world = serving(2)
    before = world.names()
    calls = [call for engine in world.engines.values() for call in engine.calls if call[0] in ("create", "start")]
    world.restart()
    world.until(lambda: len(world.up()) == 2)
    world.pass_time(20)
    assert world.names() == before
    after = [call for engine in world.engines.values() for call in engine.calls if call[0] in ("create", "start")]
    assert after == calls


def test_copies_whose_documents_are_lost_are_adopted() -> None:
    world = serving(2)
    before = world.names()
    world.crash()
    world.shelf.clear()
    world.start()
    world.until(lambda: len(world.up()) == 2)
    world.pass_time(20)
    assert world.names() == before


def test_what_runs_of_settings_that_cannot_be_used_is_left_alone() -> None:
    """An operator's slip elsewhere in the file must not take a customer's copies away."""
    world = serving(2)
    before, (digest, deployment) = world.names(), next(iter(world.wanted.items()))
    world.crash()
    del world.wanted[digest]
    world.held.add(digest)
    world.start()
    world.pass_time(20)
    assert world.names() == before
    world.crash()
    world.shelf.clear()  # not even without the documents
    world.start()
    world.pass_time(20)
    assert world.names() == before
    world.crash()
    world.held.clear()
    world.wanted[digest] = deployment
    world.start()
    world.until(lambda: len(world.up()) == 2)
    assert world.names() == before, "mended, it goes on with what runs"


def test_what_is_surplus_without_a_document_is_removed() -> None:
    world = serving(3, replicas=3)
    world.crash()
    world.shelf.clear()
    world.deploy(replicas=1)
    world.start()
    world.until(lambda: len(world.names()) == 1)
    world.until(lambda: len(world.up()) == 1)


def test_copies_are_found_on_nodes_that_have_exchanged_their_engines() -> None:
    world = serving(2)
    before = world.names()
    key, other = [key for key, names in world.containers().items() if names]
    world.crash()
    world.engines[key], world.engines[other] = world.engines[other], world.engines[key]
    world.start()
    world.until(lambda: len(world.up()) == 2)
    world.pass_time(20)
    assert sorted(world.names()) == sorted(before)
    assert {copy.node for copy in world.state.copies.values()} == {key, other}


def test_a_second_container_of_one_copy_is_removed() -> None:
    world = serving(1, replicas=1)
    key = next(key for key, names in world.containers().items() if names)
    (name,) = world.names()
    other = next(each for each in world.engines if each != key)
    made = world.engines[key].spec(name)
    pinned = world.registry.pinned(REFERENCE, None)
    twin = world.engines[other]
    for step in (twin.pull(pinned, None, lambda share: None), twin.create(made), twin.start(name)):
        Deferred.fromCoroutine(step)
    world.pass_time(0.5)
    assert len(world.names()) == 2
    world.until(lambda: world.names() == [name])
    assert world.containers()[key] == [name]


def test_a_node_that_stays_away_has_its_copies_placed_elsewhere_and_loses_them_when_it_is_back() -> None:
    world = serving(2, nodes=3)
    node = next(key for key, names in world.containers().items() if names)
    gone = world.containers()[node][0]
    world.engines[node].lose_power()
    world.pass_time(NODE_GRACE - 2)
    assert len(world.names()) == 2, "nothing is placed before the grace is over"
    took = world.until(lambda: len(world.up()) == 2)
    assert took < 2 + 3 * INTERVAL + 5
    assert len(world.names()) == 3
    world.engines[node].away = ""
    world.until(lambda: len(world.names()) == 2)
    assert gone not in world.names()
    assert len(world.up()) == 2


def test_what_has_not_begun_on_a_node_that_goes_begins_elsewhere_before_the_grace_is_over() -> None:
    world = World(3)
    for engine in world.engines.values():
        engine.pull_seconds = 100.0
    world.deploy(replicas=1)
    world.start()
    world.until(lambda: world.state.copies)
    world.pass_time(INTERVAL * 2)
    (copy,) = world.state.copies.values()
    world.engines[copy.node].away = "no route"
    for engine in world.engines.values():
        engine.pull_seconds = 0.0
    world.pass_time(HALTING - 1)
    assert list(world.state.copies) == [copy.id]
    assert HALTING < NODE_GRACE
    world.until(lambda: len(world.up()) == 1, within=8)
    assert copy.id not in world.state.copies


def test_a_copy_whose_node_has_not_been_seen_yet_is_not_moved() -> None:
    world = serving(1, replicas=1)
    (copy,) = world.state.copies.values()
    world.crash()
    world.engines[copy.node].away = "no route"
    world.start()
    world.pass_time(NODE_GRACE - 2)
    assert list(world.state.copies) == [copy.id]


def test_the_grace_of_a_node_goes_on_across_a_restart() -> None:
    world = serving(2, nodes=3)
    node = next(key for key, names in world.containers().items() if names)
    world.engines[node].lose_power()
    world.pass_time(NODE_GRACE / 2)
    world.restart()
    took = world.until(lambda: len(world.names()) == 3, within=NODE_GRACE)
    assert took < NODE_GRACE / 2 + 2 * INTERVAL


def test_a_node_that_came_back_while_nobody_looked_keeps_its_copies() -> None:
    world = serving(2, nodes=3)
    before = world.names()
    node = next(key for key, names in world.containers().items() if names)
    world.engines[node].away = "no route"
    world.pass_time(NODE_GRACE / 2)
    world.crash()
    world.clock.advance(NODE_GRACE * 10)
    world.engines[node].away = ""
    world.start()
    world.pass_time(20)
    assert world.names() == before
    assert world.shelf["nodes"] == {}


def test_that_a_node_is_back_is_kept_even_if_the_store_refuses_at_first() -> None:
    world = serving(1, replicas=1, nodes=2)
    (copy,) = world.state.copies.values()
    world.engines[copy.node].away = "no route"
    world.pass_time(5)
    assert list(world.shelf["nodes"]) == [copy.node]
    world.documents.refusing = "the disk is full"
    world.engines[copy.node].away = ""
    world.pass_time(5)
    world.documents.refusing = ""
    world.pass_time(5)
    assert world.shelf["nodes"] == {}


def test_a_hung_engine_keeps_its_copies_in_service_until_others_are_there() -> None:
    world = serving(2, nodes=3)
    lowest: list[int] = []
    node = next(key for key, names in world.containers().items() if names)
    world.engines[node].away = "no answer"
    world.pass_time(NODE_GRACE + 20, check=lambda: lowest.append(len(world.up())))
    assert min(lowest) == 2
    assert node not in {world.serving.there[copy].node.address for copy in world.up()}


def test_an_update_goes_one_by_one_and_never_below_what_is_wanted() -> None:
    world = serving(3, replicas=3)
    fewest: list[int] = []
    most: list[int] = []

    def check() -> None:
        fewest.append(len(world.up()))
        most.append(len(world.names()))

    world.deploy(replicas=3, command=("v2",))
    world.pass_time(60, check=check)
    assert world.commands() == [("v2",)] * 3
    assert min(fewest) == 3
    assert max(most) == 4


def test_an_update_without_room_lets_one_old_copy_go_at_a_time() -> None:
    world = serving(3, replicas=3, gpus=1)
    fewest: list[int] = []
    world.deploy(replicas=3, command=("v2",))
    world.pass_time(60, check=lambda: fewest.append(len(world.up())))
    assert world.commands() == [("v2",)] * 3
    assert min(fewest) == 2


def test_an_update_that_no_node_can_take_costs_nothing() -> None:
    world = serving(3, replicas=3, gpus=1)
    digest = world.deploy(replicas=3, command=("v2",), gpus=2)
    world.pass_time(60)
    assert len(world.up()) == 3
    assert world.commands() == [()] * 3
    assert world.gateway is not None
    assert "needs 2 free GPUs" in str(world.gateway.refused[digest])


def test_an_update_that_never_gets_healthy_is_rolled_back() -> None:
    world = serving(3, replicas=3)
    world.bad.add("v2")
    fewest: list[int] = []
    digest = world.deploy(replicas=3, command=("v2",))
    world.pass_time(GRACE * 4, check=lambda: fewest.append(len(world.up())))
    assert min(fewest) == 3
    assert world.commands() == [()] * 3
    assert "refused" in world.state.standings[digest].reason
    world.restart()
    world.pass_time(30)
    assert world.commands() == [()] * 3, "what has failed is not tried again by itself"
    world.deploy(replicas=3, command=("v3",))
    world.pass_time(60)
    assert world.commands() == [("v3",)] * 3


def test_a_change_at_the_very_moment_of_the_first_success_can_be_rolled_back() -> None:
    world = World(3)
    world.bad.add("v2")
    world.deploy()
    world.start()
    while len(world.up()) < 2:
        world.clock.advance(0.01)
    world.deploy(command=("v2",))
    world.pass_time(GRACE * 4)
    assert world.commands() == [()] * 2
    assert len(world.up()) == 2


def test_an_update_without_room_is_rolled_back_too() -> None:
    world = serving(2, replicas=2, nodes=2, gpus=1)
    world.bad.add("v2")
    world.deploy(replicas=2, command=("v2",))
    world.pass_time(GRACE * 5)
    assert world.commands() == [()] * 2
    assert len(world.up()) == 2


def test_what_is_not_wanted_any_more_is_drained_first() -> None:
    world = serving(2)
    world.call_seconds = 5.0
    drained: list[str] = []
    world.on_drain = drained.append
    world.wanted.clear()
    world.nudge()
    world.pass_time(4)
    assert len(world.names()) == 2
    assert len(drained) == 2
    world.until(lambda: not world.names(), within=5)
    world.until(lambda: not world.state.copies, within=5)


def test_a_drained_node_is_emptied_once_others_have_its_copies() -> None:
    world = serving(3, replicas=3, gpus=3)
    fewest: list[int] = []
    world.state.drained.add("n0")
    world.nudge()
    world.pass_time(30, check=lambda: fewest.append(len(world.up())))
    assert not world.containers()["n0"]
    assert min(fewest) == 3


def test_fewer_are_wanted_and_the_broken_one_goes_first() -> None:
    world = serving(3, replicas=3)
    broken = world.names()[1]
    world.ill.add(broken)
    world.pass_time(1)
    world.deploy(replicas=2)
    world.until(lambda: len(world.names()) == 2)
    assert broken not in world.names()


def test_a_copy_whose_container_has_ended_is_started_again() -> None:
    world = serving(2)
    node = next(key for key, names in world.containers().items() if names)
    name = world.containers()[node][0]
    world.engines[node].end(name, again=False)
    world.pass_time(0.1)
    world.until(lambda: len(world.up()) == 2, within=3 * INTERVAL)
    assert world.engines[node].kept(name).state is ContainerState.RUNNING


def test_a_copy_that_hangs_is_restarted_after_its_grace_with_longer_and_longer_pauses() -> None:
    world = serving(2)
    node = next(key for key, names in world.containers().items() if names)
    name = world.containers()[node][0]
    world.ill.add(name)
    world.pass_time(GRACE * 20)
    assert 3 <= [call for call, about in world.engines[node].calls if about == name].count("restart") <= 10


def test_a_copy_that_its_image_calls_unhealthy_gets_no_calls() -> None:
    world = serving(2)
    node = next(key for key, names in world.containers().items() if names)
    name = world.containers()[node][0]
    world.engines[node].run(name, ContainerHealth.UNHEALTHY)
    world.until(lambda: len(world.serving.there) == 1, within=2 * INTERVAL)
    world.engines[node].run(name, ContainerHealth.HEALTHY)
    world.until(lambda: len(world.up()) == 2, within=3 * INTERVAL)


def test_an_engine_that_refuses_is_asked_again_and_says_why() -> None:
    world = World(nodes=1)
    world.engines["n0"].refuse["start"] = "no GPU runtime: install the NVIDIA container toolkit"
    world.deploy(replicas=1)
    world.start()
    world.pass_time(60)
    asked = [call for call in world.engines["n0"].calls if call[0] == "start"]
    assert 4 <= len(asked) <= 10
    assert len(world.names()) == 1
    assert world.failed
    assert world.gateway is not None
    (vital,) = world.gateway.situation().vitals.values()
    assert "NVIDIA container toolkit" in vital.reason
    world.engines["n0"].refuse.clear()
    world.until(lambda: len(world.up()) == 1, within=61)


def test_an_image_that_was_removed_behind_our_back_is_brought_again() -> None:
    world = serving(1, replicas=1, nodes=1)
    world.engines["n0"].images.clear()
    world.deploy(replicas=2)
    world.until(lambda: len(world.up()) == 2)


def test_a_registry_that_is_down_holds_up_an_update_and_nothing_else() -> None:
    world = serving(2)
    world.registry.down = True
    world.deploy(replicas=2, reference="registry.test/app:2")
    world.pass_time(20)
    assert len(world.up()) == 2
    assert world.gateway is not None
    job = world.images.resolving(next(iter(world.wanted.values())).recipe.source)
    assert job is not None and "cannot be reached" in job.reason
    world.registry.push("registry.test/app:2")
    world.registry.down = False
    world.until(lambda: {name.image for name in specs(world)} == {world.registry.pinned("registry.test/app:2", None)})
    world.until(lambda: len(world.up()) == 2)


def specs(world: World) -> list[object]:
    return [engine.spec(name) for engine in world.engines.values() for name in engine.names()]


def test_a_store_that_refuses_holds_up_everything_new_and_breaks_nothing() -> None:
    world = serving(2)
    world.documents.refusing = "the disk is full"
    world.deploy(replicas=3)
    world.pass_time(10)
    assert len(world.names()) == len(world.up()) == 2
    world.documents.refusing = ""
    world.until(lambda: len(world.up()) == 3)


def test_two_nodes_of_one_engine_do_not_fight() -> None:
    world = World(nodes=2)
    world.engines["n1"] = world.engines["n0"]
    world.deploy(replicas=1)
    world.start()
    world.until(lambda: len(world.up()) == 1)
    world.pass_time(30)
    assert len(world.engines["n0"].names()) == 1
    assert [call for call, _ in world.engines["n0"].calls].count("remove") == 0


def test_a_copy_that_was_gone_is_trusted_once_its_engine_shows_it() -> None:
    """Also where nothing has changed there; by no look that began before, and not while the engine is away."""
    world = serving(2)
    copy, replica = sorted(world.serving.there.items())[0]
    world.clock.advance(INTERVAL / 2)
    world.serving.doubt(copy)
    world.pass_time(0.5)
    assert world.serving.in_doubt == {}, "it is looked at soon"
    assert world.serving.trusted == [copy]
    world.engines[replica.node.address].away = "gone"
    world.pass_time(2 * INTERVAL)
    assert {each.id for each in world.serving.checked} == {copy}, "what may be gone with its engine is checked"
    world.serving.doubt(copy)
    world.pass_time(NODE_GRACE / 2)
    assert copy in world.serving.in_doubt
    world.engines[replica.node.address].away = ""
    world.pass_time(2 * INTERVAL)
    assert world.serving.in_doubt == {}


def test_a_copy_of_which_one_is_in_doubt_has_those_beside_it_checked() -> None:
    world = World(nodes=1, gpus=4)
    world.deploy(replicas=3)
    world.start()
    world.until(lambda: len(world.up()) == 3, what="serving")
    first, *others = sorted(world.serving.there)
    world.serving.doubt(first)
    assert {each.id for each in world.serving.checked} >= set(others)
    count = len(world.serving.checked)
    world.serving.doubt(others[0])
    assert len(world.serving.checked) == count, "once is enough"


def test_what_a_doubt_costs_does_not_grow_with_the_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that fails brings all copies into doubt at once: each asked about all the others, for seconds."""
    world = serving(4, replicas=4, nodes=4)
    copy, replica = sorted(world.serving.there.items())[0]
    asked: list[str] = []
    doubted = world.serving.doubted
    monkeypatch.setattr(world.serving, "doubted", lambda each: asked.append(each) or doubted(each))
    world.serving.doubt(copy)
    beside = {each for each, other in world.serving.there.items() if other.node == replica.node}
    assert set(asked) <= beside
    assert {each.id for each in world.serving.checked} == beside


def test_an_image_that_is_wanted_again_does_not_rest_for_who_wanted_it_before() -> None:
    world = World(nodes=2)
    late = "registry.test/late:1"
    digest = world.deploy(replicas=1, reference=late)
    world.start()
    world.pass_time(200)
    source = world.wanted[digest].recipe.source
    job = world.images.resolving(source)
    assert job is not None and job.rests_until > world.clock.seconds() + 10
    del world.wanted[digest]
    world.nudge()
    world.pass_time(INTERVAL)
    assert world.images.jobs_of({source.key}) == {}
    world.registry.push(late)
    world.deploy(replicas=1, reference=late)
    assert world.until(lambda: len(world.up()) == 1) < 10


def test_an_image_that_nobody_wants_any_more_is_not_brought_on() -> None:
    world = World(nodes=1)
    world.engines["n0"].pull_seconds = 600.0
    digest = world.deploy(replicas=1)
    world.start()
    key = world.wanted[digest].recipe.source.key
    world.until(lambda: any(node for node, _, _ in world.images.jobs_of({key})), what="it is on its way")
    del world.wanted[digest]
    world.nudge()
    world.pass_time(INTERVAL)
    assert world.images.jobs_of({key}) == {}
    assert world.state.copies == {}


@pytest.mark.parametrize("fields", [{}, {"command": ("serve", "v2")}])
@pytest.mark.parametrize("latency", [0.0, 2.0])
def test_a_gateway_that_starts_with_fewer_wanted_learns_first_which_copies_work(
    latency: float, fields: dict[str, object]
) -> None:
    """One that serves must not go for one that does not, and that was seen to before."""
    for ill in range(3):
        world = serving(3, replicas=3)
        world.ill.add(world.names()[ill])
        world.crash()
        world.latency, world.check_seconds = latency, 1.0
        world.deploy(replicas=2, **fields)
        well = set(world.up())
        gone: list[str] = []
        world.on_drain = gone.append
        world.start()
        world.until(lambda: gone, what="one leaves")  # noqa: B023
        assert gone[0] not in well


def test_a_node_that_got_another_address_keeps_its_copies() -> None:
    """Else others would be started in their place, and on their GPUs."""
    world = serving(2, nodes=1, gpus=2)
    before = world.names()
    world.crash()
    node, gpu_ids = world.posts.pop("n0")
    world.posts["m0"] = replace(node, address="m0"), gpu_ids
    world.engines["m0"] = engine = world.engines.pop("n0")
    world.latency = 0.5
    count = len(engine.calls)

    def check() -> None:
        held = [gpu for name in engine.names() for gpu in engine.spec(name).gpu_ids]
        assert len(held) == len(set(held)), "two containers have one GPU"

    world.start()
    world.pass_time(60, check=check)
    assert len(world.up()) == 2
    assert world.names() == before
    assert {call for call, _ in engine.calls[count:]} <= {"info", "containers", "resolve", "image"}
    assert {copy.node for copy in world.state.copies.values()} == {"m0"}


@pytest.mark.parametrize("ill", [False, True])
def test_a_gpu_that_is_taken_out_of_the_file_loses_its_copy(ill: bool) -> None:
    """It is broken, perhaps: restarting the copy on it for ever would help nobody."""
    world = serving(2, nodes=1, gpus=3)
    engine = world.engines["n0"]
    if ill:
        world.ill.update(name for name in world.names() if engine.spec(name).gpu_ids == ("0",))
    world.crash()
    node, _ = world.posts["n0"]
    world.posts["n0"] = node, ("1", "2")
    world.start()
    world.until(lambda: {engine.spec(name).gpu_ids for name in engine.names()} == {("1",), ("2",)})
    world.until(lambda: len(world.up()) == 2)
    world.crash()
    world.shelf.clear()
    world.posts["n0"] = node, ("2", "3")
    world.start()
    world.until(lambda: {engine.spec(name).gpu_ids for name in engine.names()} == {("2",), ("3",)}, what="nor adopted")


def test_a_container_that_can_only_be_removed_is_made_anew() -> None:
    world = serving(2)
    name = world.names()[0]
    engine = next(engine for engine in world.engines.values() if name in engine.names())
    before = engine.kept(name).id
    engine.break_beyond_repair(name)
    world.until(lambda: name in engine.names() and engine.kept(name).id != before, within=30)
    world.until(lambda: len(world.up()) == 2)


def test_the_grace_of_a_node_ends_though_the_clock_was_set_back() -> None:
    """As where a machine begins with a clock that is hours ahead, and is put right before the gateway starts again."""
    world = serving(2)
    away = next(key for key, names in world.containers().items() if names)
    world.engines[away].lose_power()
    world.pass_time(2 * INTERVAL)
    assert away in world.state.away_since
    world.crash()
    world.clock.rightNow -= 7200
    world.start()
    world.until(lambda: len(world.up()) == 2, within=NODE_GRACE + 30)
