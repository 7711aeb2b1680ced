"""An operator's audit: the store's own look at itself, and at what waits though replicas are free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ngpu.auditing import AuditPage, Finding
from ngpu.line import Line
from ngpu.member import Health, Member
from ngpu.storing import IStore

IDLE = 5.0
"""Seconds for which a replica has to have been idle, before it is a finding that tasks wait for it."""


class Auditor:
    """Pages of an audit.

    :param lines: by workspace id, live.
    :param clock: an ``IReactorTime``.
    """

    def __init__(self, store: IStore, lines: Mapping[str, Line], clock: Any) -> None:
        self._store = store
        self._lines = lines
        self._clock = clock

    async def page(self, cursor: str | None) -> AuditPage:
        """A part of the store; with the first one, what waits though it need not.

        :raises BadRequest: a cursor that this store never gave.
        :raises StoreUnavailable: it cannot be read just now.
        """
        page = await self._store.audit(cursor, self._clock.seconds())
        return replace(page, findings=(*page.findings, *await self._idle())) if cursor is None else page

    async def _idle(self) -> list[Finding]:
        found = []
        for workspace, line in tuple(self._lines.items()):
            idle = [replica for replica, member in line.pool.members.items() if self._free(line, replica, member)]
            if idle and (waiting := await self._store.queued(workspace)):
                words = f"{waiting} tasks wait, and {len(idle)} replicas are free and idle: {', '.join(sorted(idle))}"
                found.append(Finding("stuck", f"queue of {workspace}", words, lasting=False))
        return found

    def _free(self, line: Line, replica: str, member: Member) -> bool:
        now = self._clock.seconds()
        return (
            member.health is Health.UP
            and not member.draining
            and member.in_flight == 0
            and member.resting_until <= now
            and (member.last_used is None or now - member.last_used > IDLE)
            and (self._store.slots is None or self._store.slots.elsewhere(replica) == 0)
            and line.pool.serves(member)
        )
