"""What an audit of a store looks for, and the port of the stores that can be audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from zope.interface import Interface


class Finding(NamedTuple):
    """Something that is not as it has to be.

    :ivar rule: which rule is broken, a short name.
    :ivar subject: the task, or the index.
    :ivar words: what is wrong, for people.
    :ivar lasting: whether it is wrong at any moment; else it is only where a second look, later, finds it again.
    """

    rule: str
    subject: str
    words: str
    lasting: bool = True


@dataclass(frozen=True)
class AuditPage:
    """A part of the store, looked at.

    :ivar counts: how many tasks there are by workspace and status, of this part.
    :ivar accepted: how many tasks a workspace's list of all its tasks holds, of the workspaces in this part.
    :ivar cursor: where the next part begins; ``None`` after the last.
    """

    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    accepted: Mapping[str, int] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    cursor: str | None = None


class IAudited(Interface):
    """A store that can look itself over while it is in use. Nothing is changed."""

    async def audit(cursor: str | None, now: float) -> AuditPage:
        """Look at a bounded part: each record against the indexes it has to be in, each index against the records.

        :param cursor: of the page before; ``None`` begins.
        :param now: to tell what has run for too long.
        :raises BadRequest: a cursor that this store never gave.
        :raises StoreUnavailable: it cannot be read just now.
        """


OVERDUE = 60.0
"""Seconds by which a task may outlast its timeout, and its ttl, before that is a finding: retries take time, too."""


def overdue(status: str, started_at: float | None, timeout: float, expires_at: float, now: float) -> str:
    """Why a task should not be as it is any more, "" where it may.

    Raw calls have no timeout but an idle one, and conversations one of their app; whoever calls knows.
    """
    if status == "queued" and now > expires_at + OVERDUE:
        return f"waits though its ttl was over {now - expires_at:.0f} s ago"
    if status == "running" and started_at is not None and timeout > 0 and now > started_at + 2 * timeout + OVERDUE:
        return f"has been running for {now - started_at:.0f} s, its timeout is {timeout:g} s"
    return ""
