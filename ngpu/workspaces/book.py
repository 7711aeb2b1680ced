"""The workspaces that there are, those of the configuration file and those made at run time, and how the latter change.

A change is durable first and then live, or it is refused and nothing has changed. It goes through even where the client
that sent it leaves. Of several gateways one changes something at a time, with a fresh look at what the others have
changed; these follow within a moment.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from ngpu.adapter import IUrlCheck
from ngpu.errors import BadSettings, Conflict, NotFound, StoreUnavailable
from ngpu.interfaces import IDocuments
from ngpu.roster import Roster
from ngpu.settings import Workspace
from ngpu.sharing import ALONE, Exclusively
from ngpu.waiting import shielded
from ngpu.workspaces.checks import Checks, MakePolicy, Read
from ngpu.workspaces.rules import Told

COLLECTION = "workspaces"
"""Of the documents: workspace id → {"settings": as they were given}, or {"removed": true} until its queue is empty."""

T = TypeVar("T")
Settings = Mapping[str, Any]


class Source(enum.StrEnum):
    """Where a workspace comes from."""

    FILE = "file"
    API = "api"


@dataclass(frozen=True)
class Entry:
    """A workspace and its settings as they were given, secrets included.

    ``workspace`` is ``None`` where they do not fit the configuration any more, and ``problems`` says why.
    """

    id: str
    source: Source
    settings: Settings
    workspace: Workspace | None
    problems: tuple[Told, ...] = ()


class Workspaces:
    """The use cases of workspaces.

    :param fixed: those of the configuration file, which nobody changes here; they are in the roster already.
    :param urls: judges where images may be loaded from.
    :param mounts: see `at_run_time`.
    :param clear: ends the queued tasks of a workspace that was removed; several gateways may do it side by side.
    :param exclusively: keeps other gateways from changing any meanwhile.
    """

    log = Logger("ngpu.workspaces")

    def __init__(
        self,
        *,
        documents: IDocuments,
        roster: Roster,
        fixed: Sequence[Settings],
        read: Read,
        make_policy: MakePolicy,
        urls: IUrlCheck,
        mounts: Sequence[str],
        clear: Callable[[str], Awaitable[None]],
        exclusively: Exclusively = ALONE.exclusively,
    ) -> None:
        self._documents = documents
        self._roster = roster
        self._checks = Checks(roster, read, make_policy, urls, mounts)
        self._clear = clear
        self._exclusively = exclusively
        self._changing = DeferredLock()
        self._unsettled: dict[str, None] = {}
        self._kept: Collection[str] = ()
        self._entries = {
            str(each["id"]): Entry(str(each["id"]), Source.FILE, each, roster.workspaces[str(each["id"])])
            for each in fixed
        }

    def entries(self) -> Sequence[Entry]:
        """All of them, those of the file first."""
        return tuple(self._entries.values())

    def broken(self) -> Sequence[str]:
        """The ids of those that do not fit the configuration any more."""
        return [entry.id for entry in self._entries.values() if entry.workspace is None]

    def get(self, workspace_id: str) -> Entry:
        """One of them.

        :raises NotFound: there is none of that id.
        """
        entry = self._entries.get(workspace_id)
        if entry is None:
            raise NotFound("there is no workspace of this id")
        return entry

    async def load(self) -> None:
        """Take up those that were made in earlier lives, once, before anything is served.

        Their settings are checked again. What does not fit the configuration any more is kept and listed with its
        problems, and stops nothing.

        :raises StoreUnavailable: the store cannot be read.
        """
        await self.look()
        for entry in self._entries.values():
            if entry.source is Source.FILE and entry.id in self._kept:
                self.log.warn("a workspace made at run time stands in the configuration file too, which holds")

    async def look(self) -> None:
        """See what other gateways have made, changed or removed.

        :raises StoreUnavailable: the store cannot be read.
        """
        await self._changing.run(Deferred.fromCoroutine, self._look())

    async def follow(self, collections: Collection[str]) -> None:
        """See it, and end what is still queued of those that are removed, should whoever removed them not have come to.

        :raises StoreUnavailable: the store cannot be read.
        """
        await self.look()
        await self.settle()

    async def settle(self) -> None:
        """End what is still queued of workspaces that were removed just before a process ended."""
        for workspace_id in tuple(self._unsettled):
            await self._changing.run(Deferred.fromCoroutine, self._settle(workspace_id))

    async def create(self, settings: Settings) -> Entry:
        """Make a workspace; it is served when this returns.

        :raises BadSettings: they cannot be used.
        :raises Conflict: there is one of that id.
        """
        await self._checks.url(settings)
        return await self._alone(partial(self._create, settings))

    async def replace(self, workspace_id: str, settings: Settings) -> Entry:
        """Change a workspace's settings, all of them; keys that it has no more open nothing when this returns.

        :param settings: may leave out the id.
        :raises NotFound: there is none of that id.
        :raises Conflict: it stands in the configuration file.
        :raises BadSettings: they cannot be used.
        """
        await self._checks.url({"id": workspace_id, **settings})
        return await self._alone(partial(self._replace, workspace_id, settings))

    async def delete(self, workspace_id: str) -> None:
        """Remove a workspace: it opens to nobody, what is queued fails, and what runs goes on to its end.

        :raises NotFound: there is none of that id.
        :raises Conflict: it stands in the configuration file.
        """
        await self._alone(partial(self._mark_removed, workspace_id), partial(self._settle, workspace_id))

    async def _alone(
        self, change: Callable[[], Awaitable[T]], afterwards: Callable[[], Awaitable[None]] | None = None
    ) -> T:
        """One change after the other, on all gateways, each to its end; what comes afterwards holds up no other one."""

        async def fresh() -> T:
            await self._look()
            return await change()

        async def whole() -> T:
            changed = await self._exclusively(COLLECTION, fresh)
            if afterwards is not None:
                await afterwards()
            return changed

        return await shielded(self._changing.run(Deferred.fromCoroutine, whole()))

    async def _create(self, settings: Settings) -> Entry:
        workspace = self._checks.settings(settings)
        if workspace.id in self._entries:
            raise Conflict("there is a workspace of this id already; PUT changes one that was made here")
        if workspace.id in self._unsettled:
            await self._clear(workspace.id)  # those tasks were another one's
            del self._unsettled[workspace.id]
        return await self._keep(workspace, settings, "made")

    async def _replace(self, workspace_id: str, settings: Settings) -> Entry:
        self._own(workspace_id)
        settings = {"id": workspace_id, **settings}
        if settings["id"] != workspace_id:
            raise BadSettings((("id", "must be the id in the address, or be left out: ids do not change"),))
        return await self._keep(self._checks.settings(settings), settings, "changed")

    async def _mark_removed(self, workspace_id: str) -> None:
        self._own(workspace_id)
        label = self._roster.labels.get(workspace_id, "")
        await self._documents.put(COLLECTION, workspace_id, {"removed": True})
        self._tell("deleted", label)
        self._let_go(workspace_id)

    def _let_go(self, workspace_id: str) -> None:
        del self._entries[workspace_id]
        self._unsettled[workspace_id] = None
        if workspace_id in self._roster.workspaces:
            self._roster.remove(workspace_id)

    async def _settle(self, workspace_id: str) -> None:
        """End what a removed workspace has left; where the store refuses, that is done later."""
        try:
            if workspace_id not in self._entries:
                await self._clear(workspace_id)
            await self._exclusively(COLLECTION, partial(self._forget, workspace_id))
        except StoreUnavailable as error:
            self.log.error("what a removed workspace has left is not settled yet: {error}", error=str(error))
        else:
            self._unsettled.pop(workspace_id, None)

    async def _forget(self, workspace_id: str) -> None:
        kept = (await self._documents.documents(COLLECTION)).get(workspace_id)
        if kept is not None and _settings(kept) is None:  # else there is another one of this id by now
            await self._documents.delete(COLLECTION, workspace_id)

    async def _keep(self, workspace: Workspace, settings: Settings, what: str) -> Entry:
        policy = self._checks.policy(workspace)
        await self._documents.put(COLLECTION, workspace.id, {"settings": settings})
        self._roster.put(workspace, policy)
        entry = self._entries[workspace.id] = Entry(workspace.id, Source.API, settings, workspace)
        self._tell(what, workspace.label)
        return entry

    def _tell(self, what: str, label: str) -> None:
        self.log.info("workspace {workspace} was {what}", journal=f"workspace_{what}", workspace=label, what=what)

    def _own(self, workspace_id: str) -> None:
        """See that a workspace may be changed here."""
        if self.get(workspace_id).source is Source.FILE:
            raise Conflict("this workspace stands in the configuration file, and is read-only here")

    async def _look(self) -> None:
        documents = await self._documents.documents(COLLECTION)
        kept = {key: settings for key, document in documents.items() if (settings := _settings(document)) is not None}
        self._kept = kept.keys()
        self._unsettled.update(dict.fromkeys(documents.keys() - kept.keys()))
        for entry in self.entries():
            if entry.source is Source.API and entry.id not in kept:
                self._let_go(entry.id)
        waiting = {key: settings for key, settings in kept.items() if self._is_new(key, settings)}
        # a key or a host may have gone from one to another: what does not fit yet may fit once the others have changed
        while waiting and (taken := [key for key, settings in waiting.items() if self._take_up(key, settings)]):
            for key in taken:
                del waiting[key]

    def _is_new(self, key: str, settings: Settings) -> bool:
        entry = self._entries.get(key)
        if entry is None or entry.workspace is None:
            return True
        return entry.source is Source.API and json.dumps(entry.settings) != json.dumps(settings)

    def _take_up(self, key: str, settings: Settings) -> bool:
        """Let in one that was made elsewhere; whether it fits."""
        try:
            workspace = self._checks.settings(settings)
            if workspace.id != key:
                raise BadSettings((("id", "is not the id that it was kept under"),))
            self._roster.put(workspace, self._checks.policy(workspace))
        except BadSettings as error:
            unfit = Entry(key, Source.API, settings, None, error.problems)
            if self._entries.get(key) != unfit:
                self.log.error(
                    "a workspace made at run time does not fit the configuration any more, and is not served: {error}",
                    journal="workspace_unfit",
                    error=str(error),
                )
            self._entries[key] = unfit
            if key in self._roster.workspaces:
                self._roster.remove(key)
            return False
        self._entries[key] = Entry(key, Source.API, settings, workspace)
        return True


def _settings(document: Mapping[str, Any]) -> Settings | None:
    """Of one that is kept; ``None`` of one that was removed."""
    settings = document.get("settings")
    return settings if isinstance(settings, dict) else None
