"""A Docker Swarm of a test's own: three machines in network namespaces, each with GPUs that its engine is told of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docker_bed import Bed, docker_bed
from docker_engine import Engine, wait_until
from docker_images import SHELL, busybox_layer, tar_of
from engine_labs import Lab, ticking

from ngpu.containers import Container, ContainerState
from ngpu.interfaces import PluginContext
from ngpu.plugins.swarm import swarm

GPUS = ("GPU-a", "GPU-b")
"""Of each machine."""

SLEEPS = (*SHELL, "/bin/busybox tr '\\0' '\\n' < /proc/1/environ; exec /bin/busybox sleep 1000")
"""Prints its environment."""

Containers = dict[str, Container]

ONE = ["node.labels.lab == one"]
"""The constraint that leaves the first machine only."""


@contextmanager
def docker_swarm() -> Iterator[Bed]:
    """A Swarm whose first engine is its manager. Its machines are labelled with ``ngpu.address``: 0xM1, 0xM2, 0xM3."""
    declared = [part for gpu in GPUS for part in ("--node-generic-resource", f"NVIDIA-GPU={gpu}")]
    with docker_bed(3, "netns", arguments=declared) as bed:
        manager, *workers = bed.engines
        manager.docker("swarm", "init", "--advertise-addr", manager.host)
        token = manager.docker("swarm", "join-token", "--quiet", "worker").strip()
        for worker in workers:
            worker.docker("swarm", "join", "--token", token, "--advertise-addr", worker.host, f"{manager.host}:2377")
        for number, engine in enumerate(bed.engines, 1):
            manager.docker("node", "update", "--label-add", f"ngpu.address=0xM{number}", machine_id(engine))
        manager.docker("node", "update", "--label-add", "lab=one", machine_id(manager))
        yield bed


def machine_id(engine: Engine) -> str:
    """What the Swarm calls an engine's machine."""
    return engine.docker("info", "--format", "{{.Swarm.NodeID}}").strip()


def wait_for_machines(bed: Bed, state: str = "ready") -> None:
    """Return once all machines but the manager are in a state, as the Swarm sees it."""

    def states() -> list[str]:
        ids = bed.engines[0].docker("node", "ls", "--quiet").split()
        said = json.loads(bed.engines[0].docker("node", "inspect", *ids))
        return [each["Status"]["State"] for each in said if each["Spec"]["Role"] == "worker"]

    wait_until(lambda: set(states()) == {state}, 60.0, lambda: str(states()))


def swarm_engine(engine: Engine, clock: Any, way: str = "unix", **options: Any) -> Any:
    """What the plugin makes for a daemon.

    :param way: ``unix``, or ``tcp`` with mutual TLS.
    """
    if way == "tcp":
        assert engine.certificates is not None
        cert, key = engine.certificates.client
        options = {"url": engine.tcp, "ca": str(engine.certificates.ca), "cert": str(cert), "key": str(key), **options}
    else:
        options = {"url": engine.url, **options}
    return swarm.from_options({"restart_delay": "500ms", **options}, PluginContext(clock, None, str(Path.cwd())))


def running(found: Containers) -> list[Container]:
    """Those that run."""
    return [each for each in found.values() if each.state is ContainerState.RUNNING]


class SwarmLab(Lab):
    """A real Swarm, of which only the first machine is used unless others are allowed.

    :param constraints: which machines it may use.
    """

    loads = False
    archive = b"an archive"

    def __init__(self, bed: Bed, way: str, clock: Any, constraints: list[str] | None = None, **options: Any) -> None:
        used = {"constraints": ONE if constraints is None else constraints, **options}
        super().__init__(swarm_engine(bed.engines[0], clock, way, **used), clock)
        bed.registry.push(f"{self.fleet}:1", [busybox_layer(), tar_of({"lab": self.fleet.encode()})])
        self.bed = bed
        self.reference = f"{bed.registry.host}/{self.fleet}:1"
        self.missing = f"{bed.registry.host}/nobody:1"

    async def refused(self, name: str) -> str:
        """Start a container that cannot be started: what is told of it then."""
        await self.engine.start(name)
        while True:
            (container,) = [each for each in await self.engine.containers(self.fleet) if each.name == name]
            if container.reason:
                return str(container.reason)
            await ticking(self.clock, 0.05)

    async def started(self, copies: Sequence[str], command: tuple[str, ...] = SLEEPS, **fields: Any) -> None:
        """Create and start a container for each name of a copy."""
        image = await self.image()
        for copy in copies:
            await self.engine.create(self.spec(image, command, copy, **fields))
            await self.engine.start(self.name(copy))

    async def all_until(self, holds: Callable[[Containers], Any], within: float = 30.0) -> Containers:
        """The containers of the test, by the last letter of their names, once something holds of them."""
        end = self.clock.seconds() + within
        while True:
            found = {each.name[-1]: each for each in await self.engine.containers(self.fleet)}
            if holds(found):
                return found
            assert self.clock.seconds() < end, f"not within {within:g} s: {found}"
            await ticking(self.clock, 0.1)

    async def printed(self, copy: str = "a") -> str:
        """All that a container has printed so far."""
        return b"".join([piece async for piece in self.engine.logs(self.name(copy), 1000, False)]).decode()

    async def end(self) -> None:
        """Remove what the test has made, wait until the machines have done so, and close the engine."""
        await super().end()
        manager = self.bed.engines[0]
        label = f"ngpu.fleet={self.fleet}"

        def left() -> list[dict[str, Any]]:
            asked = [engine for engine in self.bed.engines if engine.answers()]
            return [each for engine in asked for each in engine.containers(label, ended=False)]

        wait_until(lambda: not left(), 30.0, lambda: f"{left()}{manager.tail()}")
