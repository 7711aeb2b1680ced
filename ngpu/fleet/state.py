"""The fleet's documents in memory, each of them durable before it counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from ngpu.errors import StoreUnavailable
from ngpu.fleet.copies import Copy, Pin, Standing, copy_of, pin_of, standing_of
from ngpu.fleet.rollout import Changes
from ngpu.interfaces import IDocuments

T = TypeVar("T")
COPIES, DEPLOYMENTS, PINS, DRAINED, NODES = "copies", "deployments", "pins", "drained", "nodes"


class FleetState:
    """What the fleet remembers across restarts.

    :ivar copies: by id.
    :ivar standings: of deployments, by the workspace's digest.
    :ivar pins: of images, by the source's key.
    :ivar drained: keys of the nodes that their operator wants empty.
    :ivar away_since: when nodes that do not answer were first missed, by the node's key.
    """

    log = Logger("ngpu.fleet")

    def __init__(self, documents: IDocuments) -> None:
        self._documents = documents
        self.copies: dict[str, Copy] = {}
        self.standings: dict[str, Standing] = {}
        self.pins: dict[str, Pin] = {}
        self.drained: set[str] = set()
        self.away_since: dict[str, float] = {}
        self._kept_away: set[str] = set()

    async def load(self) -> None:
        """Read what was kept.

        :raises StoreUnavailable: the store cannot be read.
        """
        self.copies = await self._read(COPIES, copy_of)
        self.standings = await self._read(DEPLOYMENTS, lambda key, document: standing_of(document))
        self.pins = await self._read(PINS, lambda key, document: pin_of(document))
        self.drained = set(await self._documents.documents(DRAINED))
        self.away_since = await self._read(NODES, lambda key, document: float(document["away_since"]))
        self._kept_away = set(self.away_since)

    async def _read(self, collection: str, made: Callable[[str, Mapping[str, Any]], T]) -> dict[str, T]:
        found: dict[str, T] = {}
        for key, document in (await self._documents.documents(collection)).items():
            try:
                found[key] = made(key, document)
            except (KeyError, TypeError, ValueError) as error:
                # a later version's: its containers are still found by their labels
                self.log.error("a document of {kept} cannot be read: {error}", kept=collection, error=repr(error))
        return found

    async def keep(self, changes: Changes) -> bool:
        """Make changes durable, side by side; what the store refuses is as if it had not been decided.

        :returns: whether any of them was kept.
        """
        writes = [
            *(self._put(COPIES, self.copies, copy.id, copy) for copy in changes.put.values()),
            *(self._forget(COPIES, self.copies, copy_id) for copy_id in changes.forget),
            *(self._put(DEPLOYMENTS, self.standings, key, each) for key, each in changes.standings.items()),
            *(self._forget(DEPLOYMENTS, self.standings, key) for key in changes.drop),
            *(self._forget(PINS, self.pins, key) for key in changes.unpin),
        ]
        tries: list[Deferred[Any]] = [Deferred.fromCoroutine(self._tried(write)) for write in writes]
        return any(await gatherResults(tries, consumeErrors=True))

    async def _tried(self, write: Awaitable[None]) -> bool:
        try:
            await write
        except StoreUnavailable as error:
            self.log.error("the fleet's plan is not kept: {error}", error=str(error))
            return False
        return True

    async def stand(self, workspace: str, standing: Standing) -> None:
        """Keep how a deployment stands.

        :param workspace: its digest.
        """
        await self._put(DEPLOYMENTS, self.standings, workspace, standing)

    async def pin(self, source: str, pin: Pin) -> None:
        """Keep what a source is pinned to."""
        await self._put(PINS, self.pins, source, pin)

    async def drain(self, node: str) -> None:
        """Keep that a node is to be empty."""
        await self._documents.put(DRAINED, node, {})
        self.drained.add(node)

    async def undrain(self, node: str) -> None:
        """Keep that a node may be used."""
        await self._documents.delete(DRAINED, node)
        self.drained.discard(node)

    async def missed(self, node: str, now: float) -> None:
        """Keep since when a node has been away; the first time counts. To be called until the store has taken it."""
        since = self.away_since.setdefault(node, now)
        if node not in self._kept_away:
            await self._documents.put(NODES, node, {"away_since": since})
            self._kept_away.add(node)

    async def back(self, node: str) -> None:
        """A node answers again. To be called until the store has taken it."""
        self.away_since.pop(node, None)
        if node in self._kept_away:
            await self._documents.delete(NODES, node)
            self._kept_away.discard(node)

    async def _put(self, collection: str, kept: dict[str, Any], key: str, value: Any) -> None:
        await self._documents.put(collection, key, value.document())
        kept[key] = value

    async def _forget(self, collection: str, kept: dict[str, Any], key: str) -> None:
        await self._documents.delete(collection, key)
        kept.pop(key, None)
