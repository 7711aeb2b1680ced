"""The workspaces that there are, those of the configuration file and those made at run time, and how the latter change.

A change is durable first and then live, or it is refused and nothing has changed. It goes through even where the client
that sent it leaves.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from ngpu.adapter import IUrlCheck
from ngpu.errors import BadRequest, BadSettings, ConfigError, Conflict, NotFound, StoreUnavailable
from ngpu.interfaces import IDocuments, ISelectionPolicy
from ngpu.roster import Roster
from ngpu.settings import Problem, Workspace, dotted
from ngpu.waiting import shielded
from ngpu.workspaces.rules import ARCHIVE, Told, at_run_time, unmasked, url_of_archive

COLLECTION = "workspaces"
"""Of the documents: workspace id → {"settings": as they were given}, or {"removed": true} until its queue is empty."""

Read = Callable[[Mapping[str, Any]], tuple[Workspace | None, Sequence[Problem]]]
"""Checks settings; see `ngpu.settings.lone_workspace`."""

MakePolicy = Callable[[Workspace], ISelectionPolicy]
"""Makes the plugin that chooses a workspace's replicas; raises ConfigError."""

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
    :param clear: ends the queued tasks of a workspace that was removed.
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
    ) -> None:
        self._documents = documents
        self._roster = roster
        self._read = read
        self._make_policy = make_policy
        self._urls = urls
        self._mounts = mounts
        self._clear = clear
        self._changing = DeferredLock()
        self._unsettled: list[str] = []
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
        for key, document in (await self._documents.documents(COLLECTION)).items():
            settings = document.get("settings")
            if not isinstance(settings, dict):
                self._unsettled.append(key)
            elif key in self._entries:
                self.log.warn("a workspace made at run time stands in the configuration file too, which holds")
            else:
                self._take_up(key, settings)

    async def settle(self) -> None:
        """End what is still queued of workspaces that were removed just before the process ended."""
        for workspace_id in self._unsettled:
            await self._alone(self._settle(workspace_id))

    async def create(self, settings: Settings) -> Entry:
        """Make a workspace; it is served when this returns.

        :raises BadSettings: they cannot be used.
        :raises Conflict: there is one of that id.
        """
        return await self._alone(self._create(settings))

    async def replace(self, workspace_id: str, settings: Settings) -> Entry:
        """Change a workspace's settings, all of them; keys that it has no more open nothing when this returns.

        :param settings: may leave out the id.
        :raises NotFound: there is none of that id.
        :raises Conflict: it stands in the configuration file.
        :raises BadSettings: they cannot be used.
        """
        return await self._alone(self._replace(workspace_id, settings))

    async def delete(self, workspace_id: str) -> None:
        """Remove a workspace: it opens to nobody, what is queued fails, and what runs goes on to its end.

        :raises NotFound: there is none of that id.
        :raises Conflict: it stands in the configuration file.
        """
        await self._alone(self._delete(workspace_id))

    async def _alone(self, change: Coroutine[Deferred[Any], Any, T]) -> T:
        """One change after the other, each to its end."""
        return await shielded(self._changing.run(Deferred.fromCoroutine, change))

    async def _create(self, settings: Settings) -> Entry:
        workspace = self._checked(settings)
        if workspace.id in self._entries:
            raise Conflict("there is a workspace of this id already; PUT changes one that was made here")
        return await self._keep(workspace, settings)

    async def _replace(self, workspace_id: str, settings: Settings) -> Entry:
        self._own(workspace_id)
        settings = {"id": workspace_id, **settings}
        if settings["id"] != workspace_id:
            raise BadSettings((("id", "must be the id in the address, or be left out: ids do not change"),))
        return await self._keep(self._checked(settings), settings)

    async def _delete(self, workspace_id: str) -> None:
        self._own(workspace_id)
        await self._documents.put(COLLECTION, workspace_id, {"removed": True})
        del self._entries[workspace_id]
        if workspace_id in self._roster.workspaces:
            self._roster.remove(workspace_id)
        await self._forget(workspace_id)

    async def _settle(self, workspace_id: str) -> None:
        there = self._entries.get(workspace_id)
        if there is None or there.source is Source.FILE:
            await self._forget(workspace_id)

    async def _forget(self, workspace_id: str) -> None:
        """End what a removed workspace has left; where the store refuses, that is done later."""
        try:
            await self._clear(workspace_id)
            await self._documents.delete(COLLECTION, workspace_id)
        except StoreUnavailable as error:
            self.log.error("what a removed workspace has left is not settled yet: {error}", error=str(error))

    async def _keep(self, workspace: Workspace, settings: Settings) -> Entry:
        url = url_of_archive(workspace)
        if url is not None:
            try:
                await self._urls.check(url, "the URL")
            except BadRequest as error:
                raise BadSettings(((ARCHIVE, str(error)),)) from None
        policy = self._policy(workspace)
        await self._documents.put(COLLECTION, workspace.id, {"settings": settings})
        self._roster.put(workspace, policy)
        entry = self._entries[workspace.id] = Entry(workspace.id, Source.API, settings, workspace)
        return entry

    def _own(self, workspace_id: str) -> None:
        """See that a workspace may be changed here."""
        if self.get(workspace_id).source is Source.FILE:
            raise Conflict("this workspace stands in the configuration file, and is read-only here")

    def _checked(self, settings: Settings) -> Workspace:
        hidden = tuple(unmasked(settings))
        workspace, problems = self._read(settings)
        told = [(dotted(problem.path), problem.told) for problem in problems]
        told = [*hidden, *(each for each in told if each[0] not in dict(hidden))]
        if workspace is not None:
            told += [*at_run_time(workspace, self._mounts), *self._shared(workspace)]
        if told or workspace is None:
            raise BadSettings(tuple(told))
        return workspace

    def _shared(self, workspace: Workspace) -> list[Told]:
        """A credential opens one workspace, and a host leads to one."""
        shared = set(self._roster.tenancy.shares(workspace))
        others = {host: other for host, other in self._roster.hosts.items() if other.id != workspace.id}
        taken = [
            (f"hosts[{index}]", "this host is another workspace's: no two may share one")
            for index, host in enumerate(workspace.hosts)
            if host in others
        ]
        if shared and not workspace.keys:
            return [("id", "is a key of another workspace: no two may share one"), *taken]
        return taken + [
            (f"keys[{index}]", "this key opens another workspace: no two may share one")
            for index, key in enumerate(workspace.keys)
            if key in shared
        ]

    def _policy(self, workspace: Workspace) -> ISelectionPolicy:
        try:
            return self._make_policy(workspace)
        except ConfigError as error:
            raise BadSettings(((dotted(("selection", *error.path)), str(error)),)) from None

    def _take_up(self, key: str, settings: Settings) -> None:
        try:
            workspace = self._checked(settings)
            if workspace.id != key:
                raise BadSettings((("id", "is not the id that it was kept under"),))
            self._roster.put(workspace, self._policy(workspace))
        except BadSettings as error:
            self._entries[key] = Entry(key, Source.API, settings, None, error.problems)
            self.log.error(
                "a workspace made at run time does not fit the configuration any more, and is not served: {error}",
                error=str(error),
            )
        else:
            self._entries[key] = Entry(key, Source.API, settings, workspace)
