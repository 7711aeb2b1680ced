"""The loop that makes the fleet what it is meant to be: gather, decide, keep, act, and again.

Of several gateways one decides and acts; the others go round too, and do what concerns themselves: they look at the
engines, and serve what runs there.

Nothing is remembered of a round but what the documents say; a process that dies anywhere in it leaves something that
the next one understands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Set
from functools import partial
from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ngpu.containers import Container
from ngpu.errors import EngineRefused, StoreUnavailable
from ngpu.fleet.copies import Copy
from ngpu.fleet.helm import Helm
from ngpu.fleet.images import Images
from ngpu.fleet.plan import decide
from ngpu.fleet.rollout import Changes
from ngpu.fleet.rounds import SOON, Rounds
from ngpu.fleet.served import Served
from ngpu.fleet.serving import IServing
from ngpu.fleet.situation import Sight, Situation
from ngpu.fleet.state import FleetState
from ngpu.fleet.station import Station
from ngpu.fleet.steps import Actions, Launch, Step
from ngpu.fleet.telling import tell
from ngpu.fleet.upkeep import upkeep, wake
from ngpu.fleet.vitals import Vitals
from ngpu.fleet.wanted import Deployment
from ngpu.member import Health
from ngpu.sharing import Alone, ILeadership

WATCH = 0.5
"""Seconds between two rounds while a copy is on its way up."""

HALTING = 15.0
"""Seconds that a node may be away, at most, before copies that have no container there yet are placed elsewhere."""

FIRST_LOOK = 10.0
"""Seconds that engines get for their first answer, before copies are placed without knowing what runs on them."""


class Reconciler:
    """Works on one fleet.

    :param wanted: the deployments as they are wanted now, by the workspace's digest.
    :param held: the workspaces that are left as they are; see `Situation`.
    :param interval: seconds between two rounds in which nothing happens.
    :param node_grace: seconds that a node may stay away before its copies are placed elsewhere.
    :param failed: told of each step that failed, by the node's address.
    :param leadership: whether this gateway may change the fleet; another one does where it may not.
    :param learn: reads all that other gateways may have changed, before this one begins to change anything.
    :ivar refused: why copies found no node at the last decision: workspace digest → node key → reason.
    """

    log = Logger("ngpu.fleet")

    def __init__(
        self,
        *,
        fleet: str,
        state: FleetState,
        stations: Mapping[str, Station],
        images: Images,
        serving: IServing,
        wanted: Callable[[], Mapping[str, Deployment]],
        clock: IReactorTime,
        rng: Random,
        interval: float,
        node_grace: float,
        held: Callable[[], frozenset[str]] = frozenset,
        failed: Callable[[str], None] = lambda node: None,
        leadership: ILeadership = Alone.leadership,
        learn: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._fleet = fleet
        self._state = state
        self._stations = stations
        self._images = images
        self._serving = serving
        self._wanted = wanted
        self._held = held
        self._clock = clock
        self._rng = rng
        self._interval = interval
        self._node_grace = node_grace
        self._failed = failed
        self.helm = Helm(leadership, learn or state.load, self._turned)
        state.refused = self.helm.doubt
        self.refused: Mapping[str, Mapping[str, str]] = {}
        self._vitals = Vitals(self._patience)
        self._began = 0.0
        self._rounds = Rounds(self._go_round, interval, clock)
        self._served = Served(serving, self.nudge)
        self._awake: frozenset[str] = frozenset()
        serving.watch(self._doubt)

    def start(self) -> None:
        """Begin; the documents are loaded."""
        self._began = self._clock.seconds()
        for station in self._stations.values():
            station.start()
        self._rounds.start()

    async def stop(self) -> None:
        """Change nothing more. The containers run on, and the next process finds them."""
        for station in self._stations.values():
            station.stop()
        self._images.stop()
        self._served.stop()
        self._rounds.stop()

    def nudge(self) -> None:
        """Something has changed: look at it soon."""
        self._rounds.nudge()

    def _turned(self) -> None:
        """This gateway begins to work on the fleet, or ceases."""
        self._images.stop()
        self.nudge()

    def forgotten(self, copies: Mapping[str, Copy]) -> None:
        """These copies are no more: whoever waits for one of them may stop."""
        wanted = self._wanted()
        for copy in copies.values():
            deployment = wanted.get(copy.workspace)
            if deployment is not None:
                self._serving.remove(deployment.workspace, copy.id)

    async def _go_round(self) -> float:
        """One round.

        :returns: seconds until the next one.
        """
        await self.helm.take()
        await self._note()
        await self._take_up()
        began = self._clock.seconds()
        situation = self.situation()
        if self.helm.certain:
            changes = decide(situation, self._rng)
            took = self._clock.seconds() - began
            kept = await self._keep(changes, situation)
            began = self._clock.seconds() - took
            situation = self.situation() if kept else situation
        actions = upkeep(situation)
        self._served.act(actions)
        if self.helm.held:
            self._act(actions, situation)
        self._rounds.took(self._clock.seconds() - began)
        return self._rest(situation)

    async def _take_up(self) -> None:
        """Have what operators asked for become what is decided; each is a reason to try again what rests."""
        if not self.helm.certain or not self._state.asked:
            return
        try:
            if await self._state.take_up(self._wanted().keys(), self._clock.seconds()):
                self._images.retry()
                self._vitals.retry(self._clock.seconds())
        except StoreUnavailable as error:
            self.log.error("what was asked of the fleet waits: {error}", error=str(error))

    async def _note(self) -> None:
        """Take in how nodes and copies fare."""
        now, copies = self._clock.seconds(), self._state.copies
        for key, station in self._stations.items() if self.helm.certain else ():
            try:
                if station.up is False:
                    await self._state.missed(key, now)
                elif station.up:
                    await self._state.back(key)
            except StoreUnavailable as error:
                self.log.error("{error}", error=str(error))
        there = ((copy.id, self._containers(copy.node).get(copy.id)) for copy in copies.values())
        seen = {copy_id: container.reason for copy_id, container in there if container is not None}
        health = self._served.health()
        up = [copy_id for copy_id, (word, _) in health.items() if word is Health.UP]
        awake = frozenset(key for key, station in self._stations.items() if station.up)
        self._check_on(self._awake - awake)
        self._awake = awake
        self._vitals.note(copies, seen, health, up, awake, now)
        self._served.forget(copies)

    def _doubt(self, copy_id: str) -> None:
        """A copy is not there any more: if all of its node began anew, the ports of the others are others' by now."""
        copy = self._state.copies.get(copy_id)
        station = None if copy is None else self._stations.get(copy.node)
        if copy is None or station is None:
            return
        station.look()
        if all(each == copy_id or self._serving.doubted(each) is None for each in station.containers):
            self._check_on({copy.node})

    def _check_on(self, nodes: Set[str]) -> None:
        """See which copies of these nodes are still there."""
        for node in nodes:
            self._served.check(self._containers(node))

    def _containers(self, node: str) -> Mapping[str, Container]:
        station = self._stations.get(node)
        return {} if station is None else station.containers

    async def _keep(self, changes: Changes, before: Situation) -> bool:
        """Change the documents; whether any was changed."""
        self.refused = changes.refused
        if not changes.documents or not await self._state.keep(changes):
            return False
        tell(changes, before)
        self.forgotten({key: before.copies[key] for key in changes.forget - self._state.copies.keys()})
        self.nudge()
        return True

    def situation(self) -> Situation:
        """Everything that is known at this moment."""
        now, health = self._clock.seconds(), self._served.health()
        looked = all(station.up is not None for station in self._stations.values())
        return Situation(
            now,
            self._fleet,
            self._wanted(),
            dict(self._state.standings),
            dict(self._state.pins),
            dict(self._state.copies),
            {key: self._sight(key, station, now) for key, station in self._stations.items()},
            self._vitals.all(),
            self._served.replicas,
            frozenset(copy_id for copy_id, (word, _) in health.items() if word is Health.UP),
            {copy_id: reason for copy_id, (word, reason) in health.items() if word is Health.DOWN and reason},
            self._served.draining,
            self._served.drained,
            looked or now - self._began > FIRST_LOOK,
            self._held(),
            self._served.doubted(),
        )

    def _sight(self, key: str, station: Station, now: float) -> Sight:
        # before the first look nobody knows whether one that was away before is back
        away_for = now - self._state.away_since.get(key, now) if station.up is False else 0.0
        return Sight(
            station.post.node,
            station.post.gpu_ids,
            station.memory,
            seen=station.seen,
            up=bool(station.up),
            lost=away_for > self._node_grace,
            halting=away_for > min(self._node_grace, HALTING),
            drained=key in self._state.drained,
            busy=station.busy,
            containers=station.containers,
            images=dict(self._images.on(key)),
            reason=station.reason,
            as_of=station.as_of,
        )

    def _act(self, actions: Actions, situation: Situation) -> None:
        awake, may = [key for key, sight in situation.nodes.items() if sight.up], self.helm.term()
        self._images.keep(actions.sources)
        for source in actions.resolve:
            self._images.resolve(source, awake)
        for wanted in actions.fetch:
            self._images.fetch(wanted, may)
        for key, steps in actions.steps.items():
            self._stations[key].work(steps, partial(self._tried, key), may)

    def _tried(self, key: str, step: Step, error: Exception | None) -> None:
        if error is not None:
            address = self._stations[key].post.node.address
            self._failed(address)
            self.log.warn(
                "{kind} failed: {error}",
                journal="step_failed",
                node=address,
                replica=step.copy,
                kind=type(step).__name__,
                error=str(error),
            )
        if isinstance(step, Launch) and isinstance(error, EngineRefused):
            self._images.doubt(key, step.spec.image)
        if step.copy in self._state.copies:
            self._vitals.tried(step, error, self._clock.seconds())

    def _patience(self, copy_id: str) -> float:
        deployment = self._wanted().get(self._state.copies[copy_id].workspace)
        return deployment.patience if deployment is not None else 0.0

    def _rest(self, situation: Situation) -> float:
        """Seconds until the next round, if nothing happens before."""
        due = wake(situation)
        on_the_way = any(copy_id not in situation.up for copy_id in situation.served)
        seconds = WATCH if on_the_way else self._interval
        return seconds if due is None else max(SOON, min(seconds, due - situation.now))
