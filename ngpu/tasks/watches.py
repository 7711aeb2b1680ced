"""Who waits for something to happen to a task, in this process."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class Watches:
    """Deferreds by what they wait for."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._watchers: dict[str, list[Deferred[None]]] = {}

    def watch(self, what: str, seconds: float) -> Deferred[None]:
        """Fires at the next `wake`, or after so many seconds; cancelling it stops the watch."""
        watcher: Deferred[None] = Deferred()
        self._watchers.setdefault(what, []).append(watcher)
        timer = self._clock.callLater(seconds, watcher.callback, None)

        def leave(result: None) -> None:
            if timer.active():
                timer.cancel()
            watchers = self._watchers.get(what, [])
            if watcher in watchers:
                watchers.remove(watcher)
                if not watchers:
                    del self._watchers[what]
            return result

        return watcher.addBoth(leave)

    def wake(self, what: str) -> None:
        """It has happened."""
        for watcher in self._watchers.pop(what, ()):
            watcher.callback(None)

    def wake_all(self) -> None:
        """Nothing more will happen here."""
        for what in tuple(self._watchers):
            self.wake(what)
