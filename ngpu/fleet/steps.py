"""What the planner asks for: one thing at one engine, at serving, or at whoever brings images. All may be repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ngpu.containers import ContainerSpec
from ngpu.errors import EngineError
from ngpu.fleet.wanted import Source
from ngpu.model import Replica


@dataclass(frozen=True, slots=True)
class Launch:
    """Create a copy's container and start it."""

    copy: str
    spec: ContainerSpec


@dataclass(frozen=True, slots=True)
class Start:
    """Start a copy's container, which is there."""

    copy: str
    name: str


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart a copy's container, which runs and does not get healthy."""

    copy: str
    name: str
    grace: float


@dataclass(frozen=True, slots=True)
class Remove:
    """Stop and remove a container."""

    copy: str
    name: str
    grace: float


Step = Launch | Start | Restart | Remove


def name_of(step: Step) -> str:
    """Of the container that a step is about."""
    return step.spec.name if isinstance(step, Launch) else step.name


class NotOurs(EngineError):
    """It is another gateway's to do by now."""


def check_may(may: Callable[[], bool]) -> None:
    """See, right before an engine is asked to change something, that this gateway may.

    :raises NotOurs: it may not.
    """
    if not may():
        raise NotOurs("another gateway works on the fleet by now")


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring an image to a node; ``image`` is its pin, "" for an archive that was not loaded yet."""

    node: str
    source: Source
    image: str = ""


@dataclass
class Actions:
    """What is to be done now. ``serve`` and ``unserve`` come in this order: away with the old, then the new.

    ``sources`` are the keys of those whose images are wanted somewhere; no others are brought.
    """

    steps: dict[str, list[Step]] = field(default_factory=dict)
    resolve: list[Source] = field(default_factory=list)
    fetch: list[Fetch] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    unserve: list[Replica] = field(default_factory=list)
    serve: list[Replica] = field(default_factory=list)
    drain: list[Replica] = field(default_factory=list)
    trust: list[Replica] = field(default_factory=list)

    def at(self, node: str, step: Step) -> None:
        """One more step of a node."""
        self.steps.setdefault(node, []).append(step)
