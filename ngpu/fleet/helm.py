"""Who works on the fleet: one gateway at a time, and only with what all of them knew when it began."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.logger import Logger

from ngpu.errors import StoreUnavailable
from ngpu.sharing import ILeadership


class Helm:
    """Whether it is this gateway, now.

    :param learn: reads everything anew that other gateways may have changed; may raise StoreUnavailable.
    :param changed: called when it has begun or ceased.
    """

    log = Logger("ngpu.fleet")

    def __init__(
        self, leadership: ILeadership, learn: Callable[[], Awaitable[None]], changed: Callable[[], None]
    ) -> None:
        self._leadership = leadership
        self._learn = learn
        self._changed = changed
        self._term = 0
        self._learnt = -1
        self._doubts = False
        leadership.watch(self._turned)

    @property
    def held(self) -> bool:
        """Whether this gateway may change the fleet. Synchronous: to be asked again before each change."""
        return self._learnt == self._term and self._leadership.leads()

    @property
    def certain(self) -> bool:
        """Whether it knows, too, what all its documents say.

        One that was refused may have been written, and a store that was away may have forgotten some.
        """
        return self.held and not self._doubts

    def term(self) -> Callable[[], bool]:
        """Whether this gateway may still go on with what it has begun now; not after another one was at it."""
        term = self._term
        return lambda: term == self._term and self.held

    def doubt(self) -> None:
        """What is kept may be something else: it has to be read again before anything else is decided."""
        self._doubts = True

    async def take(self) -> None:
        """Be ready to work, where this gateway leads."""
        if not self._leadership.leads():
            self._lose()
            return
        term = self._term
        if self._learnt == term and not self._doubts:
            return
        try:
            self._doubts = False
            await self._learn()
        except StoreUnavailable as error:
            self._doubts = True
            self.log.error("the fleet's documents cannot be read: {error}", error=str(error))
        else:
            self._learnt = term

    def _lose(self) -> None:
        if self._learnt == self._term:
            self._term += 1

    def _turned(self) -> None:
        self._term += 1
        self._changed()
