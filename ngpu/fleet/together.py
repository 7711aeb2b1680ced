"""A fleet of several gateways: each follows the documents, and the one that works on it tells the others how far it is.

Where there is but one gateway, nothing is ever heard, and nothing is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import StoreUnavailable
from ngpu.fleet.facts import Facts
from ngpu.fleet.reconciler import Reconciler
from ngpu.fleet.state import ALL, COPIES, WISHES, FleetState
from ngpu.following import Following
from ngpu.sharing import DOCUMENTS, INews

TELL = 0.5
"""Seconds after which whoever works on the fleet tells again how far it is, where that has changed."""


class Together:
    """What this gateway's fleet has to do with the others.

    :param facts: what there is to tell of deployments, by digest.
    :param changed: called when other gateways have changed something.
    """

    log = Logger("ngpu.fleet")

    def __init__(
        self,
        news: INews,
        state: FleetState,
        reconciler: Reconciler,
        facts: Callable[[], Mapping[str, Facts]],
        changed: Callable[[], None],
        clock: IReactorTime,
    ) -> None:
        self._news = news
        self._state = state
        self._reconciler = reconciler
        self._facts = facts
        self._changed = changed
        self._clock = clock
        self._following = Following(news, sorted(ALL), self._load, clock)
        self._timer: IDelayedCall | None = None
        self._telling: Deferred[None] | None = None
        self._stopped = False
        self._deaf: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin to follow."""
        self._following.start()
        self._deaf = self._news.hear(DOCUMENTS.format(collection=COPIES), self._heard)

    def stop(self) -> None:
        """Follow, and tell, no more."""
        self._stopped = True
        self._deaf()
        self._following.stop()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._telling is not None:
            self._telling.cancel()

    def _heard(self, words: str | None) -> None:
        """The store was away, and may have forgotten what whoever works on the fleet has written."""
        if words is None:
            self._reconciler.helm.doubt()
            self._reconciler.nudge()

    async def _load(self, collections: frozenset[str]) -> None:
        if self._timer is None and self._telling is None:
            self._tell_in(TELL)
        if self._reconciler.helm.held:
            collections &= WISHES  # the rest is its own
        if not collections:
            return
        before = dict(self._state.copies)
        await self._state.load(collections)
        gone = before.keys() - self._state.copies.keys()
        if gone and not self._reconciler.helm.held:
            self._reconciler.forgotten({key: before[key] for key in gone})
        self._changed()

    def _tell_in(self, seconds: float) -> None:
        if not self._stopped:
            self._timer = self._clock.callLater(seconds, self._tell)

    def _tell(self) -> None:
        self._telling = Deferred()  # while it takes its first steps
        telling = Deferred.fromCoroutine(self._tell_now())
        if not telling.called:
            self._telling = telling
        telling.addBoth(self._told)

    async def _tell_now(self) -> None:
        if self._reconciler.helm.held:
            await self._state.tell(self._facts())

    def _told(self, result: Failure | None) -> None:
        self._telling = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            if result.check(StoreUnavailable):
                self.log.warn("the others are not told how far the fleet is: {error}", error=result.getErrorMessage())
            else:
                self.log.failure("telling the others of the fleet stumbled", failure=result)
        self._tell_in(TELL)
