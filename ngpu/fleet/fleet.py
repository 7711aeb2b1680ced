"""The fleet as the rest of the gateway knows it: its nodes, its deployments, and what an operator may ask of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ngpu.errors import ConfigError, EngineRefused, NotFound
from ngpu.fleet.copies import Pin
from ngpu.fleet.facts import Facts, gather
from ngpu.fleet.ground import Ground
from ngpu.fleet.images import Images, Login, OpenArchive
from ngpu.fleet.orders import Orders
from ngpu.fleet.reconciler import Reconciler
from ngpu.fleet.reports import DeploymentReport, Telling, node_report, static_node_report
from ngpu.fleet.serving import IServing
from ngpu.fleet.situation import Situation
from ngpu.fleet.state import FleetState
from ngpu.fleet.station import Station
from ngpu.fleet.together import Together
from ngpu.fleet.wanted import Deployment, MakePolicy, Source, container_name, deployment_of, digest_of
from ngpu.metrics import Metrics
from ngpu.settings import Workspace
from ngpu.sharing import Alone, ILeadership, INews

SAME_LOOK = 0.2
"""Seconds for which what was gathered for one who looks is good for the next: a list asks once for each workspace."""


class Fleet(Orders):
    """Deploys workspaces that have an image, and keeps them.

    :param make_policy: makes a workspace's placement policy; raises ConfigError.
    :param fixed: ids of the workspaces that the operator's own file has; see `Source`.
    :param leadership: see `Reconciler`.
    :param news: of the gateways that have this fleet together.
    """

    log = Logger("ngpu.fleet")

    def __init__(
        self,
        ground: Ground,
        *,
        state: FleetState,
        serving: IServing,
        open_archive: OpenArchive,
        login: Login,
        make_policy: MakePolicy,
        fixed: Container[str],
        clock: IReactorTime,
        rng: Random,
        metrics: Metrics,
        leadership: ILeadership = Alone.leadership,
        news: INews = Alone.news,
    ) -> None:
        self._serving = serving
        self._make_policy = make_policy
        self._fixed = fixed
        self._metrics = metrics
        self._situation: Situation | None = None
        self._spared: Callable[[], Iterable[str]] = tuple
        self._unfit: set[str] = set()
        self._learn_workspaces: Callable[[], Awaitable[None]] | None = None
        metrics.add_source(self.figures)
        engines = {post.key: post.engine for post in ground.posts}
        images = Images(engines, open_archive, login, self._pinned, clock, self._nudge)
        stations = {
            post.key: Station(post, ground.name, ground.interval, clock, rng, self._nudge) for post in ground.posts
        }
        super().__init__(ground, state, stations, images, clock)
        self._reconciler = Reconciler(
            fleet=ground.name,
            state=state,
            stations=self._stations,
            images=self._images,
            serving=serving,
            wanted=lambda: dict(self._deployments),
            held=lambda: frozenset({*map(digest_of, self._spared()), *self._unfit}),
            clock=clock,
            rng=rng,
            interval=ground.interval,
            node_grace=ground.node_grace,
            failed=lambda node: metrics.steps_failed.labels(node).inc(),
            leadership=leadership,
            learn=self._learn,
        )
        self._together = Together(news, state, self._reconciler, self._facts, self._nudge, clock)

    # ---- its life

    async def load(self) -> None:
        """Read what was kept, and let it be known which copies may come back; before calls are served.

        :raises StoreUnavailable: the store cannot be read.
        """
        await self._state.load()
        for copy in self._state.copies.values():
            deployment = self._deployments.get(copy.workspace)
            if deployment is not None:
                self._serving.expect(deployment.workspace, copy.id)

    def start(self) -> None:
        """Begin to look, and to make it as it is wanted."""
        self._reconciler.start()
        self._together.start()

    async def stop(self) -> None:
        """Leave everything as it is; the containers run on."""
        self._together.stop()
        await self._reconciler.stop()
        for closing in [Deferred.fromCoroutine(station.close()) for station in self._stations.values()]:
            await closing

    def follow(self, before: Workspace | None, after: Workspace | None) -> None:
        """A workspace has come, changed or gone; see `ngpu.roster.Watcher`."""
        if before is not None:
            self._unfit.discard(digest_of(before.id))
        if before is not None and (after is None or after.image is None):
            self._deployments.pop(digest_of(before.id), None)
            self._metrics.forget_deployment(before.label)
        if after is not None and after.image is not None:
            try:
                foreign = after.id not in self._fixed
                deployment = deployment_of(after, self._ground.folder, self._make_policy, foreign)
            except ConfigError as error:
                self.log.error("{workspace} is not deployed: {error}", workspace=after.label, error=str(error))
                self._unfit.add(digest_of(after.id))
                return
            if deployment is not None:
                self._deployments[deployment.digest] = deployment
        self._nudge()

    def spare(self, ids: Callable[[], Iterable[str]]) -> None:
        """Leave alone what runs of workspaces that are kept, but cannot be used as they are.

        :param ids: tells which those are, at each round.
        """
        self._spared = ids

    def learn_with(self, workspaces: Callable[[], Awaitable[None]]) -> None:
        """Before this gateway begins to work on the fleet, have it know the workspaces that others have made.

        :param workspaces: looks at them; may raise StoreUnavailable.
        """
        self._learn_workspaces = workspaces

    async def _learn(self) -> None:
        await self._state.load()
        if self._learn_workspaces is not None:  # after the copies: of each of them the workspace was there before
            await self._learn_workspaces()

    # ---- what is told

    def nodes(self) -> list[dict[str, Any]]:
        """All nodes, as the admin API lists them."""
        now = self._now()
        posts = {post.key: post for post in self._ground.posts}
        with_engine = [
            node_report(now, key, sight, posts[key].plugin, self._state.away_since.get(key))
            for key, sight in now.nodes.items()
        ]
        return [*with_engine, *(static_node_report(node, memory) for node, memory in self._ground.static)]

    def deployment(self, workspace_id: str) -> DeploymentReport | None:
        """How a workspace's copies stand; ``None`` where the fleet has nothing to do with it."""
        deployment = self._deployments.get(digest_of(workspace_id))
        return None if deployment is None else self._telling(deployment).report()

    def progress(self, workspace_id: str) -> list[dict[str, Any]] | None:
        """The nodes of a deployed workspace as queryNodes tells of them (wire contract §4); else ``None``."""
        report = self.deployment(workspace_id)
        if report is None:
            return None
        return [
            {"nodeAddr": node["address"], "progress": node["progress"], "status": node["status"]}
            for node in report.nodes
        ]

    def figures(self) -> None:
        """Bring the metrics up to date."""
        now = self._now()
        for sight in now.nodes.values():
            self._metrics.engine_up.labels(sight.node.address).set(int(sight.up))
            self._metrics.steps_failed.labels(sight.node.address)  # from 0 on, or nobody sees the first ones
        for digest, deployment in now.deployments.items():
            suspended = now.standing(digest).suspended
            serving = sum(copy.workspace == digest and copy.id in now.up for copy in now.copies.values())
            self._metrics.copies_wanted.labels(deployment.label).set(0 if suspended else deployment.replicas)
            self._metrics.copies_serving.labels(deployment.label).set(serving)

    def logs(self, copy_id: str, tail: int, follow: bool) -> AsyncIterator[bytes]:
        """What a copy printed: the last ``tail`` lines, and with ``follow`` what comes from then on.

        :raises NotFound: there is no such copy.
        """
        copy = self._state.copies.get(copy_id)
        station = None if copy is None else self._stations.get(copy.node)
        if station is None:
            raise NotFound("the fleet has no such copy; `ngpu workspaces` shows which there are")
        name = container_name(self._ground.name, copy_id)
        lines: AsyncIterator[bytes] = station.post.engine.logs(name, tail, follow)
        return lines

    def _telling(self, deployment: Deployment) -> Telling:
        now, digest = self._now(), deployment.digest
        in_flight = {
            copy_id: self._serving.in_flight(replica.workspace, copy_id) for copy_id, replica in now.served.items()
        }
        if self._reconciler.helm.held:
            return Telling(now, deployment, self._images, self._reconciler.refused.get(digest, {}), in_flight)
        heard = self._state.facts.get(digest, Facts())
        if self._is_asked_anew(digest):
            heard = heard.without_troubles()
        return Telling(heard.seen_with(now), deployment, heard, heard.refused, in_flight)

    def _facts(self) -> dict[str, Facts]:
        return gather(self._now(), self._deployments.values(), self._images, self._reconciler.refused)

    async def _pinned(self, source: Source, image: str) -> None:
        pin = self._state.pins.get(source.key)
        if pin is None or pin.stale:
            await self._state.pin(source.key, Pin(image))
        elif source.archive and pin.image != image:
            raise EngineRefused(
                "the archive holds another image on this node than on the one that loaded it first: deploy the "
                "workspace again, fresh, to take the new one everywhere"
            )

    def _now(self) -> Situation:
        """What is known, for those who look; several that look within a moment see the same."""
        if self._situation is None or not 0 <= self._clock.seconds() - self._situation.now < SAME_LOOK:
            self._situation = self._reconciler.situation()
        return self._situation

    def _nudge(self) -> None:
        self._situation = None
        self._reconciler.nudge()
