"""Who waits for something to happen to a task, whichever gateway it happens in."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ngpu.sharing import TASK, INews


class Watches:
    """Deferreds by the task that they wait for.

    :param news: what other gateways say.
    """

    def __init__(self, clock: IReactorTime, news: INews) -> None:
        self._clock = clock
        self._news = news
        self._watchers: dict[str, list[Deferred[None]]] = {}

    def watch(self, task_id: str, seconds: float) -> Deferred[None]:
        """Fires at the next `wake`, or after so many seconds; cancelling it stops the watch."""
        watcher: Deferred[None] = Deferred()
        self._watchers.setdefault(task_id, []).append(watcher)
        timer = self._clock.callLater(seconds, watcher.callback, None)
        deaf = self._news.hear(TASK.format(id=task_id), lambda words: self.wake(task_id))

        def leave(result: None) -> None:
            deaf()
            if timer.active():
                timer.cancel()
            watchers = self._watchers.get(task_id, [])
            if watcher in watchers:
                watchers.remove(watcher)
                if not watchers:
                    del self._watchers[task_id]
            return result

        return watcher.addBoth(leave)

    def watched(self, task_id: str) -> bool:
        """Whether somebody waits here for something to happen to it."""
        return task_id in self._watchers

    def wake(self, task_id: str) -> None:
        """Something has happened to it."""
        for watcher in self._watchers.pop(task_id, ()):
            watcher.callback(None)

    def wake_all(self) -> None:
        """Nothing more will happen here."""
        for task_id in tuple(self._watchers):
            self.wake(task_id)
