"""The fleet as the rest of the gateway knows it: its nodes, its deployments, and what an operator may ask of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Container, Iterable
from dataclasses import replace
from random import Random
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ngpu.errors import ConfigError, Conflict, EngineRefused, NotFound
from ngpu.fleet.copies import Pin, Standing
from ngpu.fleet.ground import Ground
from ngpu.fleet.images import Images, Login, OpenArchive
from ngpu.fleet.reconciler import Reconciler
from ngpu.fleet.reports import DeploymentReport, Telling, node_report, static_node_report
from ngpu.fleet.serving import IServing
from ngpu.fleet.situation import Situation
from ngpu.fleet.state import FleetState
from ngpu.fleet.station import Station
from ngpu.fleet.wanted import Deployment, MakePolicy, Source, container_name, deployment_of, digest_of
from ngpu.metrics import Metrics
from ngpu.model import node_key
from ngpu.settings import Workspace

SAME_LOOK = 0.2
"""Seconds for which what was gathered for one who looks is good for the next: a list asks once for each workspace."""


class Fleet:
    """Deploys workspaces that have an image, and keeps them.

    :param make_policy: makes a workspace's placement policy; raises ConfigError.
    :param fixed: ids of the workspaces that the operator's own file has; see `Source`.
    :param leads: see `Reconciler`.
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
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._ground = ground
        self._state = state
        self._serving = serving
        self._make_policy = make_policy
        self._fixed = fixed
        self._metrics = metrics
        self._clock = clock
        self._situation: Situation | None = None
        self._deployments: dict[str, Deployment] = {}
        self._spared: Callable[[], Iterable[str]] = tuple
        self._unfit: set[str] = set()
        metrics.add_source(self.figures)
        engines = {post.key: post.engine for post in ground.posts}
        self._images = Images(engines, open_archive, login, self._pinned, clock, self._nudge)
        self._stations = {
            post.key: Station(post, ground.name, ground.interval, clock, rng, self._nudge) for post in ground.posts
        }
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
            leads=leads,
        )

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

    async def stop(self) -> None:
        """Leave everything as it is; the containers run on."""
        await self._reconciler.stop()
        for station in self._stations.values():
            try:
                await station.post.engine.close()
            except Exception as error:  # a plugin's own fault
                self.log.error("an engine was not closed: {error}", error=repr(error))

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

    # ---- what is asked of it

    async def deploy(self, workspace_id: str, fresh: bool = False) -> None:
        """Have a workspace's copies, also where it was undeployed, or where its last change failed.

        :param fresh: find out anew what its image is: a tag may have moved, an archive may hold another image.
        :raises NotFound: there is no such workspace, or none with an image.
        :raises EngineError: its image's registry cannot be asked; nothing has changed.
        :raises StoreUnavailable: it cannot be kept; nothing has changed.
        """
        deployment = self._deployment(workspace_id)
        source = deployment.recipe.source
        if fresh and not source.archive:
            awake = [key for key, station in self._stations.items() if station.up]
            await self._state.pin(source.key, Pin(await self._images.digest_of(source, awake)))
        elif fresh and source.key in self._state.pins:
            await self._state.pin(source.key, replace(self._state.pins[source.key], stale=True))
        standing = self._state.standings.get(deployment.digest, Standing())
        await self._state.stand(deployment.digest, replace(standing, suspended=False, failed="", reason=""))
        self._images.retry()
        self._reconciler.retry()
        self._nudge()

    async def undeploy(self, workspace_id: str) -> None:
        """Drain and remove a workspace's copies; its settings stay, and so do its waiting tasks.

        :raises NotFound: there is no such workspace, or none with an image.
        :raises StoreUnavailable: it cannot be kept; nothing has changed.
        """
        deployment = self._deployment(workspace_id)
        standing = self._state.standings.get(deployment.digest, Standing())
        await self._state.stand(deployment.digest, replace(standing, suspended=True))
        self._nudge()

    async def drain(self, address: str) -> None:
        """Have a node empty: its copies are placed elsewhere, and it gets no new ones, until it is undrained.

        :raises NotFound: there is no such node.
        :raises Conflict: it has no engine.
        :raises StoreUnavailable: it cannot be kept; nothing has changed.
        """
        await self._state.drain(self._node(address))
        self._nudge()

    async def undrain(self, address: str) -> None:
        """Let a node get copies again.

        :raises NotFound: there is no such node.
        :raises Conflict: it has no engine.
        :raises StoreUnavailable: it cannot be kept; nothing has changed.
        """
        await self._state.undrain(self._node(address))
        self._nudge()

    def _deployment(self, workspace_id: str) -> Deployment:
        deployment = self._deployments.get(digest_of(workspace_id))
        if deployment is None:
            raise NotFound("there is no workspace of this id that has an image to deploy")
        return deployment

    def _node(self, address: str) -> str:
        key = node_key(address)
        if key in self._stations:
            return key
        if any(node_key(node.address) == key for node, _ in self._ground.static):
            raise Conflict("this node has no engine: what runs there stands in the configuration, not in the fleet")
        raise NotFound("there is no node of this address; `ngpu nodes` shows which there are")

    def _telling(self, deployment: Deployment) -> Telling:
        now = self._now()
        refused = self._reconciler.refused.get(deployment.digest, {})
        in_flight = {
            copy_id: self._serving.in_flight(replica.workspace, copy_id) for copy_id, replica in now.served.items()
        }
        return Telling(now, deployment, self._images, refused, in_flight)

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
