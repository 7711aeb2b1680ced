"""The port of stores: what a plugin of the family ``store`` makes."""

from __future__ import annotations

from zope.interface import Attribute

from ngpu.interfaces import IDocuments, ITaskStore


class IStore(ITaskStore):
    """A task store that has to be opened. Making one does no I/O.

    One gateway has it at a time: a second one is refused while the first is there.
    """

    documents: IDocuments = Attribute("Small documents that it keeps beside the tasks.")

    async def open() -> None:
        """Take it; once, before anything else.

        :raises ConfigError: it cannot be used as it is, or another gateway has it; nothing was changed.
        :raises StoreUnavailable: it cannot be reached or written just now.
        """
