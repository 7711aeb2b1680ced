"""The fleet's documents in memory, each of them durable before it counts.

Those that follow from what was decided are written by the gateway that works on the fleet; the others follow them. What
operators ask for is written by whichever gateway they ask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, FirstError, gatherResults
from twisted.logger import Logger

from ngpu.errors import StoreUnavailable
from ngpu.fleet.asks import FORGOTTEN, Ask, ask_of
from ngpu.fleet.copies import Copy, Pin, Standing, copy_of, pin_of, standing_of
from ngpu.fleet.facts import Facts, facts_of_document
from ngpu.fleet.rollout import Changes
from ngpu.interfaces import IDocuments

T = TypeVar("T")
COPIES, DEPLOYMENTS, PINS, DRAINED, NODES = "copies", "deployments", "pins", "drained", "nodes"
ASKED, PROGRESS = "asked", "progress"
WISHES: Final = frozenset({ASKED, DRAINED})
"""What any gateway writes."""

ALL: Final = frozenset({COPIES, DEPLOYMENTS, PINS, DRAINED, NODES, ASKED, PROGRESS})


class FleetState:
    """What the fleet remembers across restarts.

    :param documents: what operators ask for goes there.
    :param led: what is decided goes there, which is refused where another gateway works on the fleet; ``documents``
        where there is no other.
    :ivar copies: by id.
    :ivar standings: of deployments, by the workspace's digest, as they are with what was asked of them since.
    :ivar pins: of images, by the source's key; likewise.
    :ivar drained: keys of the nodes that their operator wants empty.
    :ivar away_since: when nodes that do not answer were first missed, by the node's key.
    :ivar asked: what operators have asked for and nobody has taken up, by key and in its order.
    :ivar facts: what whoever works on the fleet tells of deployments, by the workspace's digest.
    :ivar refused: called when the store has refused what was decided.
    """

    log = Logger("ngpu.fleet")

    def __init__(self, documents: IDocuments, led: IDocuments | None = None) -> None:
        self._documents = documents
        self._led = led or documents
        self._lock = DeferredLock()
        self._changes: Counter[str] = Counter()
        self._last_key = 0
        self.copies: dict[str, Copy] = {}
        self.standings: dict[str, Standing] = {}
        self.pins: dict[str, Pin] = {}
        self.drained: set[str] = set()
        self.away_since: dict[str, float] = {}
        self.asked: dict[str, Ask] = {}
        self.facts: dict[str, Facts] = {}
        self.refused: Callable[[], None] = lambda: None
        self._kept_away: set[str] = set()
        self._reads: Final[Mapping[str, Callable[[], Coroutine[Deferred[Any], Any, None]]]] = {
            COPIES: self._read_copies,
            DEPLOYMENTS: self._read_standings,
            PINS: self._read_pins,
            DRAINED: self._read_drained,
            NODES: self._read_nodes,
            PROGRESS: self._read_facts,
        }

    async def load(self, collections: Collection[str] = ALL) -> None:
        """Read what was kept, or some of it anew.

        :raises StoreUnavailable: the store cannot be read.
        """
        await self._lock.run(Deferred.fromCoroutine, self._load(collections))

    async def _load(self, collections: Collection[str]) -> None:
        if ASKED in collections:  # first: what is taken up meanwhile is then seen in the others
            self.asked = await self._read(ASKED, lambda key, document: ask_of(document))
        reads = [Deferred.fromCoroutine(read()) for name, read in self._reads.items() if name in collections]
        try:
            await gatherResults(reads, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
        for ask in self.asked.values():
            self._show(ask)

    async def _read_copies(self) -> None:
        self.copies = await self._read(COPIES, copy_of)

    async def _read_standings(self) -> None:
        self.standings = await self._read(DEPLOYMENTS, lambda key, document: standing_of(document))

    async def _read_pins(self) -> None:
        self.pins = await self._read(PINS, lambda key, document: pin_of(document))

    async def _read_drained(self) -> None:
        self.drained = set(await self._read(DRAINED, lambda key, document: key))

    async def _read_nodes(self) -> None:
        self.away_since = await self._read(NODES, lambda key, document: float(document["away_since"]))
        self._kept_away = set(self.away_since)

    async def _read_facts(self) -> None:
        self.facts = await self._read(PROGRESS, lambda key, document: facts_of_document(document))

    async def _read(self, collection: str, made: Callable[[str, Mapping[str, Any]], T]) -> dict[str, T]:
        while True:
            changes = self._changes[collection]
            kept = await self._documents.documents(collection)
            if changes == self._changes[collection]:
                break  # else a change of our own may be missing in it
        found: dict[str, T] = {}
        for key, document in kept.items():
            try:
                found[key] = made(key, document)
            except (KeyError, TypeError, ValueError) as error:
                # a later version's: its containers are still found by their labels
                self.log.error("a document of {kept} cannot be read: {error}", kept=collection, error=repr(error))
        return found

    # ---- what is decided

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

    async def take_up(self, known: Collection[str], now: float) -> bool:
        """Bring what was asked for into what is decided; whether there was anything.

        :param known: digests of the workspaces that there are.
        :raises StoreUnavailable: some of it is not taken up yet.
        """
        taken = False
        for key, ask in tuple(self.asked.items()):
            if ask.workspace in known:
                taken = True
                standing, pin = ask.standing(self.standings.get(ask.workspace)), ask.pin(self.pins)
                await self._put(DEPLOYMENTS, self.standings, ask.workspace, standing)
                if pin is not None:
                    await self.pin(ask.source, pin)
            elif now - ask.at < FORGOTTEN:
                continue
            await self._forget(ASKED, self.asked, key)
        return taken

    async def pin(self, source: str, pin: Pin) -> None:
        """Keep what a source is pinned to."""
        await self._put(PINS, self.pins, source, pin)

    async def missed(self, node: str, now: float) -> None:
        """Keep since when a node has been away; the first time counts. To be called until the store has taken it."""
        since = self.away_since.get(node, now)
        if since > now:  # the clock was set back since
            since = now
            self._kept_away.discard(node)
        self.away_since[node] = since
        if node not in self._kept_away:
            await self._write(NODES, self._led.put(NODES, node, {"away_since": since}))
            self._kept_away.add(node)

    async def back(self, node: str) -> None:
        """A node answers again. To be called until the store has taken it."""
        self.away_since.pop(node, None)
        if node in self._kept_away:
            await self._write(NODES, self._led.delete(NODES, node))
            self._kept_away.discard(node)

    async def tell(self, facts: Mapping[str, Facts]) -> None:
        """Keep what there is to tell of deployments: all of it, and nothing else.

        :raises StoreUnavailable: not all of it is kept.
        """
        for key in self.facts.keys() - facts.keys():
            await self._forget(PROGRESS, self.facts, key)
        for key, each in facts.items():
            if self.facts.get(key) != each:
                await self._put(PROGRESS, self.facts, key, each)

    async def _put(self, collection: str, kept: dict[str, Any], key: str, value: Any) -> None:
        await self._write(collection, self._led.put(collection, key, value.document()))
        kept[key] = value

    async def _forget(self, collection: str, kept: dict[str, Any], key: str) -> None:
        await self._write(collection, self._led.delete(collection, key))
        kept.pop(key, None)

    async def _write(self, collection: str, write: Awaitable[Any]) -> None:
        self._changes[collection] += 1
        try:
            await write
        except StoreUnavailable:
            self.refused()
            raise
        finally:
            self._changes[collection] += 1

    # ---- what operators ask for

    async def ask(self, ask: Ask) -> None:
        """Keep what was asked of a deployment, and show it as if it were done."""
        self._last_key = max(self._last_key + 1, int(ask.at * 1e6))
        key = f"{self._last_key:020d}-{ask.workspace}"
        self._changes[ASKED] += 1
        try:
            await self._documents.put(ASKED, key, ask.document())
            self.asked[key] = ask
        finally:
            self._changes[ASKED] += 1
        self._show(ask)

    def _show(self, ask: Ask) -> None:
        self.standings[ask.workspace] = ask.standing(self.standings.get(ask.workspace))
        pin = ask.pin(self.pins)
        if pin is not None:
            self.pins[ask.source] = pin

    async def drain(self, node: str) -> None:
        """Keep that a node is to be empty."""
        await self._wish(self._documents.put(DRAINED, node, {}), lambda: self.drained.add(node))

    async def undrain(self, node: str) -> None:
        """Keep that a node may be used."""
        await self._wish(self._documents.delete(DRAINED, node), lambda: self.drained.discard(node))

    async def _wish(self, write: Awaitable[Any], kept: Callable[[], None]) -> None:
        self._changes[DRAINED] += 1
        try:
            await write
            kept()
        finally:
            self._changes[DRAINED] += 1
