"""Threads for calls that block, a few for each engine, with a deadline for each call.

They are daemon threads of their own pool: one that hangs takes a place from its own engine only, and neither the
reactor nor the end of the process waits for it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from ngpu.errors import EngineUnreachable

REST = 30.0
"""Seconds after which a thread without work ends."""


class Tool(Protocol):
    """What a thread works with; made in it, and used by no other but for ``abort``."""

    def abort(self) -> None:
        """End what blocks the thread; called by another one."""

    def close(self) -> None:
        """The thread ends."""


U = TypeVar("U", bound=Tool)
T = TypeVar("T")


class _Job(Generic[U, T]):
    def __init__(self, work: Callable[[U], T], deadline: float | None) -> None:
        self.work, self.deadline = work, deadline
        self.answer: Deferred[T] = Deferred()
        self.given_up = False
        self.tool: U | None = None
        self.timer: Any = None


class Threads(Generic[U]):
    """Runs work in up to ``most`` threads; what comes beyond that waits, and its deadline runs meanwhile.

    :param reactor: IReactorTime and IReactorFromThreads.
    :param make: makes a thread's tool.
    :param name: of what is worked with, such as ``the engine at unix:///run/docker.sock``.
    """

    def __init__(self, reactor: Any, most: int, make: Callable[[], U], name: str) -> None:
        self._reactor, self._most, self._make, self._name = reactor, most, make, name
        self._lock = threading.Condition()
        self._waiting: deque[_Job[U, Any]] = deque()
        self._running: set[_Job[U, Any]] = set()
        self._threads = self._idle = 0
        self._closed = False

    def run(self, work: Callable[[U], T], deadline: float | None) -> Deferred[T]:
        """What ``work`` returns or raises. Cancelling, and the deadline, end what it waits for.

        :param deadline: seconds; ``None`` for work that has its own end.
        :raises EngineUnreachable: it took longer, or these threads are closed. The work may have been done.
        """
        job: _Job[U, T] = _Job(work, deadline)
        job.answer = Deferred(lambda _: self._give_up(job, CancelledError()))
        if self._closed:
            job.answer.errback(EngineUnreachable(f"{self._name} is closed"))
            return job.answer
        if deadline is not None:
            late = EngineUnreachable(f"{self._name} gave no answer within {deadline:g} s")
            job.timer = self._reactor.callLater(deadline, self._give_up, job, late)
        with self._lock:
            self._waiting.append(job)
            if self._idle:
                self._lock.notify()
            elif self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._serve, name=self._name, daemon=True).start()
        return job.answer

    def close(self) -> None:
        """Give up what is under way; threads end as soon as they can."""
        self._closed = True
        with self._lock:
            jobs = [*self._waiting, *self._running]
            self._lock.notify_all()
        for job in jobs:
            self._give_up(job, EngineUnreachable(f"{self._name} is closed"))

    def _give_up(self, job: _Job[U, Any], why: BaseException) -> None:
        with self._lock:
            job.given_up = True
            tool = job.tool
            if tool is not None:
                tool.abort()
        self._finish(job, Failure(why))

    def _finish(self, job: _Job[U, Any], result: Any) -> None:
        """On the reactor's thread."""
        if job.timer is not None and job.timer.active():
            job.timer.cancel()
        if not job.answer.called:
            job.answer.callback(result)

    def _serve(self) -> None:
        tool: U | None = None
        while (job := self._next()) is not None:
            try:
                tool = tool or self._make()
                result: Any = job.work(tool) if self._take(job, tool) else None
            except BaseException:
                result = Failure()
                result.cleanFailure()
            with self._lock:
                job.tool = None
                self._running.discard(job)
            self._reactor.callFromThread(self._finish, job, result)
        if tool is not None:
            tool.close()

    def _take(self, job: _Job[U, Any], tool: U) -> bool:
        """Whether it is still wanted; from now on, giving it up ends what its tool waits for."""
        with self._lock:
            job.tool = tool
            return not job.given_up

    def _next(self) -> _Job[U, Any] | None:
        with self._lock:
            while not self._closed:
                while self._waiting:
                    job = self._waiting.popleft()
                    if not job.given_up:
                        self._running.add(job)
                        return job
                self._idle += 1
                woken = self._lock.wait(REST)
                self._idle -= 1
                if not woken and not self._waiting:
                    break
            self._threads -= 1
            return None
