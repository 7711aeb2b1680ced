"""One workspace's copies: which are missing, which are of yesterday, which go first. Pure.

A copy is *current* when it is made of what is wanted now, on a node that may keep it; *obsolete* otherwise: it goes as
soon as another one is healthy in its place; *lost* when its node is not coming back soon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ngpu.containers import ContainerState
from ngpu.errors import PolicyFailed
from ngpu.fleet.copies import Copy, Standing
from ngpu.fleet.placement import NodeState, Occupant, place, suits
from ngpu.fleet.situation import Situation, serves, target_of
from ngpu.fleet.wanted import Deployment, Recipe, demand_of
from ngpu.placing import Demand

CRASHES = 3
"""How often a container of a new revision may end before it is up, until the revision counts as failed."""

NewId = Callable[[Deployment], str]
Rooms = dict[str, NodeState]


@dataclass
class Changes:
    """What is to be kept, before anything is done about it.

    ``forget`` are copies, ``drop`` standings of workspaces that have gone, ``unpin`` sources that nobody uses any more.
    ``refused``: for each workspace with copies that found no node, why not, by the node's key.
    """

    put: dict[str, Copy] = field(default_factory=dict)
    forget: set[str] = field(default_factory=set)
    standings: dict[str, Standing] = field(default_factory=dict)
    drop: set[str] = field(default_factory=set)
    unpin: set[str] = field(default_factory=set)
    refused: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def leave(self, copy: Copy, why: str) -> None:
        """A copy has to go."""
        self.put[copy.id] = replace(copy, leaving=why)

    @property
    def documents(self) -> bool:
        """Whether there is anything to keep."""
        return bool(self.put or self.forget or self.standings or self.drop or self.unpin)


class Rollout:
    """Decides for one workspace.

    :param copies: all of the workspace's.
    :param rooms: what the nodes have left; what is placed here is taken from it.
    """

    def __init__(
        self,
        situation: Situation,
        deployment: Deployment,
        copies: Iterable[Copy],
        rooms: Rooms,
        new_id: NewId,
        changes: Changes,
    ) -> None:
        self._at = situation
        self._deployment = deployment
        self._rooms = rooms
        self._new_id = new_id
        self._changes = changes
        self._standing = situation.standing(deployment.digest)
        self._staying = [copy for copy in copies if not copy.leaving]
        self._leaving = [copy for copy in copies if copy.leaving and not situation.lost(copy)]

    def decide(self) -> None:
        """Say what changes."""
        want = 0 if self._standing.suspended else self._deployment.replicas
        if not want:
            for copy in self._staying:
                self._changes.leave(copy, "it is not wanted any more")
            return
        target = target_of(self._at, self._deployment)
        if target is None:
            self._note_no_way_in(want)
            return
        demand = demand_of(self._deployment, target)
        lost = [copy for copy in self._staying if self._at.lost(copy)]
        here = [copy for copy in self._staying if not self._at.lost(copy)]
        current = [copy for copy in here if self._fits(copy, target, demand)]
        obsolete = [copy for copy in here if copy not in current]
        if self._note_target(target, obsolete) or self._judge(target, current, obsolete):
            return
        self._retire_lost(lost, current, want)
        obsolete = self._retire_useless(obsolete)
        if not any(map(self._untold, here)):
            self._retire_surplus(current, want)
            self._retire_replaced(current, obsolete, target, want)
        if self._at.settled:
            self._grow(current, obsolete, target, demand, want)

    def _note_no_way_in(self, want: int) -> None:
        """An archive is loaded where its copies are to be: where no node has room for one, only this says why."""
        if self._staying or not self._deployment.recipe.source.archive or not self._at.settled:
            return
        demand = demand_of(self._deployment, self._deployment.recipe)
        placed = place(demand, want, self._rooms, self._deployment.policy)
        if not placed.spots:
            self._changes.refused[self._deployment.digest] = placed.refused

    def _fits(self, copy: Copy, target: Recipe, demand: Demand) -> bool:
        sight = self._at.nodes[copy.node]
        may_stay = not sight.drained and suits(demand, sight.node) and sight.has_gpus(copy.gpu_ids)
        return copy.revision == target.revision and may_stay

    def _note_target(self, target: Recipe, obsolete: list[Copy]) -> bool:
        """Keep what copies are to be made of from now on; whether it is new, and all else waits until it is kept.

        What came before it may have had no time to prove itself: if it serves, there is a way back to it.
        """
        standing = self._standing
        before = standing.tried
        if before is not None and before.revision == target.revision:
            return False
        served = before is not None and any(
            copy.revision == before.revision and copy.id in self._at.up for copy in obsolete
        )
        good = before if standing.good is None and served else standing.good
        self._changes.standings[self._deployment.digest] = replace(standing, tried=target, good=good)
        return True

    def _judge(self, target: Recipe, current: list[Copy], obsolete: list[Copy]) -> bool:
        """Note that a revision is good, or that it failed; whether it failed, and all else waits for the next look."""
        standing = self._standing
        proven = standing.good is not None and standing.good.revision == target.revision
        if proven:
            return False
        if not obsolete and any(copy.id in self._at.up for copy in current):
            self._changes.standings[self._deployment.digest] = replace(standing, good=target, failed="", reason="")
            return False
        why = next((why for copy in current if (why := self._failing(copy))), "")
        if why and standing.good is not None:
            failed = replace(standing, failed=target.revision, reason=why)
            self._changes.standings[self._deployment.digest] = failed
            return True
        return False

    def _failing(self, copy: Copy) -> str:
        """Why a copy counts as one that does not come up; "" as long as it may."""
        sight = self._at.nodes[copy.node]
        container = self._at.container(copy)
        if copy.id in self._at.up or not sight.up:
            return ""
        crashed = container is not None and container.restarts >= CRASHES
        if not crashed and not self._waited(copy):
            return ""
        vital = self._at.vitals.get(copy.id)
        told = (container.reason if container is not None else "") or (vital.reason if vital is not None else "")
        return f"{sight.node.address}: {told or self._at.troubles.get(copy.id) or 'it did not come up'}"

    def _untold(self, copy: Copy) -> bool:
        """Whether nobody can tell yet if it works: the process may have just begun."""
        container = self._at.container(copy)
        if not self._at.settled or copy.id in self._at.up or copy.id in self._at.troubles:
            return not self._at.settled
        begins = container is not None and serves(container) and self._at.nodes[copy.node].up
        return begins and not self._waited(copy)

    def _waited(self, copy: Copy) -> bool:
        """Whether it has had its grace."""
        vital = self._at.vitals.get(copy.id)
        waited = vital is not None and self._at.now - vital.since > self._deployment.patience
        return waited and self._at.nodes[copy.node].up

    def _retire_lost(self, lost: list[Copy], current: list[Copy], want: int) -> None:
        """What stays away goes; what still serves, since only its engine is away, once others are there for it."""
        others = sum(copy.id in self._at.up for copy in current)
        for copy in lost:
            if copy.node not in self._at.nodes and not self._at.settled:
                continue  # it may be found on another node
            if copy.id not in self._at.up or others >= want:
                self._changes.leave(copy, "its node stays away")

    def _retire_useless(self, obsolete: list[Copy]) -> list[Copy]:
        """What is of yesterday and does no work goes at once; the others are returned."""
        useful = []
        for copy in obsolete:
            if self._at.absent(copy) or (copy.id not in self._at.up and self._waited(copy)):
                self._changes.leave(copy, "it is replaced")
            else:
                useful.append(copy)
        return useful

    def _retire_surplus(self, current: list[Copy], want: int) -> None:
        """Fewer are wanted: the worst go first."""
        crowd: dict[str, int] = {}
        for copy in current:
            crowd[copy.node] = crowd.get(copy.node, 0) + 1

        def worth(copy: Copy) -> tuple[bool, bool, int, float, str]:
            container = self._at.container(copy)
            running = container is not None and container.state is ContainerState.RUNNING
            return copy.id in self._at.up, running, -crowd[copy.node], -copy.since, copy.id

        while len(current) > want:
            worst = min(current, key=worth)
            current.remove(worst)
            crowd[worst.node] -= 1
            self._changes.leave(worst, "fewer are wanted")

    def _retire_replaced(self, current: list[Copy], obsolete: list[Copy], target: Recipe, want: int) -> None:
        """Of yesterday's, as many go as are healthy in their place."""
        healthy = sum(copy.id in self._at.up for copy in current)
        given_up = sum(copy.id not in self._at.up and self._waited(copy) for copy in current)
        for copy in sorted(obsolete, key=lambda copy: (copy.id in self._at.up, copy.since, copy.id)):
            # who drains a node waits for the copy in place of this one, but no longer than its grace
            moved = copy.revision == target.revision and self._at.nodes[copy.node].drained
            if healthy + (given_up if moved else 0) + len(obsolete) > want:
                self._changes.leave(copy, "it is replaced")
                obsolete.remove(copy)

    def _grow(self, current: list[Copy], obsolete: list[Copy], target: Recipe, demand: Demand, want: int) -> None:
        """Place what is missing; in place of what is obsolete one at a time, each healthy before the next."""
        leaving = len(self._leaving) + sum(
            copy.id in self._changes.put and bool(self._changes.put[copy.id].leaving)
            for copy in self._staying
            if not self._at.lost(copy)
        )
        staying = len(current) + len(obsolete)
        room = want + 1 - staying - leaving
        surge = staying >= want
        if surge:
            waits = any(copy.id not in self._at.up and not self._waited(copy) for copy in current)
            count = 1 if len(current) < want and not waits else 0
        else:
            count = want - staying
        count = min(count, room)
        if count > 0 and not self._place(target, demand, count) and surge and not leaving:
            self._make_room(obsolete, demand)

    def _place(self, target: Recipe, demand: Demand, count: int) -> bool:
        """Place so many; whether any was."""
        try:
            placed = place(demand, count, self._rooms, self._deployment.policy)
        except PolicyFailed as error:
            self._changes.refused[self._deployment.digest] = dict.fromkeys(self._rooms, str(error))
            return True  # nothing is known of the room there is
        self._rooms.update(placed.nodes)
        if placed.refused:
            self._changes.refused[self._deployment.digest] = placed.refused
        for spot in placed.spots:
            copy = Copy(
                self._new_id(self._deployment),
                self._deployment.digest,
                spot.node,
                target.revision,
                spot.gpu_ids,
                target.memory,
                target.pinned_ports,
                dict(target.ports),
                target.stop_grace,
                self._at.now,
            )
            self._changes.put[copy.id] = copy
        return bool(placed.spots)

    def _make_room(self, obsolete: list[Copy], demand: Demand) -> None:
        """Let one of yesterday's go first, where the next one fits in its place only, or its node has to be empty."""
        for copy in sorted(obsolete, key=lambda copy: (copy.id in self._at.up, copy.since, copy.id)):
            state = self._rooms[copy.node]
            held = occupant_of(copy)
            others = list(state.occupants)
            others.remove(held)
            freed = {copy.node: replace(state, occupants=tuple(others))}
            drained = self._at.nodes[copy.node].drained
            if drained or place(demand, 1, freed, self._deployment.policy).spots:
                self._changes.leave(copy, "its node is drained" if drained else "it makes room for the next one")
                return


def occupant_of(copy: Copy) -> Occupant:
    """What a copy holds of its node."""
    return Occupant(copy.workspace, copy.gpu_ids, copy.memory, copy.pinned)
