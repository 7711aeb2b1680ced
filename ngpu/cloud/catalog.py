"""What the accounts have made: images, workspaces and groups, each seen by its account only. Durable."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Generic, TypeVar

from ngpu.cloud.asked import ImageAsked, WorkspaceAsked
from ngpu.errors import Conflict, NotFound
from ngpu.interfaces import IDocuments
from ngpu.sharing import ALONE, Exclusively

IMAGES, WORKSPACES, GROUPS = "cloud_images", "cloud_workspaces", "cloud_groups"
"""Collections of documents."""

ALL: Final = frozenset({IMAGES, WORKSPACES, GROUPS})

TURN = "cloud"
"""Of whoever makes something: one gateway at a time."""

MOST = 10_000
"""Things of one kind that an account may have."""

_FIRST_ID, _IDS = 10**17, 9 * 10**17

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Owned(Generic[T]):
    """Something of an account's, under an id of 18 digits; ``account`` is its key, ``made_at`` seconds of the epoch."""

    id: str
    account: str
    made_at: float
    content: T


@dataclass(frozen=True, slots=True)
class Group:
    """Workspaces that belong together, in their customer's view."""

    workspace_group_name: str


def new_id() -> str:
    """18 digits, of which nobody can guess the next: a workspace's id is its credential (wire contract §2)."""
    return str(_FIRST_ID + secrets.randbelow(_IDS))


class Shelf(Generic[T]):
    """The things of one kind, of all accounts; kept in memory and in a collection of documents."""

    def __init__(self, documents: IDocuments, collection: str, kind: Callable[..., T], noun: str) -> None:
        self._documents = documents
        self._collection = collection
        self._kind = kind
        self._noun = noun
        self._things: dict[str, Owned[T]] = {}
        self._adding: dict[str, Owned[T]] = {}
        self._changes = 0

    async def look(self) -> None:
        """Read what was kept, by this gateway or another one.

        :raises StoreUnavailable: the store cannot read.
        """
        while True:
            changes = self._changes
            kept = await self._documents.documents(self._collection)
            if changes == self._changes:
                break  # else a change of our own may be missing in it
        things = [Owned(key, each["account"], each["made_at"], self._read(each)) for key, each in kept.items()]
        self._things = {each.id: each for each in sorted(things, key=lambda each: each.made_at)} | self._adding

    def _read(self, kept: Mapping[str, Any]) -> T:
        known = {each.name for each in fields(self._kind)}  # type: ignore[arg-type]
        return self._kind(**{name: value for name, value in kept["content"].items() if name in known})

    def of(self, account: str) -> list[Owned[T]]:
        """The account's, oldest first."""
        return [each for each in self._things.values() if each.account == account]

    def get(self, account: str, id: str) -> Owned[T]:
        """One of the account's.

        :raises NotFound: there is none of that id, or it is another account's: nobody can tell which.
        """
        thing = self._things.get(id)
        if thing is None or thing.account != account:
            raise NotFound(f"you have no {self._noun} of that id")
        return thing

    @property
    def all(self) -> Iterable[Owned[T]]:
        """Those of all accounts."""
        return tuple(self._things.values())

    async def add(self, account: str, content: T, now: float, taken: Callable[[str], bool]) -> Owned[T]:
        """Keep something new. It is seen at once, and durable when this returns.

        :param taken: whether an id is in use elsewhere.
        :raises Conflict: the account has as many as it may have.
        :raises StoreUnavailable: it could not be kept, and is not there.
        """
        if len(self.of(account)) >= MOST:
            raise Conflict(f"this account has {MOST} of these: no more can be made")
        key = new_id()
        while key in self._things or taken(key):
            key = new_id()
        thing = self._things[key] = self._adding[key] = Owned(key, account, now, content)
        try:
            await self._documents.put(self._collection, key, asdict(thing))
        except BaseException:
            self._things.pop(key, None)
            raise
        finally:
            del self._adding[key]
            self._changes += 1
        return thing

    async def remove(self, id: str) -> None:
        """Forget something.

        :raises StoreUnavailable: it could not be forgotten, and is still there.
        """
        await self._documents.delete(self._collection, id)
        self._changes += 1
        self._things.pop(id, None)


class Catalog:
    """The three shelves.

    :param exclusively: see `ngpu.storing.IStore`.
    """

    def __init__(self, documents: IDocuments, exclusively: Exclusively = ALONE.exclusively) -> None:
        self._exclusively = exclusively
        self.images: Shelf[ImageAsked] = Shelf(documents, IMAGES, ImageAsked, "image")
        self.workspaces: Shelf[WorkspaceAsked] = Shelf(documents, WORKSPACES, WorkspaceAsked, "workspace")
        self.groups: Shelf[Group] = Shelf(documents, GROUPS, Group, "group")

    async def look(self, collections: Collection[str] = ALL) -> None:
        """Read what was kept, by this gateway or another one.

        :raises StoreUnavailable: the store cannot read.
        """
        for name, shelf in ((IMAGES, self.images), (WORKSPACES, self.workspaces), (GROUPS, self.groups)):
            if name in collections:
                await shelf.look()

    async def alone(self, work: Callable[[], Awaitable[R]]) -> R:
        """Make something while no other gateway does, knowing all that they have made.

        :raises StoreUnavailable: the store cannot read, or the turn did not come.
        """

        async def informed() -> R:
            await self.look()
            return await work()

        return await self._exclusively(TURN, informed)
