"""Webhooks that are still to be delivered: the value, and the port of those who keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from zope.interface import Interface


class Webhook(NamedTuple):
    """The end of a task, of which its ``webhook`` is to be told.

    ``end`` counts the ends of the task (its ``retries``), ``tries`` the deliveries that were begun, this one included.
    """

    workspace: str
    task_id: str
    end: int
    tries: int

    @property
    def id(self) -> str:
        """The same for each try of this end, and for no other."""
        return f"{self.task_id}.{self.end}"


class Backlog(NamedTuple):
    """How many webhooks of a workspace wait to be delivered, and how many were given up."""

    pending: int
    dead: int


class IOutbox(Interface):
    """Webhooks of ended tasks.

    Each task that has a ``webhook`` comes in here with its end, in one with it: whatever ended it, and due at once. A
    retry of the task takes it out again, and so does its purge, which waits for those that are pending.
    """

    async def take_webhooks(
        now: float, until: float, room: int, most: int, busy: Mapping[str, int]
    ) -> Sequence[Webhook]:
        """Begin the delivery of those that are due, the longest due of each workspace first.

        Workspaces with fewer under way, these included, come before those with more: of eight whose receivers hang and
        for which thousands wait, each place that gets free would be theirs again.

        They are due again at ``until``, in case nobody says before that what became of them.

        :param room: how many at most.
        :param most: how many any one workspace may have under way.
        :param busy: how many each workspace has under way already.
        """

    async def webhook_delivered(webhook: Webhook) -> None:
        """It need not be delivered any more."""

    async def webhook_failed(webhook: Webhook, due_at: float | None) -> bool:
        """Have it tried again at that time; ``None`` gives it up: it is counted until its task is retried or purged.

        :returns: false, and nothing changed, when another try of it has begun since, or it is gone.
        """

    async def webhooks() -> Mapping[str, Backlog]:
        """Of each workspace that has any."""
