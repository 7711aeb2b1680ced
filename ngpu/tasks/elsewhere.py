"""What other gateways do to the runs of this one: they cancel them, and take them over while it is away."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ngpu.errors import StoreUnavailable
from ngpu.model import TaskStatus
from ngpu.sharing import CANCEL
from ngpu.storing import IStore
from ngpu.tasks.runs import Runs


class Elsewhere:
    """Stops runs that are not this gateway's any more; to be made before the store is opened."""

    log = Logger("ngpu.tasks")

    def __init__(self, store: IStore, runs: Runs) -> None:
        self._store = store
        self._runs = runs
        store.watch_loss(runs.lose)
        store.news.hear(CANCEL, self._cancelled)

    def _cancelled(self, task_id: str | None) -> None:
        if task_id is not None:
            self._runs.abort(task_id)
        elif self._runs.running:
            Deferred.fromCoroutine(self._look()).addErrback(lambda failure: failure.trap(StoreUnavailable))

    async def _look(self) -> None:
        """Some may have been cancelled unheard."""
        for task_id in self._runs.running:
            task = await self._store.get(task_id)
            if task is not None and task.status is TaskStatus.CANCELLED:
                self._runs.abort(task_id)
