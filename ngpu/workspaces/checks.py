"""Whether the settings of a workspace that is made at run time can be used, beside all those that there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ngpu.adapter import IUrlCheck
from ngpu.errors import BadRequest, BadSettings, ConfigError
from ngpu.interfaces import ISelectionPolicy
from ngpu.roster import Roster
from ngpu.settings import Problem, Workspace, dotted
from ngpu.workspaces.rules import ARCHIVE, Told, at_run_time, unmasked, url_of_archive

Read = Callable[[Mapping[str, Any]], tuple[Workspace | None, Sequence[Problem]]]
"""Checks settings; see `ngpu.settings.lone_workspace`."""

MakePolicy = Callable[[Workspace], ISelectionPolicy]
"""Makes the plugin that chooses a workspace's replicas; raises ConfigError."""


class Checks:
    """See `ngpu.workspaces.book.Workspaces` for the parameters."""

    def __init__(
        self, roster: Roster, read: Read, make_policy: MakePolicy, urls: IUrlCheck, mounts: Sequence[str]
    ) -> None:
        self._roster = roster
        self._read = read
        self._make_policy = make_policy
        self._urls = urls
        self._mounts = mounts

    async def url(self, settings: Mapping[str, Any]) -> None:
        """See that they do not have an image loaded from where nothing may be; it takes as long as a name's look-up.

        :raises BadSettings: they do.
        """
        workspace, _ = self._read(settings)
        url = None if workspace is None else url_of_archive(workspace)
        if url is not None:
            try:
                await self._urls.check(url, "the URL")
            except BadRequest as error:
                raise BadSettings(((ARCHIVE, str(error)),)) from None

    def settings(self, settings: Mapping[str, Any]) -> Workspace:
        """What they make.

        :raises BadSettings: they cannot be used, for all of these reasons.
        """
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

    def policy(self, workspace: Workspace) -> ISelectionPolicy:
        """What chooses among its replicas.

        :raises BadSettings: the plugin is unknown or refuses its options.
        """
        try:
            return self._make_policy(workspace)
        except ConfigError as error:
            raise BadSettings(((dotted(("selection", *error.path)), str(error)),)) from None
