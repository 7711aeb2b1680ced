"""The loop that makes the fleet what it is meant to be: gather, decide, keep, act, and again.

Nothing is remembered of a round but what the documents say; a process that dies anywhere in it leaves something that
the next one understands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.containers import Container
from ngpu.errors import EngineRefused, StoreUnavailable
from ngpu.fleet.images import Images
from ngpu.fleet.plan import decide
from ngpu.fleet.rollout import Changes
from ngpu.fleet.served import Served
from ngpu.fleet.serving import IServing
from ngpu.fleet.situation import Sight, Situation
from ngpu.fleet.state import FleetState
from ngpu.fleet.station import Station
from ngpu.fleet.steps import Actions, Launch, Step
from ngpu.fleet.upkeep import upkeep, wake
from ngpu.fleet.vitals import Vitals
from ngpu.fleet.wanted import Deployment
from ngpu.member import Health

SOON = 0.02
"""Seconds in which what happens side by side is gathered into one round."""

PACE = 4
"""Planning that took a second is followed by a pause of so many: a large fleet must not starve its calls."""

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
    :param leads: whether this process may change the fleet; another one does where it may not.
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
        leads: Callable[[], bool] = lambda: True,
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
        self._leads = leads
        self.refused: Mapping[str, Mapping[str, str]] = {}
        self._served = Served(serving, self.nudge)
        self._vitals = Vitals(self._patience)
        self._began = 0.0
        self._timer: IDelayedCall | None = None
        self._round: Deferred[Any] | None = None
        self._pause = SOON
        self._again = False
        self._stopped = True

    def start(self) -> None:
        """Begin; the documents are loaded."""
        self._stopped = False
        self._began = self._clock.seconds()
        for station in self._stations.values():
            station.start()
        self.nudge()

    async def stop(self) -> None:
        """Change nothing more. The containers run on, and the next process finds them."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        for station in self._stations.values():
            station.stop()
        self._images.stop()
        self._served.stop()
        if self._round is not None:
            self._round.cancel()

    def retry(self) -> None:
        """Let no copy rest any longer, and give each its grace anew."""
        self._vitals.retry(self._clock.seconds())
        self.nudge()

    def nudge(self) -> None:
        """Something has changed: look at it soon."""
        self._again = True
        if self._round is None:
            self._set_timer(self._pause)

    def _set_timer(self, seconds: float) -> None:
        if self._stopped:
            return
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= self._clock.seconds() + seconds:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self._begin)

    def _begin(self) -> None:
        self._again = False
        self._round = Deferred()  # while the round takes its first steps
        going = Deferred.fromCoroutine(self._go_round())
        if not going.called:
            self._round = going
        going.addBoth(self._over)

    def _over(self, result: float | Failure) -> None:
        self._round = None
        if self._stopped:
            return
        seconds = self._interval
        if isinstance(result, Failure):
            self.log.failure("a round of the fleet's loop stumbled", failure=result)
        else:
            seconds = result
        self._set_timer(self._pause if self._again else max(seconds, self._pause))

    async def _go_round(self) -> float:
        """One round.

        :returns: seconds until the next one.
        """
        await self._note()
        began = self._clock.seconds()
        situation = self.situation()
        if self._leads():
            changes = decide(situation, self._rng)
            took = self._clock.seconds() - began
            kept = await self._keep(changes, situation)
            began = self._clock.seconds() - took
            situation = self.situation() if kept else situation
        actions = upkeep(situation)
        self._served.act(actions)
        if self._leads():
            self._act(actions, situation)
        self._pause = max(SOON, PACE * (self._clock.seconds() - began))
        return self._rest(situation)

    async def _note(self) -> None:
        """Take in how nodes and copies fare."""
        now, copies = self._clock.seconds(), self._state.copies
        for key, station in self._stations.items() if self._leads() else ():
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
        self._vitals.note(copies, seen, health, up, awake, now)
        self._served.forget(copies)

    def _containers(self, node: str) -> Mapping[str, Container]:
        station = self._stations.get(node)
        return {} if station is None else station.containers

    async def _keep(self, changes: Changes, before: Situation) -> bool:
        """Change the documents; whether any was changed."""
        self.refused = changes.refused
        if not changes.documents or not await self._state.keep(changes):
            return False
        for copy_id in changes.forget - self._state.copies.keys():
            deployment = before.deployments.get(before.copies[copy_id].workspace)
            if deployment is not None:  # whoever waits for it may stop
                self._serving.remove(deployment.workspace, copy_id)
        self._again = True
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
        )

    def _act(self, actions: Actions, situation: Situation) -> None:
        awake = [key for key, sight in situation.nodes.items() if sight.up]
        for source in actions.resolve:
            self._images.resolve(source, awake)
        for wanted in actions.fetch:
            self._images.fetch(wanted)
        for key, steps in actions.steps.items():
            self._stations[key].work(steps, partial(self._tried, key))

    def _tried(self, key: str, step: Step, error: Exception | None) -> None:
        if error is not None:
            self._failed(self._stations[key].post.node.address)
            self.log.warn("{kind} failed: {error}", kind=type(step).__name__, error=str(error), copy=step.copy)
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
