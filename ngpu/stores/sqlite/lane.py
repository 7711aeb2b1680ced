"""A thread of its own for one kind of work, fed from the reactor."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from ngpu.errors import StoreUnavailable

MOST_PENDING = 10_000
"""Calls that may wait for a lane; past it they are refused, since each of them holds memory."""

MOST_PENDING_BYTES = 256 * 1024 * 1024
"""Bytes that the waiting calls may hold or ask for."""

BATCH_BYTES = 4 * 1024 * 1024
"""A batch ends once it holds this many bytes: nobody else's small write waits for more than that to be synced."""

Call = Callable[[sqlite3.Connection], Any]


@dataclass(slots=True, eq=False)
class Job:
    """One call and what became of it; ``error`` decides whether ``value`` means anything."""

    call: Call
    size: int
    done: Deferred[Any] = field(default_factory=Deferred)
    value: Any = None
    error: BaseException | None = None


class Worker(Protocol):
    """What a lane's thread does with the calls that have gathered. It lives in that thread."""

    def run(self, jobs: Sequence[Job]) -> None:
        """Fill in ``value`` or ``error`` of each job."""

    def close(self) -> None:
        """Let go of what it holds."""


class Lane:
    """Runs calls in order on one thread, and fires the Deferreds of a whole batch with one wake-up of the reactor.

    A Deferred that its caller cancels fires there and then; the call runs nevertheless.

    :param name: of the thread, and in the sentence of a refusal.
    :param most: how many calls make a batch at most.
    """

    def __init__(self, name: str, reactor: IReactorFromThreads, open_worker: Callable[[], Worker], most: int) -> None:
        self._name = name
        self._reactor = reactor
        self._open_worker = open_worker
        self._most = most
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._opened: Deferred[None] = Deferred()
        self._waiting_for_end: list[Deferred[None]] = []
        self._closing = False
        self._running = False
        self._pending = 0
        self._pending_bytes = 0

    def start(self) -> Deferred[None]:
        """Start the thread; fires once its worker is open, or fails as opening that failed."""
        self._running = True
        self._thread.start()
        return self._opened

    def submit(self, call: Call, size: int = 0) -> Deferred[Any]:
        """Have ``call`` run.

        :param size: the bytes that it holds, or is going to return.
        :raises StoreUnavailable: too much waits already, or the lane was closed.
        """
        self.check_open()
        if self._pending >= MOST_PENDING or self._pending_bytes + size > MOST_PENDING_BYTES:
            raise StoreUnavailable(
                f"the {self._name} is behind by {self._pending} operations and {self._pending_bytes} bytes, "
                "as much as may wait; the disk is too slow for this load"
            )
        job = Job(call, size)
        self._pending += 1
        self._pending_bytes += size
        self._queue.put(job)
        return job.done

    def check_open(self) -> None:
        """:raises StoreUnavailable: the lane was closed, or is not open yet."""
        if self._closing or not self._running:
            raise StoreUnavailable("the task store is closed")

    def close(self) -> Deferred[None]:
        """Finish what was submitted, then end the thread."""
        if not self._running:
            return succeed(None)
        if not self._closing:
            self._closing = True
            self._queue.put(None)
        waiter: Deferred[None] = Deferred()
        self._waiting_for_end.append(waiter)
        return waiter

    # On the thread.

    def _live(self) -> None:
        try:
            worker = self._open_worker()
        except BaseException as error:
            self._reactor.callFromThread(self._has_ended, error)
            return
        self._reactor.callFromThread(self._opened.callback, None)
        try:
            while jobs := self._gather():
                try:
                    worker.run(jobs)
                except BaseException as error:  # whatever went wrong, no caller may be left waiting
                    for job in jobs:
                        job.error = error
                self._reactor.callFromThread(self._fire, jobs)
            worker.close()
        finally:
            self._reactor.callFromThread(self._has_ended)

    def _gather(self) -> list[Job]:
        """Wait for a job, then take what is there besides; empty once the lane was closed and nothing is left."""
        job = self._queue.get()
        jobs: list[Job] = []
        size = 0
        while job is not None:
            jobs.append(job)
            size += job.size
            if len(jobs) == self._most or size >= BATCH_BYTES:
                return jobs
            try:
                job = self._queue.get_nowait()
            except Empty:
                return jobs
        if jobs:
            self._queue.put(None)  # the end comes after them
        return jobs

    # On the reactor.

    def _fire(self, jobs: Sequence[Job]) -> None:
        self._pending -= len(jobs)
        self._pending_bytes -= sum(job.size for job in jobs)
        for job in jobs:
            if job.error is None:
                job.done.callback(job.value)
            else:
                job.done.errback(Failure(job.error))

    def _has_ended(self, could_not_open: BaseException | None = None) -> None:
        self._running = False
        self._thread.join()
        if could_not_open is not None:
            self._opened.errback(Failure(could_not_open))
        waiters, self._waiting_for_end = self._waiting_for_end, []
        for waiter in waiters:
            waiter.callback(None)
