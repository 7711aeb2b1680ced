"""A container engine in memory, with a registry beside it: slow, silent, refusing or lying by a test's word."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from zope.interface import implementer

from ngpu.containers import (
    FLEET,
    Container,
    ContainerHealth,
    ContainerSpec,
    ContainerState,
    EngineInfo,
    IContainerEngine,
    Progress,
    RegistryLogin,
)
from ngpu.errors import EngineRefused, EngineUnreachable
from ngpu.testing.images import FakeRegistry, image_of

T = TypeVar("T")
STEPS = 10
FIRST_PORT = 32768


class Run(NamedTuple):
    """What a container does once it is started: is ``refused``, or prints, and ends with a code or runs on."""

    refused: str = ""
    prints: bytes = b""
    exits: int | None = None
    health: ContainerHealth = ContainerHealth.NONE


_NUMBERS = itertools.count(1)
"""No two containers of any engines have one id."""


class _Kept:
    """A container and what it was made of."""

    def __init__(self, spec: ContainerSpec, number: int) -> None:
        self.spec = spec
        self.container = Container(f"{number:064x}", spec.name, dict(spec.labels), ContainerState.CREATED)
        self.printed = bytearray()
        self.readers: list[Deferred[None]] = []

    def change(self, **fields: Any) -> None:
        self.container = replace(self.container, **fields)

    def wake(self) -> None:
        readers, self.readers = self.readers, []
        for reader in readers:
            reader.callback(None)


@implementer(IContainerEngine)
class FakeEngine:
    """Containers in a dict. What a test sets holds from the next call on.

    :param clock: an IReactorTime; one that stands still by default, which matters only to what is slow.
    :param registry: whose images it pulls; several engines may share one.
    :param behave: what a container does once it is started; by default each runs on.
    :param timeout: seconds after which a call counts as unanswered.
    :ivar away: why it cannot be reached; "" while it can.
    :ivar refuse: call (``"start"``), or call and container (``"start ngpu-x"``) → the sentence it is refused with.
    :ivar slow: call → the seconds that its answer takes.
    :ivar lost: calls that are carried out, and whose answer then gets lost.
    :ivar pull_seconds: how long a pull takes, in ten steps.
    :ivar images: what it has, by what `ContainerSpec.image` calls it.
    :ivar calls: what it was asked so far: call, and the container or image that it was about.
    """

    def __init__(
        self,
        clock: Any = None,
        registry: FakeRegistry | None = None,
        behave: Callable[[ContainerSpec], Run] = lambda spec: Run(),
        timeout: float = 10.0,
        memory: int = 64 << 30,
    ) -> None:
        self.away = ""
        self.refuse: dict[str, str] = {}
        self.slow: dict[str, float] = {}
        self.lost: set[str] = set()
        self.pull_seconds = 0.0
        self.images: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.registry = registry or FakeRegistry()
        self._clock = clock or Clock()
        self._behave = behave
        self._timeout = timeout
        self._memory = memory
        self._kept: dict[str, _Kept] = {}

    # ---- what a test does to it

    def kept(self, name: str) -> Container:
        """A container as it is, whether or not the engine can be reached."""
        return self._kept[name].container

    def spec(self, name: str) -> ContainerSpec:
        """What a container was made of."""
        return self._kept[name].spec

    def names(self) -> list[str]:
        """Of all containers, in the order in which they were made."""
        return list(self._kept)

    def end(self, name: str, reason: str = "it ended with exit code 1", again: bool = True) -> None:
        """A container ends; it is RESTARTING until ``run`` unless it is not started ``again``."""
        kept = self._kept[name]
        state = ContainerState.RESTARTING if again else ContainerState.EXITED
        kept.change(state=state, reason=reason, restarts=kept.container.restarts + 1, ports={})
        kept.wake()

    def break_beyond_repair(self, name: str) -> None:
        """It ends, and can only be removed."""
        self.end(name, "its files are lost", again=False)
        self._kept[name].change(state=ContainerState.DEAD)

    def run(self, name: str, health: ContainerHealth = ContainerHealth.NONE) -> None:
        """A container runs (again), with that health."""
        kept = self._kept[name]
        kept.change(state=ContainerState.RUNNING, health=health, reason="", ports=self._published(kept.spec))
        kept.change(started_at=self._clock.seconds())

    def say(self, name: str, text: bytes) -> None:
        """A container prints something."""
        self._kept[name].printed += text
        self._kept[name].wake()

    def lose_power(self, why: str = "no connection") -> None:
        """The machine is gone, and its containers with it; they are there and stopped once ``away`` is ""."""
        self.away = why
        for name, kept in self._kept.items():
            if kept.container.state is not ContainerState.CREATED:
                self.end(name, "its machine stopped", again=False)

    # ---- IContainerEngine

    async def info(self) -> EngineInfo:
        """See `IContainerEngine.info`."""
        return await self._answer("info", "", lambda: EngineInfo("fake", self._memory))

    async def containers(self, fleet: str) -> Sequence[Container]:
        """See `IContainerEngine.containers`."""
        return await self._answer("containers", fleet, lambda: [kept.container for kept in self._of(fleet)])

    async def resolve(self, reference: str, login: RegistryLogin | None) -> str:
        """See `IContainerEngine.resolve`."""
        return await self._answer("resolve", reference, lambda: self.registry.pinned(reference, login))

    async def image(self, image: str) -> str | None:
        """See `IContainerEngine.image`."""
        return await self._answer("image", image, lambda: image if image in self.images else None)

    async def pull(self, pinned: str, login: RegistryLogin | None, progress: Progress) -> str:
        """See `IContainerEngine.pull`."""
        await self._answer("pull", pinned, lambda: None)
        if pinned not in self.images:
            self.registry.check(pinned, login)
            for step in range(STEPS if self.pull_seconds else 0):
                progress(step / STEPS)
                await deferLater(self._clock, self.pull_seconds / STEPS)
                self._check("pull", pinned)
            self.images.add(pinned)
        progress(1.0)
        return pinned

    async def load(self, archive: AsyncIterator[bytes], size: int | None, progress: Progress) -> str:
        """See `IContainerEngine.load`."""
        await self._answer("load", "", lambda: None)
        data = bytearray()
        async for piece in archive:
            data += piece
            self._check("load", "")
            progress(min(len(data) / size, 0.99) if size else 0.0)
        image = image_of(bytes(data))
        self.images.add(image)
        progress(1.0)
        return image

    async def create(self, spec: ContainerSpec) -> None:
        """See `IContainerEngine.create`."""
        await self._answer("create", spec.name, lambda: self._create(spec))

    async def start(self, name: str) -> None:
        """See `IContainerEngine.start`."""
        await self._answer("start", name, lambda: self._start(name))

    async def restart(self, name: str, grace: float) -> None:
        """See `IContainerEngine.restart`."""
        await self._answer("restart", name, lambda: self._start(name, again=True))

    async def remove(self, name: str, grace: float) -> None:
        """See `IContainerEngine.remove`."""
        await self._answer("remove", name, lambda: self._remove(name))

    async def logs(self, name: str, tail: int, follow: bool) -> AsyncIterator[bytes]:
        """See `IContainerEngine.logs`."""
        kept = await self._answer("logs", name, lambda: self._ours(name))
        lines = bytes(kept.printed).splitlines(keepends=True)
        read = len(kept.printed)
        yield b"".join(lines[-tail:] if tail else [])
        while follow and name in self._kept and kept.container.state is ContainerState.RUNNING:
            if read == len(kept.printed):
                more: Deferred[None] = Deferred()
                kept.readers.append(more)
                await more
            piece, read = bytes(kept.printed[read:]), len(kept.printed)
            if piece:
                yield piece

    async def close(self) -> None:
        """See `IContainerEngine.close`."""
        self.away = "the engine is closed"
        for kept in self._kept.values():
            kept.wake()

    # ---- how it answers

    async def _answer(self, call: str, about: str, act: Callable[[], T]) -> T:
        self.calls.append((call, about))
        seconds = self.slow.get(call, 0.0)
        if seconds:
            await deferLater(self._clock, min(seconds, self._timeout))
        if seconds >= self._timeout:
            raise EngineUnreachable(f"the engine gave no answer within {self._timeout:g} s")
        self._check(call, about)
        answer = act()
        if call in self.lost:
            raise EngineUnreachable("the connection to the engine broke")
        return answer

    def _check(self, call: str, about: str) -> None:
        if self.away:
            raise EngineUnreachable(self.away)
        for key in (call, f"{call} {about}"):
            if key in self.refuse:
                raise EngineRefused(self.refuse[key])

    def _of(self, fleet: str) -> list[_Kept]:
        return [kept for kept in self._kept.values() if kept.spec.labels.get(FLEET) == fleet]

    def _ours(self, name: str) -> _Kept:
        if name not in self._kept:
            raise EngineRefused(f"there is no container {name}")
        return self._kept[name]

    def _create(self, spec: ContainerSpec) -> None:
        if spec.image not in self.images:
            raise EngineRefused(f"the image {spec.image} is not on this machine: pull or load it first")
        if spec.name not in self._kept:
            self._kept[spec.name] = _Kept(spec, next(_NUMBERS))
        elif self._kept[spec.name].spec.labels.get(FLEET) != spec.labels.get(FLEET):
            raise EngineRefused(f"the name {spec.name} is taken by a container that is not of this fleet")

    def _start(self, name: str, again: bool = False) -> None:
        kept = self._ours(name)
        if kept.container.state is ContainerState.RUNNING and not again:
            return
        what = self._behave(kept.spec)
        if what.refused:
            kept.change(reason=what.refused)
            raise EngineRefused(what.refused)
        self.run(name, what.health)
        self.say(name, what.prints)
        if what.exits is not None:
            self.end(name, f"it ended with exit code {what.exits}")

    def _published(self, spec: ContainerSpec) -> dict[int, int]:
        others = {
            port for kept in self._kept.values() if kept.spec is not spec for port in kept.container.ports.values()
        }
        published: dict[int, int] = {}
        for inside, outside in spec.ports.items():
            if outside in others:
                raise EngineRefused(f"port {outside} of the machine is taken: free it, or publish another one")
            taken = {*others, *published.values()}
            free = (port for port in range(FIRST_PORT, 65536) if port not in taken)
            published[inside] = outside or next(free)
        return published

    def _remove(self, name: str) -> None:
        if name in self._kept:
            self._kept.pop(name).wake()
