"""Container engines: what ngpu asks of the machines' engines and what they tell, behind one port.

An engine runs containers on one machine (Docker), or on many behind one address (Docker Swarm), and then it is the
engine that chooses the machine. Everything of ours is found again by its labels alone, whoever started it.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from zope.interface import Interface

FLEET, WORKSPACE, COPY, REVISION = "ngpu.fleet", "ngpu.workspace", "ngpu.copy", "ngpu.revision"
"""Labels of every container of ours: whose it is, for which workspace (a digest, never its id), which copy, of what."""

Progress = Callable[[float], None]
"""Told how much of an image has come, from 0 to 1, never less than before; called on the reactor's thread."""


class RegistryLogin(NamedTuple):
    """Who pulls from a registry. ``password`` is never shown or logged."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"RegistryLogin(username={self.username!r})"


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the host in a container; only what the operator lists."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """Everything that one copy's container is made of. Two equal specs make equal containers.

    ``image`` is what the engine's `IContainerEngine.pull` or ``load`` returned. ``ports`` maps container ports to ports
    of the host, 0 for any free one. ``gpus`` is how many GPUs it gets, ``gpu_ids`` which ones, as the engine's runtime
    names them: an engine that hands out GPUs itself goes by the number. Sizes are bytes and 0 sets no limit;
    ``stop_grace`` is seconds between TERM and KILL. Nothing here asks for privileges, and no engine adds any.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[int, int] = field(default_factory=dict)
    gpus: int = 0
    gpu_ids: tuple[str, ...] = ()
    memory: int = 0
    pids: int = 0
    shm: int = 0
    user: str = ""
    read_only: bool = False
    tmpfs: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_grace: float = 10.0


class ContainerState(enum.StrEnum):
    """What a container does. CREATED: never started. RESTARTING: it ended, and its engine starts it again.

    DEAD: its engine can only remove it.
    PENDING: the engine has it, but no machine runs it yet (an engine that chooses machines looks for one, or pulls).
    """

    CREATED = "created"
    PENDING = "pending"
    RUNNING = "running"
    RESTARTING = "restarting"
    EXITED = "exited"
    DEAD = "dead"


class ContainerHealth(enum.StrEnum):
    """What the image's own HEALTHCHECK says; NONE where it has none."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Container:
    """A container as its engine reports it.

    ``ports`` maps container ports to the ports of the host where they are reached, while it runs. ``reason`` is a
    sentence for the operator where something keeps it from running, "" otherwise; ``restarts`` counts how often it
    ended, as far back as the engine knows. ``host`` and ``machine`` (an address as in ``nodes[].address``, or the
    machine's name) are "" unless the engine chose the machine; like ``ports``, they may change when it starts again.
    ``started_at`` is seconds since the epoch.
    """

    id: str
    name: str
    labels: Mapping[str, str]
    state: ContainerState
    health: ContainerHealth = ContainerHealth.NONE
    ports: Mapping[int, int] = field(default_factory=dict)
    started_at: float | None = None
    restarts: int = 0
    reason: str = ""
    host: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself: ``memory`` of its machines in bytes, ``gpus`` where it counts them.

    ``machines`` is how many run its containers; more than one where it chooses among them. ``runtimes`` are the names
    of the container runtimes that it knows, ``None`` where it does not tell.
    """

    version: str
    memory: int
    gpus: int | None = None
    machines: int = 1
    runtimes: frozenset[str] | None = None


class IContainerEngine(Interface):
    """One container engine. No call blocks the reactor, and each has a deadline of its own.

    :raises EngineUnreachable: from each of them: no answer, or none in time. What was asked may have happened.
    :raises EngineRefused: from each of them: it answered, and will answer the same until somebody changes something;
        the message says what.
    """

    async def info() -> EngineInfo:
        """What it is; the cheapest call that shows that it works."""

    async def containers(fleet: str) -> Sequence[Container]:
        """All containers of ours, those that ended too: those whose FLEET label is ``fleet``."""

    async def resolve(reference: str, login: RegistryLogin | None) -> str:
        """The reference with its digest, ``name@sha256:…``, as the registry has it now; one with a digest as it is."""

    async def image(image: str) -> str | None:
        """What `ContainerSpec.image` calls an image that is there already.

        :param image: a pinned reference, or what ``pull`` or ``load`` returned; ``None`` where it has to come first.
        """

    async def pull(pinned: str, login: RegistryLogin | None, progress: Progress) -> str:
        """Bring an image from its registry; what is there already is not brought again.

        :returns: what `ContainerSpec.image` calls it.
        """

    async def load(archive: AsyncIterator[bytes], size: int | None, progress: Progress) -> str:
        """Take an image in from a docker image tar, at the engine's pace and without keeping it anywhere else.

        :param size: of the archive in bytes, where that is known.
        :returns: what `ContainerSpec.image` calls it.
        :raises EngineRefused: it is no such tar, or holds no image or several.
        :raises NgpuError: what reading the archive raised.
        """

    async def create(spec: ContainerSpec) -> None:
        """Make a container and start nothing. One of ours with that name, in the same fleet, is left as it is.

        :raises EngineRefused: the image is not there, or the name is somebody else's.
        """

    async def start(name: str) -> None:
        """Start it; one that runs is left as it is.

        An engine that chooses machines may return before one has tried, and tells in ``containers`` what came of it.

        :raises EngineRefused: it cannot be started: no GPU runtime, a port that is taken, no such command, …
        """

    async def restart(name: str, grace: float) -> None:
        """End it and start it again."""

    async def remove(name: str, grace: float) -> None:
        """Stop it (TERM, after ``grace`` seconds KILL) and remove it with its anonymous volumes; none there is fine."""

    def logs(name: str, tail: int, follow: bool) -> AsyncIterator[bytes]:
        """The last ``tail`` lines of what it printed, in pieces as they come.

        With ``follow`` it goes on with what is printed from then on. Closing the iterator ends the call to the engine.
        """

    async def close() -> None:
        """Let go of connections and threads; calls under way are given up."""
