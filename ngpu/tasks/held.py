"""The work on tasks that is under way in this process: what is cancelled with a task, and what a stop waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from ngpu.errors import NgpuError, StoreUnavailable
from ngpu.tasks.conversation import EndedElsewhere
from ngpu.waiting import Handle

_WRITE = "/"
LOST = "this gateway was away, and others have taken over what it ran, or the store has forgotten it"
T = TypeVar("T")


class Held:
    """Runs by their task's id, and writes about tasks."""

    def __init__(self) -> None:
        self._running: dict[str, Deferred[Any] | Handle] = {}
        self._cancelled: dict[object, NgpuError] = {}  # by their work: a task that is retried runs again under its id

    def hold(self, task_id: str, work: Handle) -> None:
        """Let work that records its own end be a task's run until `let_go`: `abort` cancels it, `stop` waits for it.

        One that the task has already is aborted: the store has forgotten that it began, and both would be one attempt.
        """
        if task_id in self._running and self._running[task_id] not in self._cancelled:
            self.abort(task_id)
        self._running[task_id] = work

    def let_go(self, task_id: str, work: Handle) -> NgpuError | None:
        """The end of `hold`: why it was cancelled, where that was here.

        :returns: EndedElsewhere where the task has ended otherwise; StoreUnavailable where others have taken it over.
        """
        if self._running.get(task_id) is work:
            del self._running[task_id]
        return self._cancelled.pop(work, None)

    @property
    def running(self) -> Sequence[str]:
        """The ids of the tasks that run here."""
        return [task_id for task_id in self._running if _WRITE not in task_id]

    @property
    def known(self) -> set[str]:
        """The ids of those, and of tasks whose end or way back into the queue is being written."""
        return {each.partition(_WRITE)[0] for each in self._running}

    def abort(self, task_id: str) -> None:
        """Stop the run of a task whose record says already that it has ended."""
        running = self._running.get(task_id)
        if running is not None:
            self._cancelled.setdefault(running, EndedElsewhere())
            running.cancel()

    def lose(self) -> None:
        """Stop everything that runs: other gateways have taken it over, since this one was away."""
        for task_id in self.running:
            self._cancelled[self._running[task_id]] = StoreUnavailable(LOST)
            self._running[task_id].cancel()

    def track(self, task_id: str, what: str, work: Deferred[T]) -> Deferred[T]:
        """Let `stop` wait for some work on a task, ``what`` it is."""
        if not work.called:
            key = task_id + _WRITE + what
            self._running[key] = work

            def forget(result: Any) -> Any:
                if self._running.get(key) is work:
                    del self._running[key]
                return result

            work.addBoth(forget)
        return work
