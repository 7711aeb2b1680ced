"""What changes in the fleet's documents: copies that come, go, are adopted or forgotten. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from random import Random

from ngpu.containers import COPY, REVISION, WORKSPACE, Container
from ngpu.errors import PolicyFailed
from ngpu.fleet.copies import Copy
from ngpu.fleet.placement import NodeState, Occupant
from ngpu.fleet.rollout import Changes, NewId, Rollout, Rooms, occupant_of
from ngpu.fleet.situation import Sight, Situation, target_of
from ngpu.fleet.wanted import GPUS, Deployment, Recipe


def decide(situation: Situation, rng: Random) -> Changes:
    """What is to be kept before anything is asked of an engine.

    :param rng: of the ids of new copies.
    """
    changes = Changes()
    for copy in situation.copies.values():
        if copy.leaving and _gone(situation, copy):
            changes.forget.add(copy.id)  # one that has moved becomes a stray
        elif not copy.leaving and copy.workspace not in situation.deployments.keys() | situation.held:
            changes.leave(copy, "its workspace is not wanted any more")
    there = situation.deployments.keys() | situation.held | {copy.workspace for copy in situation.copies.values()}
    changes.drop.update(situation.standings.keys() - there)
    used = {deployment.recipe.source.key for deployment in situation.deployments.values()}
    if not situation.held:  # of which nobody knows the source
        changes.unpin.update(situation.pins.keys() - used)
    rooms = rooms_of(situation)
    for copy in (*moved(situation, changes), *adopted(situation)):
        changes.put[copy.id] = copy
    if changes.documents:
        return changes  # the rest is decided once that is kept
    new_id = _ids(situation, rng)
    crews: dict[str, list[Copy]] = {}
    for copy in situation.copies.values():
        crews.setdefault(copy.workspace, []).append(copy)
    for digest, deployment in situation.deployments.items():
        try:
            Rollout(situation, deployment, crews.get(digest, []), rooms, new_id, changes).decide()
        except PolicyFailed as error:
            changes.refused[deployment.digest] = dict.fromkeys(rooms, str(error))
    return changes


def _gone(situation: Situation, copy: Copy) -> bool:
    """Whether nothing is left to be done about a copy that leaves."""
    over = copy.id not in situation.served or copy.id in situation.drained
    return over and (situation.lost(copy) or situation.absent(copy))


def rooms_of(situation: Situation) -> Rooms:
    """The nodes as placement sees them: with what copies hold there, and what containers hold that nobody meant."""
    held: dict[str, list[Occupant]] = {key: [] for key in situation.nodes}
    for copy in situation.copies.values():
        if copy.node in held:
            held[copy.node].append(occupant_of(copy))
    for key, container in strays(situation):
        gpu_ids = gpu_ids_of(container)
        held[key].append(Occupant(container.labels.get(WORKSPACE, ""), gpu_ids))
    return {
        key: NodeState(
            sight.node,
            sight.gpu_ids,
            sight.memory,
            tuple(held[key]),
            frozenset(sight.images),
            sight.machines,
            closed(sight),
        )
        for key, sight in situation.nodes.items()
    }


def closed(sight: Sight) -> str:
    """Why a node takes no copies now; "" where it does."""
    if sight.drained:
        return "it is drained, until its operator undrains it"
    if not sight.seen and not sight.reason:
        return "its engine has not been asked yet"
    return "" if sight.up else f"its engine is away: {sight.reason}"


def strays(situation: Situation) -> Iterator[tuple[str, Container]]:
    """Containers of ours that no document speaks of, or not of this one, each with its node's key.

    A container whose document names another node is none as long as that node does not show another one of this copy:
    it may be the same container, as two nodes look that share an engine, or have `moved`.
    """
    for key, sight in situation.nodes.items():
        for copy_id, container in sight.containers.items():
            copy = situation.copies.get(copy_id)
            if copy is None or _has_another(situation, copy, container):
                yield key, container


def _has_another(situation: Situation, copy: Copy, container: Container) -> bool:
    meant = situation.nodes.get(copy.node)
    there = None if meant is None or not meant.workable else meant.containers.get(copy.id)
    return there is not None and there.id != container.id


def moved(situation: Situation, changes: Changes) -> Iterator[Copy]:
    """Copies whose container is on another node than their document says.

    Nodes have exchanged their engines, or one has another address by now.
    """
    missing = [
        copy
        for copy in situation.copies.values()
        if (situation.absent(copy) or copy.node not in situation.nodes) and copy.id not in changes.forget
    ]
    if not missing:
        return
    places: dict[str, list[str]] = {}
    for key, sight in situation.nodes.items():
        for copy_id in sight.containers if sight.workable else ():
            places.setdefault(copy_id, []).append(key)
    for copy in missing:
        if len(places.get(copy.id, ())) == 1:
            yield replace(changes.put.get(copy.id, copy), node=places[copy.id][0])


def gpu_ids_of(container: Container) -> tuple[str, ...]:
    """The GPUs that were given to a container of ours."""
    return tuple(each for each in container.labels.get(GPUS, "").split(",") if each)


def adopted(situation: Situation) -> Iterator[Copy]:
    """Copies that run already and are missing: of a node that is back, or of documents that were lost."""
    there = Counter(copy.workspace for copy in situation.copies.values())
    missing: dict[str, int] = {}
    for digest, deployment in situation.deployments.items():
        wanted = 0 if situation.standing(digest).suspended else deployment.replicas
        missing[digest] = wanted - there[digest]
    used: dict[str, set[str]] = {key: set() for key in situation.nodes}
    for copy in situation.copies.values():
        used.setdefault(copy.node, set()).update(copy.gpu_ids)
    met: set[str] = set()
    for key, container in strays(situation):
        sight = situation.nodes[key]
        digest = container.labels.get(WORKSPACE, "")
        meant = situation.deployments.get(digest)
        target = None if meant is None else target_of(situation, meant)
        gpu_ids = gpu_ids_of(container)
        if (
            target is None
            or missing[digest] <= 0
            or container.labels.get(COPY) in situation.copies
            or not sight.workable
            or sight.drained
            or container.labels.get(REVISION) != target.revision
            or len(gpu_ids) != target.gpus
            or not sight.has_gpus(gpu_ids)
            or used[key].intersection(gpu_ids)
        ):
            continue
        taken_over = _adopt(situation, key, container, gpu_ids, target)
        if taken_over.id not in met:
            met.add(taken_over.id)
            missing[digest] -= 1
            used[key].update(gpu_ids)
            yield taken_over


def _adopt(situation: Situation, key: str, container: Container, gpu_ids: tuple[str, ...], target: Recipe) -> Copy:
    copy_id = next(each for each, there in situation.nodes[key].containers.items() if there is container)
    return Copy(
        copy_id,
        container.labels[WORKSPACE],
        key,
        target.revision,
        gpu_ids,
        target.memory,
        target.pinned_ports,
        dict(target.ports),
        target.stop_grace,
        situation.now,
    )


_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")


def _ids(situation: Situation, rng: Random) -> NewId:
    """Makes ids of copies that nobody has, out of what names of containers may have."""
    taken = {*situation.copies, *(each for sight in situation.nodes.values() for each in sight.containers)}

    def new_id(deployment: Deployment) -> str:
        name, _, digest = deployment.label.rpartition("-")
        while True:
            made = f"{_UNFIT.sub('-', name)[:40]}-{digest}-{rng.getrandbits(24):06x}"
            if made not in taken:
                taken.add(made)
                return made

    return new_id
