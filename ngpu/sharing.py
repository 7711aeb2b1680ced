"""What gateways on one store share beside the tasks: news, slots of replicas, and who leads.

A store that one gateway has for itself is `Alone`: its slots are ``None``, and nothing is asked of anybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import Interface, implementer

T = TypeVar("T")
Listener = Callable[[str | None], None]
"""Called with what was said; with ``None`` when something may have been said that was not heard, so look yourself."""

TASK, CANCEL, DOCUMENTS = "task:{id}", "cancel", "documents:{collection}"
"""Topics on which the store itself speaks: a task began, was put back or ended (its status); a run of this gateway's
was cancelled (the task's id; only this gateway hears it); documents of a collection changed ("")."""

RESTS = "rests"
"""Topic of the lines: a replica is left alone for a while, after failures.

JSON: workspace, replica, seconds that are left, rests in a row.
"""

PROGRESS = "progress"
"""Topic of the conversations: how far a job is, as JSON: the task's id, and the adapter's words ("": it is over)."""

HEALTH = "health"
"""Topic of the health checks: one found a replica up, or down. JSON: workspace, replica, up."""


class INews(Interface):
    """What is said between gateways. It may be lost, and is a reason to look, never the truth itself."""

    def say(topic: str, words: str) -> None:
        """Tell all other gateways; at once, without an answer, and lost where the store is away."""

    def hear(topic: str, listener: Listener) -> Callable[[], None]:
        """Listen to what others say, and the store.

        The listener is called with ``None`` as soon as nothing more is missed, and after each time that the connection
        was lost. It must not raise.

        :returns: ends the listening.
        """


class ISlots(Interface):
    """Slots of replicas that are counted over all gateways.

    A gateway that is gone holds none once its tasks were taken over.
    """

    def take(replica: str, slots: int) -> Deferred[bool]:
        """Take one of the replica's ``slots``; false where all are held, or are another gateway's turn.

        Whoever was refused is told by `watch` when it is worth another try. Cancelling gives back what may have been
        taken.

        :raises StoreUnavailable: nobody can tell; nothing is held.
        """

    def free(replica: str) -> None:
        """Give one back; those that this gateway does not hold, or not any more, are none."""

    def elsewhere(replica: str) -> int:
        """How many of its slots other gateways hold, as far as it is known here."""

    def watch(changed: Callable[[str], None]) -> None:
        """Call this with a replica whenever `elsewhere` of it has changed, or it is this gateway's turn."""


class ILeadership(Interface):
    """Which one of the gateways works on the fleet."""

    def leads() -> bool:
        """Whether this one does, now; no other one can at the same moment. Synchronous, and never stale."""

    def watch(changed: Callable[[], None]) -> None:
        """Call this when it has begun to lead, or ceased."""

    async def resign() -> None:
        """Lead no more, for good, so that another one begins at once; once more does nothing."""


@implementer(INews)
class _NoNews:
    def say(self, topic: str, words: str) -> None:
        """Nobody is there to hear it."""

    def hear(self, topic: str, listener: Listener) -> Callable[[], None]:
        """Nobody is there to say anything."""
        return lambda: None


@implementer(ILeadership)
class _Only:
    def leads(self) -> bool:
        """Nobody else could."""
        return True

    def watch(self, changed: Callable[[], None]) -> None:
        """It stays so."""

    async def resign(self) -> None:
        """Nobody else would begin."""


class Alone:
    """What a store says of sharing that one gateway has for itself: a part of its class."""

    news: Final[INews] = _NoNews()
    slots: Final[ISlots | None] = None
    leadership: Final[ILeadership] = _Only()

    def watch_loss(self, lost: Callable[[], None]) -> None:
        """Nobody takes over from it while it lives."""

    async def exclusively(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Nobody else does anything."""
        return await work()


class Exclusively(Protocol):
    """`IStore.exclusively`, as it is handed to whoever has no other use for the store."""

    async def __call__(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do some work while no other gateway does any of that name."""


ALONE: Final = Alone()
"""What there is to share where nobody says."""
