"""Documents that are kept in memory, and that other gateways may have changed: whoever keeps them looks again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import StoreUnavailable
from ngpu.sharing import DOCUMENTS, INews

SOON = 0.02
"""Seconds in which what is heard is gathered into one look."""

EVERY = 5.0
"""Seconds after which it is looked again though nothing was heard; and after a look that failed, a fifth of it."""

Load = Callable[[frozenset[str]], Awaitable[None]]
"""Reads these collections anew; may raise StoreUnavailable."""


class Following:
    """Looks at collections whenever something is said of them, one look at a time, and now and then without that.

    Where one gateway has its store for itself, nothing is ever said, and it never looks.

    :ivar shared: whether there may be other gateways.
    """

    log = Logger("ngpu.sharing")

    def __init__(self, news: INews, collections: Sequence[str], load: Load, clock: IReactorTime) -> None:
        self._news = news
        self._collections = frozenset(collections)
        self._load = load
        self._clock = clock
        self._changed: set[str] = set()
        self._timer: IDelayedCall | None = None
        self._looking: Deferred[None] | None = None
        self._ends: list[Callable[[], None]] = []
        self._stopped = True
        self.shared = False

    def start(self) -> None:
        """Begin to listen; what was missed until then is looked at."""
        self._stopped = False
        for collection in sorted(self._collections):
            listener = partial(self._heard, collection)
            self._ends.append(self._news.hear(DOCUMENTS.format(collection=collection), listener))

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        for end in self._ends:
            end()
        self._ends.clear()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()

    def _heard(self, collection: str, words: str | None) -> None:
        self.shared = True
        self._changed.add(collection)
        self._look_in(SOON)

    def _look_in(self, seconds: float) -> None:
        if self._stopped or self._looking is not None:
            return
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= self._clock.seconds() + seconds:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self._look)

    def _look(self) -> None:
        changed = frozenset(self._changed) or self._collections
        self._changed.clear()
        self._looking = Deferred()  # while it takes its first steps
        looking: Deferred[None] = Deferred.fromCoroutine(self._load(changed))  # type: ignore[arg-type]
        if not looking.called:
            self._looking = looking
        looking.addBoth(self._looked, changed)

    def _looked(self, result: object, looked_at: frozenset[str]) -> None:
        self._looking = None
        if not isinstance(result, Failure):
            self._look_in(SOON if self._changed else EVERY)
            return
        if result.check(CancelledError) and self._stopped:
            return
        if result.check(StoreUnavailable):
            self.log.warn("what other gateways changed is not seen yet: {error}", error=result.getErrorMessage())
        else:
            self.log.failure("a look at what other gateways changed stumbled", failure=result)
        self._changed |= looked_at
        self._look_in(EVERY / 5)
