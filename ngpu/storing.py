"""The port of stores: what a plugin of the family ``store`` makes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from zope.interface import Attribute

from ngpu.auditing import IAudited
from ngpu.interfaces import IDocuments, ITaskStore
from ngpu.sharing import ILeadership, INews, ISlots

T = TypeVar("T")


class IStore(ITaskStore, IAudited):
    """A task store that has to be opened. Making one does no I/O.

    Either one gateway has it at a time, and a second one is refused while the first is there; or several share it, each
    with an instance of its own.
    """

    documents: IDocuments = Attribute("Small documents that it keeps beside the tasks.")
    led_documents: IDocuments = Attribute("The same; what changes them is refused where this gateway does not lead.")
    news: INews = Attribute("What the gateways that share it say to each other.")
    slots: ISlots | None = Attribute("Slots of replicas that they share; None where there is but one gateway.")
    leadership: ILeadership = Attribute("Which of them works on the fleet.")

    async def open() -> None:
        """Take it; once, before anything else.

        :raises ConfigError: it cannot be used as it is, or another gateway has it; nothing was changed.
        :raises StoreUnavailable: it cannot be reached or written just now.
        """

    def watch_loss(lost: Callable[[], None]) -> None:
        """Call this when other gateways have counted this one as gone, and have taken over what it was running.

        It has joined them anew by then: what it runs is not its own any more, and what it begins from now on is.
        """

    async def exclusively(name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do some work while no other gateway does any of that name; what it gives or raises.

        It has to be short: a gateway that pauses in it for longer than its lease may find that another one went on.

        :raises StoreUnavailable: the turn did not come in time, or nobody can tell.
        """
