"""A fleet in memory: engines, a registry, what calls are served by, and gateways that come and die over one store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from ngpu.containers import ContainerState
from ngpu.fleet.copies import Pin
from ngpu.fleet.images import Images
from ngpu.fleet.reconciler import Reconciler
from ngpu.fleet.state import FleetState
from ngpu.fleet.station import Post, Station
from ngpu.fleet.wanted import Deployment, Recipe, Source, container_name, digest_of
from ngpu.member import Health
from ngpu.model import Gpus, Node, Replica
from ngpu.placing import Demand, Offer
from ngpu.testing.documents import MemoryDocuments
from ngpu.testing.engine import FakeEngine
from ngpu.testing.images import FakeRegistry

STARTED = 1_700_000_000.0
FLEET = "test"
REFERENCE = "registry.test/app:1"
GRACE, NODE_GRACE, INTERVAL = 6.0, 30.0, 2.0
BOOT = 1.0


class Spread:
    """Fewest copies first."""

    def cost(self, offer: Offer, demand: Demand) -> tuple[float, ...]:
        return (offer.copies, offer.others, not offer.has_image)


class Tether:
    """Between a gateway and what outlives it: once cut, what was asked is done, and nobody is told."""

    def __init__(
        self,
        inner: Any,
        clock: Clock,
        before: float = 0.0,
        after: float = 0.0,
        watch: Callable[..., None] = lambda *call: None,
    ) -> None:
        self.cut = False
        self._watch = watch
        self._inner = inner
        self._clock = clock
        self._before = before
        self._after = after

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._inner, name)

        async def whole(*args: Any) -> Any:
            if self._before:
                await deferLater(self._clock, self._before)
            result = await asked(*args)
            if self._after:
                await deferLater(self._clock, self._after)
            return result

        async def tethered(*args: Any) -> Any:
            if self.cut:
                return await Deferred()
            self._watch(name, *args)
            answer: Deferred[Any] = Deferred()

            def over(result: Any) -> None:
                if not self.cut and not answer.called:
                    answer.callback(result)

            Deferred.fromCoroutine(whole(*args)).addBoth(over)
            return await answer

        return tethered


class FakeArchive:
    """An archive in memory."""

    def __init__(self, data: bytes) -> None:
        self.size: int | None = len(data)
        self._data = data

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self._data

    async def close(self) -> None:
        """Nothing is held."""


class FakeServing:
    """Serves what it was given, while its container runs and its revision is no bad one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.there: dict[str, Replica] = {}
        self.draining: dict[str, Deferred[None]] = {}
        self.in_doubt: dict[str, float] = {}
        self.trusted: list[str] = []
        self.checked: list[Replica] = []
        self.added: dict[str, float] = {}

    def add(self, workspace_id: str, replica: Replica) -> None:
        self.there[replica.id] = replica
        self.added.setdefault(replica.id, self.world.clock.seconds())
        drained = self.draining.pop(replica.id, None)
        if drained is not None:
            drained.cancel()

    def health(self, workspace_id: str, replica_id: str) -> tuple[Health, str] | None:
        replica = self.there.get(replica_id)
        if replica is None:
            return None
        if self.world.clock.seconds() < self.added[replica_id] + self.world.check_seconds:
            return Health.UNKNOWN, "not checked yet"
        return (Health.UP, "") if self.world.works(replica) else (Health.DOWN, "its health check was refused")

    def expect(self, workspace_id: str, replica_id: str) -> None:
        """Nobody waits here."""

    def check(self, workspace_id: str, replica_id: str) -> None:
        self.checked.append(self.there[replica_id])

    def watch(self, doubted: Callable[[str], None]) -> None:
        self._tell_doubt = doubted

    def doubt(self, replica_id: str) -> None:
        """Its address was not there when somebody dialled it."""
        self.in_doubt[replica_id] = self.world.clock.seconds()
        self._tell_doubt(replica_id)

    def doubted(self, replica_id: str) -> float | None:
        return self.in_doubt.get(replica_id)

    def trust(self, workspace_id: str, replica_id: str) -> None:
        del self.in_doubt[replica_id]
        self.trusted.append(replica_id)

    def in_flight(self, workspace_id: str, replica_id: str) -> int:
        return 0

    def drain(self, workspace_id: str, replica_id: str) -> Deferred[None]:
        drained: Deferred[None] = Deferred()
        if replica_id not in self.there:
            drained.callback(None)
            return drained
        self.draining[replica_id] = drained
        self.world.drains(replica_id)
        self.world.clock.callLater(self.world.call_seconds, lambda: drained.called or drained.callback(None))
        return drained

    def remove(self, workspace_id: str, replica_id: str) -> None:
        self.in_doubt.pop(replica_id, None)
        self.there.pop(replica_id, None)
        self.draining.pop(replica_id, None)


def plugin_policy(placement: Any) -> Spread:
    """Every workspace's."""
    return Spread()


class World:
    """Nodes n0, n1, … with an engine and GPUs each; a gateway that is started and crashed at will."""

    def __init__(self, nodes: int = 3, gpus: int = 2, latency: float = 0.0, seed: int = 1, clock: Any = None) -> None:
        self.clock = clock or Clock()
        if clock is None:
            self.clock.advance(STARTED)
        self.registry = FakeRegistry(REFERENCE)
        self.latency = latency
        self.call_seconds = 0.0
        self.check_seconds = 0.0
        self.rng = Random(seed)
        self.shelf: dict[str, dict[str, str]] = {}
        self.documents = MemoryDocuments(self.shelf)
        self.engines: dict[str, FakeEngine] = {}
        self.posts: dict[str, tuple[Node, tuple[str, ...]]] = {}
        for index in range(nodes):
            key = f"n{index}"
            self.engines[key] = FakeEngine(self.clock, self.registry)
            ids = tuple(str(number) for number in range(gpus))
            self.posts[key] = (Node(key, f"10.0.0.{index}", Gpus("X", gpus)), ids)
        self.wanted: dict[str, Deployment] = {}
        self.held: set[str] = set()
        self.archives: dict[str, bytes] = {}
        self.bad: set[str] = set()
        self.ill: set[str] = set()
        self.on_drain: Callable[[str], None] = lambda copy: None
        self.on_document: Callable[..., None] = lambda *call: None
        self.failed: list[str] = []
        self.gateway: Reconciler | None = None
        self.serving = FakeServing(self)
        self._tethers: list[Tether] = []

    # ---- the gateway

    def start(self) -> Reconciler:
        """Another gateway over the same store."""
        assert self.gateway is None
        self.loaded = False
        documents = Tether(
            self.documents, self.clock, self.latency, self.latency, lambda *call: self.on_document(*call)
        )
        engines = {key: Tether(engine, self.clock, self.latency) for key, engine in self.engines.items()}
        self._tethers = [documents, *engines.values()]
        self.serving = FakeServing(self)
        self.state = FleetState(documents)

        async def pinned(source: Source, image: str) -> None:
            pin = self.state.pins.get(source.key)
            if pin is None or pin.stale:
                await self.state.pin(source.key, Pin(image))

        async def open_archive(source: Source) -> FakeArchive:
            return FakeArchive(self.archives[source.location])

        self.images = Images(engines, open_archive, lambda host: None, pinned, self.clock, self.nudge)
        stations = {
            key: Station(Post(key, node, engines[key], "fake", ids), FLEET, INTERVAL, self.clock, self.rng, self.nudge)
            for key, (node, ids) in self.posts.items()
        }
        self.gateway = gateway = Reconciler(
            fleet=FLEET,
            state=self.state,
            stations=stations,
            images=self.images,
            serving=self.serving,
            wanted=lambda: self.wanted,
            held=lambda: frozenset(self.held),
            clock=self.clock,
            rng=self.rng,
            interval=INTERVAL,
            node_grace=NODE_GRACE,
            failed=self.failed.append,
        )
        self._load(gateway)
        return gateway

    def _load(self, gateway: Reconciler) -> None:
        """Start it once the store lets itself be read, as whoever watches a service does."""

        def over(result: object) -> None:
            if self.gateway is not gateway:
                return
            if isinstance(result, Failure):
                self.clock.callLater(0.5, self._load, gateway)
            else:
                self.loaded = True
                gateway.start()

        if self.gateway is gateway:
            Deferred.fromCoroutine(self.state.load()).addBoth(over)

    def nudge(self) -> None:
        if self.gateway is not None:
            self.gateway.nudge()

    def crash(self) -> None:
        """The gateway is gone at once; what it has asked for already is done."""
        for tether in self._tethers:
            tether.cut = True
        gateway, self.gateway = self.gateway, None
        assert gateway is not None
        Deferred.fromCoroutine(gateway.stop()).addErrback(lambda failure: None)

    def restart(self) -> None:
        self.crash()
        self.start()

    # ---- what is wanted

    def deploy(self, name: str = "w", replicas: int = 2, reference: str = REFERENCE, **fields: Any) -> str:
        """Want a workspace, or want another version of it; its digest."""
        source = fields.pop("source", Source("reference", reference))
        recipe = Recipe(source, **{"gpus": 1, "ports": {8080: 80}, "stop_grace": 1.0, **fields})
        workspace = f"id-{name}"
        demand = Demand(digest_of(workspace))
        deployment = Deployment(
            workspace, f"{name}-{digest_of(workspace)[:8]}", replicas, recipe, demand, Spread(), GRACE
        )
        self.wanted[deployment.digest] = deployment
        self.nudge()
        return deployment.digest

    # ---- what happens

    def pass_time(self, seconds: float, step: float = 0.1, check: Callable[[], None] = lambda: None) -> None:
        for _ in range(max(1, round(seconds / step))):
            self.clock.advance(step)
            check()

    def works(self, replica: Replica) -> bool:
        """Whether a health check of a replica passes."""
        key = replica.node.address
        engine = self.engines[key]
        name = container_name(FLEET, replica.id)
        if name not in engine.names() or name in self.ill:
            return False
        container, spec = engine.kept(name), engine.spec(name)
        if container.state is not ContainerState.RUNNING or (spec.command and spec.command[0] in self.bad):
            return False
        if dict(container.ports) != {80: replica.ports[8080]}:
            return False
        return container.started_at is not None and self.clock.seconds() - container.started_at >= BOOT

    def drains(self, copy: str) -> None:
        self.on_drain(copy)

    # ---- what is there

    def containers(self, workspace: str | None = None) -> dict[str, list[str]]:
        """Names of all containers that there are, by node, whether or not it can be reached."""
        return {
            key: [
                name
                for name in engine.names()
                if workspace is None or engine.spec(name).labels["ngpu.workspace"] == workspace
            ]
            for key, engine in self.engines.items()
        }

    def names(self, workspace: str | None = None) -> list[str]:
        return [name for names in self.containers(workspace).values() for name in names]

    def up(self) -> list[str]:
        return [copy for copy, replica in self.serving.there.items() if self.works(replica)]

    def commands(self) -> list[tuple[str, ...]]:
        return sorted(engine.spec(name).command for engine in self.engines.values() for name in engine.names())

    def until(self, holds: Callable[[], object], within: float = 60.0, what: str = "") -> float:
        """Let time pass until something holds; how long that took."""
        began = self.clock.seconds()
        while not holds():
            assert self.clock.seconds() - began < within, f"not within {within:g} s: {what} {self.describe()}"
            self.clock.advance(0.1)
        return self.clock.seconds() - began

    def describe(self) -> Mapping[str, Any]:
        return {
            "containers": self.containers(),
            "copies": {key: (copy.node, copy.revision[:4], copy.leaving) for key, copy in self.state.copies.items()},
            "up": self.up(),
            "refused": self.gateway.refused if self.gateway else None,
            "standings": self.state.standings,
            "away": {key: engine.away for key, engine in self.engines.items()},
        }
