"""Whatever happens to a fleet, in whatever order: what must never be, and where it must end."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from world import GRACE, INTERVAL, NODE_GRACE, REFERENCE, World

from ngpu.containers import COPY, FLEET, ContainerState
from ngpu.fleet.copies import Copy

NODES = ["n0", "n1", "n2"]
VERSIONS = ["v1", "v2", "bad1", "bad2"]
SECOND = "registry.test/app:2"


class AnyFleet(RuleBasedStateMachine):
    """Two workspaces on three nodes of one or two GPUs; engines fail, hang and lie, gateways die at any moment."""

    @initialize(
        latency=st.sampled_from([0.0, 0.05, 0.3]),
        seed=st.integers(0, 1000),
        call=st.sampled_from([0.0, 4.0]),
        gpus=st.sampled_from([1, 2]),
    )
    def begin(self, latency: float, seed: int, call: float, gpus: int) -> None:
        self.gpus = gpus
        self.world = world = World(3, gpus, latency, seed)
        world.registry.push(SECOND)
        world.bad.update(("bad1", "bad2"))
        world.call_seconds = call
        self.version = {"a": "v1", "b": "v1"}
        self.replicas = {"a": 2, "b": 1}
        self.wrong: list[str] = []
        world.on_document = self.judge
        for name in self.version:
            self.want(name)
        world.start()

    def want(self, name: str) -> None:
        self.world.deploy(
            name, self.replicas[name], SECOND if name == "b" else REFERENCE, command=(self.version[name],)
        )

    def judge(self, call: str, collection: str, key: str = "", document: Any = None) -> None:
        """Look at what is decided, before it is kept."""
        world = self.world
        assert world.gateway is not None
        if (call, collection) != ("put", "copies"):
            return
        now = world.gateway.situation()
        before = now.copies.get(key)
        mine = [c for c in now.copies.values() if c.workspace == document["workspace"] and not now.lost(c)]
        deployment = now.deployments[document["workspace"]]
        if before is None and len(mine) > deployment.replicas and not self.is_adopted(key):
            self.wrong.append(f"{key} makes {len(mine) + 1} copies where {deployment.replicas} are wanted")
        if document["leaving"] == "it is replaced" and before is not None and key in now.up:
            self.judge_replaced(before, mine)

    def is_adopted(self, key: str) -> bool:
        return any(engine.spec(name).labels[COPY] == key for engine in self.engines for name in engine.names())

    def judge_replaced(self, copy: Copy, mine: list[Copy]) -> None:
        assert self.world.gateway is not None
        now = self.world.gateway.situation()
        others = [each for each in mine if each.id != copy.id and each.id in now.up and not each.leaving]
        wanted = now.deployments[copy.workspace].replicas
        if len(others) < wanted and not now.nodes[copy.node].drained:
            self.wrong.append(f"{copy.id} goes, and only {others} are up")

    @property
    def engines(self) -> list[Any]:
        return list(self.world.engines.values())

    @invariant()
    def nothing_is_wrong(self) -> None:
        if not hasattr(self, "world"):
            return
        assert not self.wrong, self.wrong
        seen: set[str] = set()
        for engine in self.engines:
            used: list[str] = []
            for name in engine.names():
                spec = engine.spec(name)
                assert spec.labels[COPY] not in seen, f"two containers of {name}"
                seen.add(spec.labels[COPY])
                assert len(spec.gpu_ids) == 1
                # what an engine makes late, for a gateway that is dead by now, is never started
                used += spec.gpu_ids if engine.kept(name).state is not ContainerState.CREATED else ()
            assert len(used) == len(set(used)), f"copies share a GPU: {engine.names()} {used}"

    @rule(seconds=st.sampled_from([0.1, 0.3, 1.0, 3.0, 10.0, NODE_GRACE + 5]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds, check=self.nothing_is_wrong)

    @rule(name=st.sampled_from("ab"), version=st.sampled_from(VERSIONS))
    def change(self, name: str, version: str) -> None:
        self.version[name] = version
        self.want(name)

    @rule(name=st.sampled_from("ab"), replicas=st.integers(0, 3))
    def scale(self, name: str, replicas: int) -> None:
        self.replicas[name] = replicas
        self.want(name)

    @rule(after=st.floats(0.0, 1.5))
    def crash(self, after: float) -> None:
        self.world.pass_time(after, step=max(after, 0.01), check=self.nothing_is_wrong)
        self.world.restart()

    @rule(node=st.sampled_from(NODES), power=st.booleans())
    def goes_away(self, node: str, power: bool) -> None:
        engine = self.world.engines[node]
        if power:
            engine.lose_power()
        else:
            engine.away = "no answer"

    @rule(node=st.sampled_from(NODES))
    def comes_back(self, node: str) -> None:
        self.world.engines[node].away = ""

    @rule(node=st.sampled_from(NODES), calls=st.sets(st.sampled_from(["create", "start", "remove", "containers"])))
    def loses_answers(self, node: str, calls: set[str]) -> None:
        self.world.engines[node].lost = calls

    @rule(node=st.sampled_from(NODES), call=st.sampled_from(["create", "start", "pull", "remove", "containers"]))
    def gets_slow(self, node: str, call: str) -> None:
        self.world.engines[node].slow[call] = 4.0

    @rule(node=st.sampled_from(NODES), call=st.sampled_from(["create", "start", "pull", "restart"]))
    def refuses(self, node: str, call: str) -> None:
        self.world.engines[node].refuse[call] = "no"

    @rule(node=st.sampled_from(NODES))
    def is_well_again(self, node: str) -> None:
        engine = self.world.engines[node]
        engine.refuse.clear()
        engine.slow.clear()
        engine.lost = set()

    @rule(down=st.booleans())
    def registry(self, down: bool) -> None:
        self.world.registry.down = down

    @rule(node=st.sampled_from(NODES))
    def images_vanish(self, node: str) -> None:
        self.world.engines[node].images.clear()

    @rule(refusing=st.booleans())
    def store(self, refusing: bool) -> None:
        self.world.documents.refusing = "the disk is full" if refusing else ""

    @precondition(lambda self: self.world.loaded)
    @rule(node=st.sampled_from(NODES), drained=st.booleans())
    def drain(self, node: str, drained: bool) -> None:
        drains = self.world.shelf.setdefault("drained", {})
        if drained:
            drains[node] = "{}"
            self.world.state.drained.add(node)
        else:
            drains.pop(node, None)
            self.world.state.drained.discard(node)

    @precondition(lambda self: self.world.names())
    @rule(data=st.data(), how=st.sampled_from(["ends", "exits", "ill", "removed", "well"]))
    def happens_to_a_container(self, data: st.DataObject, how: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.names())))
        engine = next(engine for engine in self.engines if name in engine.names())
        if how == "ill":
            self.world.ill.add(name)
        elif how == "well":
            self.world.ill.discard(name)
        elif how == "removed":
            engine._remove(name)
        elif engine.kept(name).state is ContainerState.RUNNING:
            engine.end(name, again=how == "ends")

    def teardown(self) -> None:
        """When nothing fails any more, everything becomes as it is wanted, and stays so."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.registry.down = False
        world.documents.refusing = ""
        world.ill.clear()
        world.bad.clear()
        world.until(lambda: world.loaded)
        for node in NODES:
            self.is_well_again(node)
            self.comes_back(node)
            self.drain(node, False)
        if self.gpus * 3 < sum(self.replicas.values()):
            self.replicas = {"a": 2, "b": 1}
        for name in ("a", "b"):
            self.version[name] = "v3"
            self.want(name)
        world.pass_time(120 + NODE_GRACE + 10 * GRACE, step=0.25, check=self.nothing_is_wrong)
        self.assert_as_wanted()
        before = world.names()
        world.restart()
        world.pass_time(4 * INTERVAL, check=self.nothing_is_wrong)
        self.assert_as_wanted()
        assert world.names() == before
        world.crash()

    def assert_as_wanted(self) -> None:
        world = self.world
        for name, digest in zip("ab", world.wanted, strict=True):
            assert len(world.names(digest)) == self.replicas[name], world.describe()
        assert len(world.up()) == sum(self.replicas.values()), world.describe()
        assert set(world.commands()) <= {("v3",)}, world.describe()
        assert len(world.state.copies) == len(world.names())
        assert all(engine.spec(name).labels[FLEET] == "test" for engine in self.engines for name in engine.names())


AnyFleet.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyFleet = AnyFleet.TestCase
