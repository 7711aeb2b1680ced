"""What operators may ask of the fleet, of any of its gateways: durable when it returns, and done soon after."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ngpu.errors import Conflict, NotFound
from ngpu.fleet.asks import Ask
from ngpu.fleet.ground import Ground
from ngpu.fleet.images import Images
from ngpu.fleet.state import FleetState
from ngpu.fleet.station import Station
from ngpu.fleet.wanted import Deployment, digest_of
from ngpu.model import node_key

ANEW = 2.0
"""Seconds after something was asked of a deployment in which what had failed before, as others know it, is not told."""


class Orders:
    """This part of the fleet."""

    log = Logger("ngpu.fleet")

    def __init__(
        self,
        ground: Ground,
        state: FleetState,
        stations: Mapping[str, Station],
        images: Images,
        clock: IReactorTime,
    ) -> None:
        self._ground = ground
        self._state = state
        self._stations = stations
        self._images = images
        self._clock = clock
        self._deployments: dict[str, Deployment] = {}
        self._asked_at: dict[str, float] = {}

    async def deploy(self, workspace_id: str, fresh: bool = False) -> None:
        """Have a workspace's copies, also where it was undeployed, or where its last change failed.

        :param fresh: find out anew what its image is: a tag may have moved, an archive may hold another image.
        :raises NotFound: there is no such workspace, or none with an image.
        :raises EngineError: its image's registry cannot be asked; nothing has changed.
        :raises StoreUnavailable: it cannot be kept; nothing has changed.
        """
        deployment = self._deployment(workspace_id)
        source = deployment.recipe.source
        image = ""
        if fresh and not source.archive:
            awake = [key for key, station in self._stations.items() if station.up]
            image = await self._images.digest_of(source, awake)
        await self._ask(Ask(deployment.digest, self._clock.seconds(), source=source.key if fresh else "", image=image))
        self.log.info("it was asked to deploy {workspace}", journal="deploy_begun", workspace=deployment.label)

    async def undeploy(self, workspace_id: str) -> None:
        """Drain and remove a workspace's copies; its settings stay, and so do its waiting tasks.

        :raises NotFound: there is no such workspace, or none with an image.
        :raises StoreUnavailable: it cannot be kept; nothing has changed.
        """
        deployment = self._deployment(workspace_id)
        await self._ask(Ask(deployment.digest, self._clock.seconds(), suspended=True))
        self.log.info("it was asked to undeploy {workspace}", journal="undeployed", workspace=deployment.label)

    async def _ask(self, ask: Ask) -> None:
        await self._state.ask(ask)
        self._asked_at = {key: at for key, at in self._asked_at.items() if ask.at - at < ANEW} | {ask.workspace: ask.at}
        self._nudge()

    async def drain(self, address: str) -> None:
        """Have a node empty: its copies are placed elsewhere, and it gets no new ones, until it is undrained.

        :raises NotFound: there is no such node.
        :raises Conflict: it has no engine.
        :raises StoreUnavailable: it cannot be kept; nothing has changed.
        """
        await self._state.drain(self._node(address))
        self.log.info("it was asked to drain {node}", journal="node_drained", node=address)
        self._nudge()

    async def undrain(self, address: str) -> None:
        """Let a node get copies again.

        :raises NotFound: there is no such node.
        :raises Conflict: it has no engine.
        :raises StoreUnavailable: it cannot be kept; nothing has changed.
        """
        await self._state.undrain(self._node(address))
        self.log.info("it was asked to undrain {node}", journal="node_undrained", node=address)
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

    def _is_asked_anew(self, digest: str) -> bool:
        """Whether this gateway was asked a moment ago to try again."""
        return self._clock.seconds() - self._asked_at.get(digest, -ANEW) < ANEW

    @abstractmethod
    def _nudge(self) -> None:
        """Something has changed: look at it soon."""
