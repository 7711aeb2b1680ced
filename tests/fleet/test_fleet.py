"""The fleet as its operator meets it: what it tells, what may be asked of it, and what is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from docker_images import Image, archive, tar_of
from gateway_rig import begun, done
from twisted.internet.defer import Deferred
from world import FLEET, REFERENCE, FakeArchive, FakeServing, Spread, World

from ngpu.errors import Conflict, EngineRefused, EngineUnreachable, NotFound, StoreUnavailable
from ngpu.fleet.fleet import Fleet
from ngpu.fleet.ground import Ground, ground_of, logins
from ngpu.fleet.replicas import nodes_by_key
from ngpu.fleet.state import FleetState
from ngpu.fleet.station import CLOSE_WITHIN, Post
from ngpu.fleet.wanted import Source
from ngpu.metrics import Metrics
from ngpu.model import Gpus, Node
from ngpu.settings import Registry, Settings, Workspace
from ngpu.settings.block import Surroundings

ID = "367614711220405248"


class House:
    """A fleet of three nodes of two GPUs, and a node without an engine, over a `World`'s engines."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World(3)
        self.world.gateway = None
        self.documents = self.world.documents
        self.metrics = Metrics({})
        self.serving = self.world.serving = FakeServing(self.world)
        posts = tuple(
            Post(key, node, self.world.engines[key], "docker", ids, 8 << 30)
            for key, (node, ids) in self.world.posts.items()
        )
        static = ((Node("0xST", "10.9.9.9", Gpus("Y", 1)), 0),)

        async def open_archive(source: Source) -> Any:
            self.foreign = source.foreign
            return FakeArchive(self.world.archives[source.location])

        self.fleet = Fleet(
            Ground(FLEET, 2.0, 30.0, Path("/etc/ngpu"), posts, static),
            state=FleetState(self.documents),
            serving=self.serving,
            open_archive=open_archive,
            login=lambda host: None,
            make_policy=lambda placement: Spread(),
            fixed={ID},
            clock=self.world.clock,
            rng=Random(1),
            metrics=self.metrics,
        )
        self.workspaces: dict[str, Workspace] = {}

    def start(self) -> None:
        done(self.fleet.load())
        self.fleet.start()

    def put(self, id: str = ID, **keys: Any) -> Workspace:
        block = {
            "id": id,
            "name": "sd web/ui",
            "image": {"reference": REFERENCE},
            "ports": {8080: 80},
            "replicas": 2,
            "health": {"grace": "6s"},
            "container": {"stop_grace": "1s"},
            **keys,
        }
        workspace = Workspace.model_validate(block, context=Surroundings(Path("/etc/ngpu")))
        self.fleet.follow(self.workspaces.get(id), workspace)
        self.workspaces[id] = workspace
        return workspace

    def report(self, id: str = ID) -> Any:
        return self.fleet.deployment(id)

    def until(self, state: str, id: str = ID) -> Any:
        self.world.until(lambda: self.report(id).state == state, what=state)
        return self.report(id)

    @property
    def names(self) -> list[str]:
        return self.world.names()


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    begun(made.fleet.stop())
    assert made.world.clock.getDelayedCalls() == [] or made.world.clock.getDelayedCalls() is None


def test_a_deployment_tells_how_it_comes_up(house: House) -> None:
    for engine in house.world.engines.values():
        engine.pull_seconds = 4.0
    house.put()
    house.start()
    shares: list[int] = []
    house.world.pass_time(0.5)
    assert house.report().state == "deploying"
    while house.report().state == "deploying":
        (share,) = {node["progress"] for node in house.report().nodes}
        shares.append(share)
        house.world.pass_time(0.2)
    report = house.report()
    assert (report.state, report.reason, report.running) == ("serving", "", 2)
    assert shares == sorted(shares) and any(0 < share < 100 for share in shares)
    assert house.fleet.progress(ID) == [
        {"nodeAddr": node["address"], "progress": 100, "status": 1} for node in report.nodes
    ]
    first = report.copies[0]
    assert first["id"].startswith("sd-web-ui-") and "/" not in first["id"]
    assert (first["state"], first["health"], first["machine"]) == ("serving", "up", "")
    assert first["ports"] == {"8080": 32768}
    assert f"ngpu-{FLEET}-{first['id']}" in house.names


def test_a_copy_that_was_made_and_not_started_yet_is_no_failure(house: House) -> None:
    """Whoever watches a deployment gives up once it has failed."""
    for engine in house.world.engines.values():
        engine.slow["start"] = 3.0
    house.put(replicas=1)
    house.start()
    told: set[tuple[str, str]] = set()
    while (report := house.report()).state != "serving":
        told.update((report.state, copy["state"]) for copy in report.copies)
        assert report.state == "deploying", report
        house.world.pass_time(0.1)
    assert ("deploying", "starting") in told


def test_nodes_are_told_with_what_they_have_left(house: House) -> None:
    house.put(replicas=3)
    house.start()
    house.until("serving")
    house.world.engines["n1"].away = "no route"
    house.world.pass_time(5)
    nodes = {node["address"]: node for node in house.fleet.nodes()}
    assert nodes["n0"]["state"] == "up"
    assert nodes["n0"]["gpus"] == {"type": "X", "count": 2, "memory": 0, "free": 1}
    assert (nodes["n0"]["copies"], nodes["n0"]["engine"], nodes["n0"]["memory"]) == (1, "docker", 8 << 30)
    assert (nodes["n1"]["state"], nodes["n1"]["reason"]) == ("away", "no route")
    assert nodes["n1"]["away_since"] == pytest.approx(house.world.clock.seconds(), abs=6)
    assert (nodes["0xST"]["state"], nodes["0xST"]["engine"]) == ("static", None)


def test_what_finds_no_node_is_told_for_each(house: House) -> None:
    house.put(gpus={"count": 3})
    house.start()
    house.world.pass_time(3)
    report = house.report()
    assert report.state == "failed"
    assert [each["address"] for each in report.unplaced] == ["n0", "n1", "n2"]
    assert all("needs 3 free GPUs, has 2" in each["reason"] for each in report.unplaced)
    assert "needs 3 free GPUs" in report.reason


def test_an_archive_that_no_node_has_room_for_says_so_too(house: House) -> None:
    """It is loaded where its copies are to be, and so never becomes known."""
    house.world.archives["/etc/ngpu/app.tar"] = archive(Image([tar_of({"a": b"1"})]))
    house.put(image={"archive": "app.tar"}, gpus={"count": 3})
    house.start()
    house.world.pass_time(10)
    assert "needs 3 free GPUs, has 2" in house.report().reason
    house.put(image={"archive": "app.tar"}, gpus={"count": 2})
    house.until("serving")


def test_a_tag_that_has_moved_is_taken_when_it_is_deployed_fresh(house: House) -> None:
    house.put()
    house.start()
    house.until("serving")
    before = house.names
    house.world.registry.push(REFERENCE)
    house.world.pass_time(10)
    done(house.fleet.deploy(ID))
    house.world.pass_time(30)
    assert house.names == before, "what is pinned stays"
    begun(house.fleet.deploy(ID, fresh=True))
    house.world.until(lambda: not set(before) & set(house.names))
    house.until("serving")
    images = {engine.spec(name).image for engine in house.world.engines.values() for name in engine.names()}
    assert images == {house.world.registry.pinned(REFERENCE, None)}
    again = house.names
    begun(house.fleet.deploy(ID, fresh=True))
    house.world.pass_time(30)
    assert house.names == again, "the same image is no reason to change anything"


def test_a_registry_that_cannot_be_asked_refuses_fresh_and_changes_nothing(house: House) -> None:
    house.put()
    house.start()
    house.until("serving")
    before = dict(house.world.shelf["pins"])
    house.world.registry.push(REFERENCE)
    house.world.registry.down = True
    asked = begun(house.fleet.deploy(ID, fresh=True))
    assert isinstance(asked.error, EngineRefused)
    house.world.pass_time(10)
    assert house.world.shelf["pins"] == before and house.report().state == "serving"


def test_an_archive_is_loaded_again_when_it_is_deployed_fresh(house: House) -> None:
    house.world.archives["/etc/ngpu/app.tar"] = archive(Image([tar_of({"a": b"1"})]))
    house.put(image={"archive": "app.tar"})
    house.start()
    house.until("serving")
    assert not house.foreign
    before = house.names
    house.world.archives["/etc/ngpu/app.tar"] = archive(Image([tar_of({"a": b"2"})]))
    house.world.pass_time(10)
    assert house.names == before
    done(house.fleet.deploy(ID, fresh=True))
    house.world.until(lambda: not set(before) & set(house.names))
    house.until("serving")


def test_an_archive_passes_through_once_for_each_node_though_one_is_done_before_the_others(house: House) -> None:
    house.world.archives["/etc/ngpu/app.tar"] = archive(Image([tar_of({"a": b"1"})]))
    for number, engine in enumerate(house.world.engines.values()):
        engine.slow["load"] = 3.0 * number + 0.1
    house.put(image={"archive": "app.tar"}, replicas=3)
    house.start()
    house.until("serving")
    loads = [[call for call, _ in engine.calls].count("load") for engine in house.world.engines.values()]
    assert loads == [1, 1, 1]


def test_an_archive_of_a_workspace_made_at_run_time_is_foreign(house: House) -> None:
    house.world.archives["http://x/app.tar"] = archive(Image([tar_of({"a": b"1"})]))
    house.put("other", image={"archive": "http://x/app.tar"})
    house.start()
    house.until("serving", "other")
    assert house.foreign


def test_an_archive_that_differs_from_node_to_node_is_refused(house: House) -> None:
    house.world.archives["/etc/ngpu/app.tar"] = archive(Image([tar_of({"a": b"1"})]))
    house.put(image={"archive": "app.tar"}, replicas=1)
    house.start()
    house.until("serving")
    house.world.archives["/etc/ngpu/app.tar"] = archive(Image([tar_of({"a": b"2"})]))
    house.put(image={"archive": "app.tar"}, replicas=2)
    house.world.pass_time(10)
    report = house.report()
    assert report.state == "degraded"
    assert "another image" in report.reason


def test_undeployed_and_deployed_again(house: House) -> None:
    house.put()
    house.start()
    house.until("serving")
    done(house.fleet.undeploy(ID))
    house.world.until(lambda: house.names == [])
    assert house.report().state == "suspended"
    house.world.pass_time(10)
    assert house.names == []
    done(house.fleet.deploy(ID))
    house.until("serving")


def test_a_change_that_was_taken_back_is_told_and_tried_again_when_it_is_deployed(house: House) -> None:
    house.put()
    house.start()
    house.until("serving")
    house.world.bad.add("v2")
    house.put(command=["v2"])
    house.world.until(lambda: "taken back" in house.report().reason)
    report = house.until("serving")
    assert "taken back" in report.reason
    house.world.pass_time(20)
    assert house.world.commands() == [()] * 2
    house.world.bad.clear()
    done(house.fleet.deploy(ID))
    house.world.until(lambda: house.world.commands() == [("v2",)] * 2)
    assert house.until("serving").reason == ""


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"image": {"reference": "registry.test/nobody:1"}}, "there is no image"),
        ({"gpus": {"count": 9}}, "needs 9 free GPUs"),
    ],
)
def test_a_change_that_is_held_up_says_why_while_what_was_there_serves(
    house: House, keys: dict[str, Any], told: str
) -> None:
    house.put()
    house.start()
    house.until("serving")
    before = house.names
    house.put(**keys)
    house.world.pass_time(10)
    report = house.report()
    assert report.state == "serving" and told in report.reason
    assert house.names == before


def test_a_node_is_drained_and_undrained_by_any_spelling_of_its_address(house: House) -> None:
    house.put()
    house.start()
    house.until("serving")
    node = house.report().copies[0]["node"]
    done(house.fleet.drain(f"0x{node.upper()}"))
    house.world.until(lambda: node not in {copy["node"] for copy in house.report().copies})
    assert {each["address"] for each in house.fleet.nodes() if each["draining"]} == {node}
    done(house.fleet.undrain(node))
    assert not any(each["draining"] for each in house.fleet.nodes())


def test_what_is_not_there_is_said(house: House) -> None:
    house.start()
    for asked in (house.fleet.deploy("x"), house.fleet.undeploy("x"), house.fleet.drain("x"), house.fleet.undrain("x")):
        assert isinstance(begun(asked).error, NotFound)
    assert isinstance(begun(house.fleet.drain("0xST")).error, Conflict)
    with pytest.raises(NotFound):
        house.fleet.logs("x", 10, False)
    assert house.fleet.deployment("x") is None
    assert house.fleet.progress("x") is None


def test_what_cannot_be_kept_is_not_done(house: House) -> None:
    house.put()
    house.start()
    house.until("serving")
    house.documents.refusing = "the disk is full"
    for asked in (house.fleet.undeploy(ID), house.fleet.drain("n0")):
        assert isinstance(begun(asked).error, StoreUnavailable)
    house.documents.refusing = ""
    house.world.pass_time(10)
    assert house.report().state == "serving"
    assert not any(each["draining"] for each in house.fleet.nodes())


def test_the_logs_of_a_copy(house: House) -> None:
    house.put(replicas=1)
    house.start()
    house.until("serving")
    (copy,) = house.report().copies
    house.world.engines[copy["node"]].say(f"ngpu-{FLEET}-{copy['id']}", b"one\ntwo\n")

    async def printed() -> list[bytes]:
        return [piece async for piece in house.fleet.logs(copy["id"], 1, False)]

    assert done(printed()) == [b"two\n"]
    house.world.engines[copy["node"]].away = "no route"
    assert isinstance(begun(printed()).error, EngineUnreachable)


def test_a_workspace_that_goes_takes_its_documents_and_figures_with_it(house: House) -> None:
    workspace = house.put()
    house.start()
    house.until("serving")
    house.fleet.figures()
    figures = house.metrics.exposition().decode()
    assert f'ngpu_copies_serving{{workspace="{workspace.label}"}} 2.0' in figures
    assert 'ngpu_engine_up{node="n0"} 1.0' in figures
    house.fleet.follow(workspace, None)
    house.world.until(lambda: house.names == [])
    house.world.pass_time(5)
    assert {name: kept for name, kept in house.world.shelf.items() if kept} == {}
    assert workspace.label not in house.metrics.exposition().decode()


def test_copies_of_an_earlier_life_are_expected_before_anything_is_looked_at(house: House) -> None:
    house.put()
    house.start()
    house.until("serving")
    begun(house.fleet.stop())
    expected: list[tuple[str, str]] = []
    again = House(house.world)
    again.serving.expect = lambda workspace, copy: expected.append((workspace, copy))  # type: ignore[method-assign]
    again.put()
    done(again.fleet.load())
    assert sorted(expected) == sorted((ID, name.removeprefix(f"ngpu-{FLEET}-")) for name in house.names)


def test_settings_become_posts_and_logins(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "fleet": {"name": "f", "interval": "3s"},
            "nodes": [
                {
                    "address": "0xAA",
                    "host": "gpu1",
                    "engine": "swarm+tcp://gpu1:2376",
                    "engine_options": {"timeout": "5s"},
                    "tls": {"ca": "ca.pem", "cert": "c.pem", "key": "k.pem"},
                    "gpus": {"count": 2, "ids": ["GPU-1", "GPU-2"]},
                    "memory": "2GiB",
                },
                {"address": "0xBB", "host": "gpu2", "engine": "unix:///run/docker.sock", "gpus": {"count": 2}},
                {"address": "0xCC", "host": "gpu3"},
            ],
        },
        context=Surroundings(tmp_path),
    )
    made: list[tuple[str, str, Any]] = []

    def make(family: str, name: str, options: Any) -> Any:
        made.append((family, name, dict(options)))
        return name

    ground = ground_of(settings, nodes_by_key(settings.nodes), make)
    assert made == [
        (
            "engine",
            "swarm",
            {
                "timeout": "5s",
                "url": "tcp://gpu1:2376",
                "ca": f"{tmp_path}/ca.pem",
                "cert": f"{tmp_path}/c.pem",
                "key": f"{tmp_path}/k.pem",
            },
        ),
        ("engine", "docker", {"url": "unix:///run/docker.sock"}),
    ]
    assert [(post.key, post.gpu_ids, post.memory) for post in ground.posts] == [
        ("aa", ("GPU-1", "GPU-2"), 2 << 30),
        ("bb", ("0", "1"), 0),
    ]
    assert [node.address for node, _ in ground.static] == ["0xCC"]
    password = tmp_path / "password"
    login = logins({"r.test:5000": _registry(password)})
    assert login("elsewhere.test") is None
    with pytest.raises(EngineRefused, match=r"the registry r\.test:5000 cannot be read"):
        login("r.test:5000")
    password.write_text("secret\n")
    found = login("r.test:5000")
    assert found is not None and found.password == "secret" and "secret" not in repr(found)


def _registry(password: Path) -> Registry:
    return Registry.model_validate(
        {"username": "puller", "password_file": str(password)}, context=Surroundings(Path("/"))
    )


def test_engines_that_do_not_close_hold_up_no_stop() -> None:
    """Each of them at once: one that hangs, one that goes on when it is cancelled, one that raises."""
    house = House()
    first, second, third = house.world.engines.values()

    async def hang() -> None:
        await Deferred()

    async def stubborn() -> None:
        while True:
            with contextlib.suppress(Exception):
                await Deferred()

    def fail() -> Any:
        raise SystemExit(3)

    first.close, second.close, third.close = hang, stubborn, fail  # type: ignore[method-assign]
    house.start()
    stopped = begun(house.fleet.stop())
    assert not stopped.over
    house.world.clock.advance(CLOSE_WITHIN)
    assert stopped.over and stopped.value is None
