"""What the contract suite of engines runs in: an engine, a registry with images, and archives of the same kind."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from docker_bed import Bed
from docker_engine import Engine
from docker_images import SERVES, SHELL, Image, archive, busybox_layer, tar_of
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ngpu.containers import COPY, FLEET, Container, ContainerHealth, ContainerSpec, ContainerState
from ngpu.errors import EngineRefused
from ngpu.interfaces import PluginContext
from ngpu.plugins.docker import docker
from ngpu.testing.engine import FakeEngine, Run
from ngpu.testing.images import FakeRegistry

PRINTS = (*SHELL, "for n in 1 2 3 4 5; do echo line $n; done; exec /bin/busybox sleep 1000")
FAILS = (*SHELL, "echo going down; exit 3")
NO_SUCH = ("/bin/nobody-has-this",)
TALKS = (*SHELL, "while true; do echo more; /bin/busybox sleep 0.2; done")

PIECE = 64 * 1024
_numbers = itertools.count(1)


async def pieces(data: bytes, size: int = PIECE) -> AsyncIterator[bytes]:
    """An archive as its reader hands it over."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def first_page(url: str) -> str:
    """What a container serves there, once it has come so far as to listen: it runs before that."""
    until = time.monotonic() + 20
    while True:
        try:
            return requests.get(url, timeout=5).text
        except requests.ConnectionError:
            assert time.monotonic() < until, f"nobody listens at {url}"
            time.sleep(0.05)


def ticking(clock: Any, seconds: float) -> Deferred[None]:
    """Fires after a while."""
    return deferLater(clock, seconds)


class Lab:
    """An engine under test and its surroundings.

    :ivar reference: an image in the registry, that serves HTTP on 8080 when it is told to.
    :ivar missing: a reference that the registry does not have.
    :ivar archive: of an image that is like the one of the registry.
    :ivar loads: whether the engine takes archives at all.
    """

    reference: str
    missing: str
    archive: bytes
    loads = True

    def __init__(self, engine: Any, clock: Any) -> None:
        self.engine = engine
        self.clock = clock
        self.fleet = f"fleet{next(_numbers)}"

    def name(self, copy: str = "a") -> str:
        """Of a container of the test's own."""
        return f"ngpu-{self.fleet}-{copy}"

    async def image(self) -> str:
        """An image that is there."""
        pinned = await self.engine.resolve(self.reference, None)
        return str(await self.engine.pull(pinned, None, lambda share: None))

    def spec(self, image: str, command: tuple[str, ...] = SERVES, copy: str = "a", **fields: Any) -> ContainerSpec:
        """Of a container of the test's own."""
        labels = {FLEET: self.fleet, COPY: copy}
        return ContainerSpec(self.name(copy), image, command, **{"labels": labels, "stop_grace": 1.0, **fields})

    async def only(self) -> Container:
        """The one container of the test."""
        (container,) = await self.engine.containers(self.fleet)
        return container  # type: ignore[no-any-return]

    async def until(self, holds: Callable[[Container], bool], within: float = 20.0) -> Container:
        """The one container of the test, once something holds of it."""
        end = self.clock.seconds() + within
        while not holds(container := await self.only()):
            assert self.clock.seconds() < end, f"not within {within:g} s: {container}"
            await ticking(self.clock, 0.05)
        return container

    async def running(self) -> Container:
        """The one container of the test, which was started and has to run by and by."""
        return await self.until(lambda container: container.state is ContainerState.RUNNING)

    async def refused(self, name: str) -> str:
        """Start a container that cannot be started: what the engine says."""
        with pytest.raises(EngineRefused) as caught:
            await self.engine.start(name)
        return str(caught.value)

    async def end(self) -> None:
        """Remove what the test has made, and close the engine."""
        for container in await self.engine.containers(self.fleet):
            await self.engine.remove(container.name, 0.0)
        await self.engine.close()


class FakeLab(Lab):
    """A fake engine."""

    reference = "registry.test/serving:1"
    missing = "registry.test/nobody:1"
    archive = archive(Image([tar_of({"bin/busybox": b"#!"})]))

    def __init__(self, clock: Any) -> None:
        runs = {
            PRINTS: Run(prints=b"".join(b"line %d\n" % n for n in range(1, 6))),
            FAILS: Run(prints=b"going down\n", exits=3),
            NO_SUCH: Run(refused="the command cannot be started: /bin/nobody-has-this is not in the image"),
            TALKS: Run(prints=b"more\n"),
        }

        def behave(spec: ContainerSpec) -> Run:
            checked = ContainerHealth.HEALTHY if spec.env.get("CHECKED") else ContainerHealth.NONE
            return runs.get(spec.command, Run(health=checked))

        super().__init__(FakeEngine(clock, FakeRegistry(self.reference), behave), clock)


def docker_engine(engine: Engine, clock: Any, way: str = "unix", **options: Any) -> Any:
    """What the plugin makes for a daemon.

    :param way: ``unix``, or ``tcp`` with mutual TLS.
    """
    if way == "tcp":
        assert engine.certificates is not None
        cert, key = engine.certificates.client
        options = {"url": engine.tcp, "ca": str(engine.certificates.ca), "cert": str(cert), "key": str(key), **options}
    else:
        options = {"url": engine.url, **options}
    return docker.from_options(options, PluginContext(clock, None, str(Path.cwd())))


class DockerLab(Lab):
    """A real engine of a bed; each lab has images of its own."""

    def __init__(self, bed: Bed, way: str, clock: Any) -> None:
        super().__init__(docker_engine(bed.engines[0], clock, way), clock)
        layer = busybox_layer()
        bed.registry.push(f"{self.fleet}:1", [layer, tar_of({"lab": self.fleet.encode()})])
        self.reference = f"{bed.registry.host}/{self.fleet}:1"
        self.missing = f"{bed.registry.host}/nobody:1"
        self.archive = archive(Image([layer, tar_of({"lab": b"archive " + self.fleet.encode()})]))
