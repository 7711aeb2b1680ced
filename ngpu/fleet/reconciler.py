"""The loop that makes the fleet what it is meant to be: gather, decide, keep, act, and again.

Nothing is remembered of a round but what the documents say; a process that dies anywhere in it leaves something that
the next one understands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import EngineRefused, NgpuError, StoreUnavailable
from ngpu.fleet.images import Images
from ngpu.fleet.plan import decide
from ngpu.fleet.situation import Sight, Situation, Vital
from ngpu.fleet.state import FleetState
from ngpu.fleet.station import Station
from ngpu.fleet.steps import Actions, Launch, Restart, Step
from ngpu.fleet.upkeep import upkeep, wake
from ngpu.fleet.wanted import Deployment
from ngpu.model import Replica
from ngpu.pool import Health

SOON = 0.02
"""Seconds in which what happens side by side is gathered into one round."""

WATCH = 0.5
"""Seconds between two rounds while a copy is on its way up, or a call is the last one of a copy that leaves."""

FIRST_LOOK = 10.0
"""Seconds that engines get for their first answer, before copies are placed without knowing what runs on them."""

FIRST_REST, LONGEST_REST = 1.0, 60.0
"""Seconds until a copy that did not start is tried again; they double from the first to the longest."""


class Serving(Protocol):
    """Where calls are handed out to replicas."""

    def add(self, workspace_id: str, replica: Replica) -> None:
        """Check a replica's health from now on, and let it serve once it is up."""

    def health(self, workspace_id: str, replica_id: str) -> tuple[Health, str] | None:
        """What its health checks say, and why; ``None``: it is not there."""

    def drain(self, workspace_id: str, replica_id: str) -> Deferred[None]:
        """Hand it no new calls; fires once none is in flight."""

    def remove(self, workspace_id: str, replica_id: str) -> None:
        """Forget it."""


class Reconciler:
    """Works on one fleet.

    :param wanted: the deployments as they are wanted now, by the workspace's digest.
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
        serving: Serving,
        wanted: Callable[[], Mapping[str, Deployment]],
        clock: IReactorTime,
        rng: Random,
        interval: float,
        node_grace: float,
        failed: Callable[[str], None] = lambda node: None,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._fleet = fleet
        self._state = state
        self._stations = stations
        self._images = images
        self._serving = serving
        self._wanted = wanted
        self._clock = clock
        self._rng = rng
        self._interval = interval
        self._node_grace = node_grace
        self._failed = failed
        self._leads = leads
        self.refused: Mapping[str, Mapping[str, str]] = {}
        self._vitals: dict[str, Vital] = {}
        self._served: dict[str, Replica] = {}
        self._draining: dict[str, Deferred[None]] = {}
        self._drained: set[str] = set()
        self._were_up: set[str] = set()
        self._began = 0.0
        self._timer: IDelayedCall | None = None
        self._round: Deferred[None] | None = None
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
        await self._images.stop()
        for drain in tuple(self._draining.values()):
            drain.cancel()
        if self._round is not None:
            self._round.cancel()

    def nudge(self) -> None:
        """Something has changed: look at it soon."""
        self._again = True
        if self._round is None:
            self._set_timer(SOON)

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
        self._round = Deferred()
        going = Deferred.fromCoroutine(self._go_round())
        if not going.called:
            self._round = going
        going.addBoth(self._over)

    def _over(self, result: float | Failure) -> None:
        self._round = None
        seconds = self._interval
        if self._stopped:
            return
        if isinstance(result, Failure):
            self.log.failure("a round of the fleet's loop stumbled", failure=result)
        else:
            seconds = result
        self._set_timer(SOON if self._again else seconds)

    async def _go_round(self) -> float:
        """One round.

        :returns: seconds until the next one.
        """
        await self._note_nodes()
        self._note_vitals()
        situation = self.situation()
        if self._leads():
            changes = decide(situation, self._rng)
            self.refused = changes.refused
            if changes.documents and await self._state.keep(changes):
                self._again = True
                situation = self.situation()
        actions = upkeep(situation)
        self._serve(actions)
        if self._leads():
            self._act(actions, situation)
        return self._rest(situation)

    def situation(self) -> Situation:
        """Everything that is known at this moment."""
        now = self._clock.seconds()
        health = {copy_id: self._health(replica) for copy_id, replica in self._served.items()}
        looked = all(station.up is not None for station in self._stations.values())
        return Situation(
            now,
            self._fleet,
            self._wanted(),
            dict(self._state.standings),
            dict(self._state.pins),
            dict(self._state.copies),
            {key: self._sight(key, station, now) for key, station in self._stations.items()},
            dict(self._vitals),
            dict(self._served),
            frozenset(copy_id for copy_id, (word, _) in health.items() if word is Health.UP),
            {copy_id: reason for copy_id, (word, reason) in health.items() if word is Health.DOWN and reason},
            frozenset(self._draining),
            frozenset(self._drained),
            looked or now - self._began > FIRST_LOOK,
        )

    def _sight(self, key: str, station: Station, now: float) -> Sight:
        away_since = self._state.away_since.get(key)
        return Sight(
            station.post.node,
            station.post.gpu_ids,
            station.memory,
            seen=station.seen,
            up=bool(station.up),
            lost=not station.up and away_since is not None and now - away_since > self._node_grace,
            drained=key in self._state.drained,
            busy=station.busy,
            containers=station.containers,
            images=dict(self._images.on(key)),
            reason=station.reason,
        )

    def _health(self, replica: Replica) -> tuple[Health, str]:
        return self._serving.health(replica.workspace, replica.id) or (Health.UNKNOWN, "")

    async def _note_nodes(self) -> None:
        """Keep since when nodes are away; a copy's grace begins anew when its node is back."""
        for key, station in self._stations.items():
            try:
                if station.up is False:
                    await self._state.missed(key, self._clock.seconds())
                elif station.up:
                    await self._state.back(key)
            except StoreUnavailable as error:
                self.log.error("{error}", error=str(error))
        up = {key for key, station in self._stations.items() if station.up}
        back, self._were_up = up - self._were_up, up
        for copy in self._state.copies.values():
            if copy.node in back and copy.id in self._vitals:
                self._vitals[copy.id] = replace(self._vitals[copy.id], since=self._clock.seconds(), next_try=0.0)

    def _note_vitals(self) -> None:
        now, copies = self._clock.seconds(), self._state.copies
        for gone in self._vitals.keys() - copies.keys():
            del self._vitals[gone]
        self._drained &= copies.keys() | self._served.keys()
        for copy in copies.values():
            replica = self._served.get(copy.id)
            station = self._stations.get(copy.node)
            if replica is not None and self._health(replica)[0] is Health.UP:
                self._vitals[copy.id] = Vital(now)
            elif copy.id not in self._vitals and station is not None and copy.id in station.containers:
                self._vitals[copy.id] = Vital(now)

    def _serve(self, actions: Actions) -> None:
        for replica in actions.unserve:
            self._served.pop(replica.id, None)
            draining = self._draining.pop(replica.id, None)
            if draining is not None:
                draining.cancel()
            self._serving.remove(replica.workspace, replica.id)
        for replica in actions.serve:
            self._drained.discard(replica.id)
            self._draining.pop(replica.id, None)
            self._serving.add(replica.workspace, replica)
            self._served[replica.id] = replica
        for replica in actions.drain:
            drain = self._serving.drain(replica.workspace, replica.id)
            self._draining[replica.id] = drain
            drain.addCallbacks(self._is_drained, lambda failure: None, callbackArgs=(replica.id,))

    def _is_drained(self, result: None, copy_id: str) -> None:
        self._drained.add(copy_id)
        self.nudge()

    def _act(self, actions: Actions, situation: Situation) -> None:
        awake = [key for key, sight in situation.nodes.items() if sight.up]
        for source in actions.resolve:
            self._images.resolve(source, awake)
        for wanted in actions.fetch:
            self._images.fetch(wanted)
        for key, steps in actions.steps.items():
            self._stations[key].work(steps, lambda step, error, key=key: self._tried(key, step, error))

    def _tried(self, key: str, step: Step, error: Exception | None) -> None:
        now = self._clock.seconds()
        if error is not None:
            self._failed(self._stations[key].post.node.address)
            self.log.warn("{kind} failed: {error}", kind=type(step).__name__, error=str(error), copy=step.copy)
        if isinstance(step, Launch) and isinstance(error, EngineRefused):
            self._images.doubt(key, step.spec.image)
        if step.copy not in self._state.copies or not isinstance(error, NgpuError | None):
            return
        vital = self._vitals.get(step.copy, Vital(now))
        rest = min(FIRST_REST * 2**vital.tries, LONGEST_REST)
        if isinstance(step, Restart):
            rest = max(rest, self._patience(step.copy))
        reason = str(error) if error is not None else ""
        self._vitals[step.copy] = replace(vital, tries=min(vital.tries + 1, 16), next_try=now + rest, reason=reason)

    def _patience(self, copy_id: str) -> float:
        deployment = self._wanted().get(self._state.copies[copy_id].workspace)
        return deployment.patience if deployment is not None else 0.0

    def _rest(self, situation: Situation) -> float:
        """Seconds until the next round, if nothing happens before."""
        due = wake(situation)
        on_the_way = any(copy_id not in situation.up for copy_id in situation.served)
        seconds = WATCH if on_the_way else self._interval
        return seconds if due is None else max(SOON, min(seconds, due - situation.now))


