"""Everything that the planner knows at one moment: frozen values, gathered before it is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ngpu.containers import COPY, Container, ContainerHealth, ContainerState
from ngpu.fleet.copies import Copy, Pin, Standing
from ngpu.fleet.wanted import Deployment, Recipe
from ngpu.model import Node, Replica


@dataclass(frozen=True, slots=True)
class Sight:
    """A node as it was last seen.

    ``seen``: it answered since this process began; ``up``: it answered last time. ``lost``: it has been away for
    longer than ``node_grace``; ``halting``: for long enough that what has not begun there begins elsewhere.
    ``drained``: its operator wants it empty. ``busy``: steps are under way there, so that ``containers`` (those of
    ours, by the copy that their label names) may be behind. ``images``: what it is known to have, pin → what the engine
    calls it. ``memory`` is bytes, 0 where it is not known. ``as_of`` is when the look began that showed all this.
    """

    node: Node
    gpu_ids: tuple[str, ...] = ()
    memory: int = 0
    machines: int = 1
    seen: bool = False
    up: bool = False
    lost: bool = False
    halting: bool = False
    drained: bool = False
    busy: bool = False
    containers: Mapping[str, Container] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    as_of: float = 0.0

    def has_gpus(self, gpu_ids: Collection[str]) -> bool:
        """Whether it still has all of these GPUs, as its operator says."""
        return set(gpu_ids) <= set(self.gpu_ids)

    @property
    def workable(self) -> bool:
        """Whether its engine may be asked for something now, knowing what it has."""
        return self.up and not self.busy


@dataclass(frozen=True, slots=True)
class Vital:
    """What this process has seen of a copy. Times are seconds since the epoch.

    ``since``: when its grace began: when it was first launched or seen, when its health was checked for the first time
    (``checked``), when it was last up, or its node came back. ``tries``: how often it was launched or restarted since
    it was up; ``next_try``: not again before. ``reason``: what was last wrong with it.
    """

    since: float
    tries: int = 0
    next_try: float = 0.0
    reason: str = ""
    checked: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """What is wanted, what is meant to be where, and what is there.

    ``served`` are the replicas that serving has, ``up`` those of them that are healthy, ``troubles`` why the others are
    not; ``draining`` are copies that get no new calls, ``drained`` those of them whose last call is over. ``settled``:
    every node was looked at, or has had the time for it. ``doubted`` are copies that get no connections, since when:
    their ports may be others' by now. ``held`` are workspaces, by digest, whose settings cannot be
    used as they are: what runs of them is left as it is until somebody mends or removes them.
    """

    now: float
    fleet: str
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    standings: Mapping[str, Standing] = field(default_factory=dict)
    pins: Mapping[str, Pin] = field(default_factory=dict)
    copies: Mapping[str, Copy] = field(default_factory=dict)
    nodes: Mapping[str, Sight] = field(default_factory=dict)
    vitals: Mapping[str, Vital] = field(default_factory=dict)
    served: Mapping[str, Replica] = field(default_factory=dict)
    up: frozenset[str] = frozenset()
    troubles: Mapping[str, str] = field(default_factory=dict)
    draining: frozenset[str] = frozenset()
    drained: frozenset[str] = frozenset()
    settled: bool = True
    held: frozenset[str] = frozenset()
    doubted: Mapping[str, float] = field(default_factory=dict)

    def standing(self, workspace: str) -> Standing:
        """How the deployment of this digest stands."""
        return self.standings.get(workspace, _UNTRIED)

    def container(self, copy: Copy) -> Container | None:
        """A copy's container as it was last seen."""
        sight = self.nodes.get(copy.node)
        return None if sight is None else sight.containers.get(copy.id)

    def absent(self, copy: Copy) -> bool:
        """Whether its node has been looked at and has no container of it."""
        sight = self.nodes.get(copy.node)
        return sight is not None and sight.workable and copy.id not in sight.containers

    def lost(self, copy: Copy) -> bool:
        """Whether its node is not coming back soon, or is not configured any more, or went before the copy began."""
        sight = self.nodes.get(copy.node)
        if sight is None or sight.lost:
            return True
        return sight.halting and sight.seen and copy.id not in sight.containers


_UNTRIED = Standing()


def target_of(situation: Situation, deployment: Deployment) -> Recipe | None:
    """What a deployment's copies are to be made of now.

    Its last good recipe where the wanted one never got healthy, or where its image is not known yet; ``None`` where
    there is neither.
    """
    standing = situation.standing(deployment.digest)
    wanted = wanted_recipe(situation, deployment)
    if wanted is None or (standing.failed == wanted.revision and standing.good is not None):
        return standing.good
    return wanted


def wanted_recipe(situation: Situation, deployment: Deployment) -> Recipe | None:
    """What its settings want, with the image that its source is pinned to; ``None`` before that is known."""
    pin = situation.pins.get(deployment.recipe.source.key)
    return None if pin is None else deployment.pinned(pin.image)


def by_copy(containers: Iterable[Container]) -> dict[str, Container]:
    """Containers under the copy that their label names; those without one are not for us."""
    return {container.labels[COPY]: container for container in containers if container.labels.get(COPY)}


def serves(container: Container) -> bool:
    """Whether a container may get calls, as far as its engine and its image's own check say."""
    return container.state is ContainerState.RUNNING and container.health in (
        ContainerHealth.NONE,
        ContainerHealth.HEALTHY,
    )
