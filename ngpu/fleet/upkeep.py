"""From what is meant to be where, and what is there, to the next steps. Pure; asking twice does no harm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ngpu.containers import WORKSPACE, Container, ContainerHealth, ContainerState
from ngpu.errors import PolicyFailed
from ngpu.fleet.copies import Copy
from ngpu.fleet.placement import place
from ngpu.fleet.plan import rooms_of, strays
from ngpu.fleet.situation import Sight, Situation, serves, target_of, wanted_recipe
from ngpu.fleet.steps import Actions, Fetch, Launch, Remove, Restart, Start, Step
from ngpu.fleet.wanted import Deployment, Recipe, container_spec, demand_of
from ngpu.model import Replica

STRAY_GRACE = 10.0
"""Seconds between TERM and KILL of a container that no document speaks of."""


def upkeep(situation: Situation) -> Actions:
    """What is to be done now."""
    actions = Actions()
    recipes = {digest: dict(_recipes(situation, each)) for digest, each in situation.deployments.items()}
    for copy in situation.copies.values():
        _serve(situation, copy, actions)
        sight = situation.nodes.get(copy.node)
        if sight is not None and sight.workable:
            recipe = recipes.get(copy.workspace, {}).get(copy.revision)
            _tend(situation, copy, sight, recipe, actions)
    for copy_id, replica in situation.served.items():
        if copy_id not in situation.copies:
            actions.unserve.append(replica)
    for key, container in strays(situation):
        if situation.nodes[key].workable and not _may_be_wanted(situation, container):
            actions.at(key, Remove("", container.name, STRAY_GRACE))
    for deployment in situation.deployments.values():
        actions.sources.update(_sources(situation, deployment))
        _fetch_unknown(situation, deployment, actions)
    return actions


def _recipes(situation: Situation, deployment: Deployment) -> Iterator[tuple[str, Recipe]]:
    """What copies of a deployment may be made of, by revision."""
    for recipe in (situation.standing(deployment.digest).good, wanted_recipe(situation, deployment)):
        if recipe is not None:
            yield recipe.revision, recipe


def _may_be_wanted(situation: Situation, container: Container) -> bool:
    """Whether it cannot be told yet that a container is surplus: what its workspace's image is, is not known."""
    if container.labels.get(WORKSPACE, "") in situation.held:
        return True
    deployment = situation.deployments.get(container.labels.get(WORKSPACE, ""))
    if deployment is None or situation.standing(deployment.digest).suspended:
        return False
    return not situation.settled or target_of(situation, deployment) is None


def _serve(situation: Situation, copy: Copy, actions: Actions) -> None:
    """Whether calls go to a copy; of one whose node is away, only its health checks know."""
    served = situation.served.get(copy.id)
    sight = situation.nodes.get(copy.node)
    if served is None:
        if sight is not None and sight.up:
            _serve_new(situation, copy, sight, actions)
        return
    if copy.id in situation.drained:
        actions.unserve.append(served)
        return
    container = sight.containers.get(copy.id) if sight is not None and sight.up else None
    now = None if sight is None or container is None else replica_of(situation, copy, sight, container)
    doubted = situation.doubted.get(copy.id)
    if sight is not None and doubted is not None and now == served and sight.as_of >= doubted:
        actions.trust.append(served)
    if copy.leaving:
        if now is not None and now != served:
            actions.serve.append(now)  # for the jobs that it has; it is drained again in the next round
        elif copy.id not in situation.draining:
            actions.drain.append(served)
        return
    if sight is None or not sight.up:
        return
    if container is None or now is None or (now != served and not serves(container)):
        actions.unserve.append(served)  # its ports may be somebody else's by now: nobody may be sent there
    elif now != served:
        actions.serve.append(now)
    elif container.health is ContainerHealth.UNHEALTHY and copy.id not in situation.draining:
        actions.drain.append(served)


def _serve_new(situation: Situation, copy: Copy, sight: Sight, actions: Actions) -> None:
    container = sight.containers.get(copy.id)
    if container is None or not (serves(container) or copy.leaving):
        return
    replica = replica_of(situation, copy, sight, container)
    # one that leaves, too: jobs that an earlier process began there may be waited for
    if replica is not None and not (copy.leaving and copy.id in situation.drained):
        actions.serve.append(replica)


def replica_of(situation: Situation, copy: Copy, sight: Sight, container: Container) -> Replica | None:
    """A copy as calls reach it; ``None`` while it does not run, or a port of it is not published."""
    deployment = situation.deployments.get(copy.workspace)
    ports = {declared: container.ports.get(inside) for declared, inside in copy.ports.items()}
    if deployment is None or not ports or container.state is not ContainerState.RUNNING:
        return None
    known = {declared: outside for declared, outside in ports.items() if outside}
    if len(known) < len(ports):
        return None
    node = sight.node
    if container.host or container.machine:
        node = replace(node, host=container.host or node.host, address=container.machine or node.address)
    return Replica(copy.id, deployment.workspace, node, known, deployment.slots)


def _tend(situation: Situation, copy: Copy, sight: Sight, recipe: Recipe | None, actions: Actions) -> None:
    container = sight.containers.get(copy.id)
    if copy.leaving:
        if container is not None and _over(situation, copy, sight, container):
            actions.at(copy.node, Remove(copy.id, container.name, copy.stop_grace))
    elif container is None:
        _launch(situation, copy, sight, recipe, actions)
    else:
        step = _revive(situation, copy, container)
        if step is not None:
            actions.at(copy.node, step)


def _over(situation: Situation, copy: Copy, sight: Sight, container: Container) -> bool:
    """Whether no call is on a copy that leaves, and none comes back to it."""
    if copy.id in situation.drained:
        return True
    return copy.id not in situation.served and replica_of(situation, copy, sight, container) is None


def _launch(situation: Situation, copy: Copy, sight: Sight, recipe: Recipe | None, actions: Actions) -> None:
    if recipe is None or not situation.settled:
        return  # of yesterday: it is about to leave; or its container may be on a node that was not looked at yet
    image = sight.images.get(recipe.image)
    vital = situation.vitals.get(copy.id)
    if image is None:
        actions.fetch.append(Fetch(copy.node, recipe.source, recipe.image))
    elif vital is None or situation.now >= vital.next_try:
        spec = container_spec(situation.fleet, copy.id, copy.workspace, copy.gpu_ids, recipe, image)
        actions.at(copy.node, Launch(copy.id, spec))


def _revive(situation: Situation, copy: Copy, container: Container) -> Step | None:
    """What is done about a container that does not work; what its engine does about it by itself is left to it."""
    vital = situation.vitals.get(copy.id)
    if vital is not None and situation.now < vital.next_try:
        return None
    if container.state in (ContainerState.CREATED, ContainerState.EXITED):
        return Start(copy.id, container.name)
    if container.state is ContainerState.DEAD:
        return Remove(copy.id, container.name, 0.0)  # and another one is made in its place
    deployment = situation.deployments.get(copy.workspace)
    if container.state is not ContainerState.RUNNING or deployment is None or vital is None:
        return None
    if copy.id not in situation.up and situation.now - vital.since > deployment.patience:
        return Restart(copy.id, container.name, copy.stop_grace)
    return None


def _sources(situation: Situation, deployment: Deployment) -> Iterator[str]:
    """Of what a deployment's copies may be made."""
    standing = situation.standing(deployment.digest)
    if not standing.suspended and deployment.replicas:
        yield deployment.recipe.source.key
        if standing.good is not None:
            yield standing.good.source.key


def _fetch_unknown(situation: Situation, deployment: Deployment, actions: Actions) -> None:
    """Find out what a source is pinned to: ask for a reference's digest, load an archive where copies are to be."""
    source = deployment.recipe.source
    pin = situation.pins.get(source.key)
    standing = situation.standing(deployment.digest)
    if (pin is not None and not pin.stale) or standing.suspended or not deployment.replicas:
        return
    if not source.archive:
        if source not in actions.resolve:
            actions.resolve.append(source)
        return
    for key in _landing(situation, deployment):
        actions.fetch.append(Fetch(key, source))


def _landing(situation: Situation, deployment: Deployment) -> list[str]:
    """The nodes that have the workspace's copies, or would get them."""
    copies = [copy for copy in situation.copies.values() if copy.workspace == deployment.digest and not copy.leaving]
    have = {copy.node for copy in copies if (sight := situation.nodes.get(copy.node)) is not None and sight.up}
    if have:
        return sorted(have)
    demand = demand_of(deployment, deployment.recipe)
    try:
        placed = place(demand, deployment.replicas, rooms_of(situation), deployment.policy)
    except PolicyFailed:
        return []
    return sorted({spot.node for spot in placed.spots})


def wake(situation: Situation) -> float | None:
    """When a try that rests comes due; ``None`` where none does."""
    due = [vital.next_try for vital in situation.vitals.values() if vital.next_try > situation.now]
    return min(due, default=None)
