"""Several gateways on one fleet in memory: one store, one set of engines, and who asked them for what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from gateway_rig import begun, done
from world import FLEET, REFERENCE, FakeArchive, FakeServing, Spread, Tether, World

from ngpu.fleet.fleet import Fleet
from ngpu.fleet.ground import Ground
from ngpu.fleet.state import FleetState
from ngpu.fleet.station import Post
from ngpu.fleet.wanted import Source
from ngpu.metrics import Metrics
from ngpu.settings import Workspace
from ngpu.settings.block import Surroundings
from ngpu.sharing import ILeadership
from ngpu.storing import IStore
from ngpu.testing.documents import MemoryDocuments
from ngpu.testing.sharing import Hall

ID = "367614711220405248"
CHANGES = frozenset({"pull", "load", "create", "start", "restart", "remove"})


async def closed() -> None:
    """The engine is the others', too."""


class OneOf:
    """One of the gateways; ``changed`` is what it asked engines for.

    :param store: a real one; else it shares what is in memory.
    """

    def __init__(self, several: Several, store: IStore | None = None, interval: float = 2.0) -> None:
        self.several, self.world, self.hall = several, several.world, several.hall
        self.shared = self.hall.join()
        self.leadership: ILeadership = self.shared.leadership if store is None else store.leadership
        self.serving = FakeServing(self.world)
        self.changed: list[str] = []
        self.wrong: list[str] = []
        self.documents = MemoryDocuments(self.world.shelf, self.say)
        self.led = MemoryDocuments(self.world.shelf, self.say, self.leadership.leads)
        self.engines = {
            key: Tether(engine, self.world.clock, watch=self.watch) for key, engine in self.world.engines.items()
        }
        for engine in self.engines.values():
            engine.close = closed
        posts = tuple(
            Post(key, node, self.engines[key], "docker", ids, 8 << 30) for key, (node, ids) in self.world.posts.items()
        )

        async def open_archive(source: Source) -> Any:
            return FakeArchive(self.world.archives[source.location])

        self.fleet = Fleet(
            Ground(FLEET, interval, 30.0, Path("/etc/ngpu"), posts, ()),
            state=FleetState(self.documents, self.led)
            if store is None
            else FleetState(store.documents, store.led_documents),
            serving=self.serving,
            open_archive=open_archive,
            login=lambda host: None,
            make_policy=lambda placement: Spread(),
            fixed={ID},
            clock=self.world.clock,
            rng=Random(len(self.hall.gateways)),
            metrics=Metrics({}),
            leadership=self.leadership,
            news=self.shared if store is None else store.news,
        )

    def say(self, collection: str) -> None:
        self.hall.speak(f"documents:{collection}")

    def watch(self, call: str, *args: Any) -> None:
        if call in CHANGES:
            self.changed.append(call)
            if not self.leadership.leads():
                self.wrong.append(f"{call} by one that does not lead")

    def start(self) -> None:
        done(self.fleet.load())
        self.fleet.start()

    def die(self) -> None:
        """It is gone at once; what it has asked engines for is done, and nobody is told."""
        for engine in self.engines.values():
            engine.cut = True
        self.shared.away = True
        self.documents.refusing = self.led.refusing = "it is dead"
        begun(self.fleet.stop())
        if self.hall.leader is self.shared:
            self.hall.leader = None

    @property
    def up(self) -> list[str]:
        return sorted(copy for copy, replica in self.serving.there.items() if self.world.works(replica))

    @property
    def report(self) -> Any:
        return self.fleet.deployment(ID)


class Several:
    """So many gateways; the first one leads."""

    def __init__(self, count: int, nodes: int = 3, clock: Any = None) -> None:
        self.world = World(nodes, clock=clock)
        self.hall = Hall()
        self.gateways = [OneOf(self) for _ in range(count)]
        self.workspace: Workspace | None = None

    def put(self, **keys: Any) -> None:
        """Have all of them know the workspace as it is now."""
        block = {
            "id": ID,
            "name": "app",
            "image": {"reference": REFERENCE},
            "ports": {8080: 80},
            "replicas": 2,
            "health": {"grace": "6s"},
            "container": {"stop_grace": "1s"},
            **keys,
        }
        workspace = Workspace.model_validate(block, context=Surroundings(Path("/etc/ngpu")))
        for gateway in self.gateways:
            gateway.fleet.follow(self.workspace, workspace)
        self.workspace = workspace

    def start(self, **keys: Any) -> None:
        self.put(**keys)
        for gateway in self.gateways:
            gateway.start()

    def created(self) -> int:
        """How many containers were ever asked for."""
        return sum(gateway.changed.count("create") for gateway in self.gateways)

    def until(self, holds: Any, what: str, within: float = 60.0) -> float:
        clock, began = self.world.clock, self.world.clock.seconds()
        while not holds():
            reports = [gateway.report for gateway in self.gateways]
            assert clock.seconds() - began < within, f"not within {within:g} s: {what} {reports}"
            clock.advance(0.1)
        return clock.seconds() - began

    def all_serve(self, count: int = 2) -> bool:
        lived = [gateway for gateway in self.gateways if not gateway.shared.away]
        return all(len(gateway.up) == count and gateway.up == lived[0].up for gateway in lived)


@contextmanager
def several(count: int = 3, nodes: int = 3) -> Iterator[Several]:
    """They end with the block; none of them may have changed what was another one's to change."""
    made = Several(count, nodes)
    yield made
    for gateway in made.gateways:
        if not gateway.shared.away:
            begun(gateway.fleet.stop())
        assert gateway.wrong == []
