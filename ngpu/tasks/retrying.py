"""Where a queued task's further tries get their slots from."""

from __future__ import annotations

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime

from ngpu.calls import NextLease
from ngpu.errors import DialFailed, NoReplica, PolicyFailed, StoreUnavailable, UpstreamError
from ngpu.leases import Lease
from ngpu.line import Line
from ngpu.model import SelectionRequest, Task
from ngpu.tasks.runs import PutBack

MOST_ATTEMPTS = 10
"""Attempts after which a task that reached no replica fails: else one for a dead port would stand first for ever."""


def next_leases(line: Line, task: Task, affinity: str, timeout: float, clock: IReactorTime) -> NextLease:
    """Slots for further tries of a task, none of them later than ``timeout`` seconds after it had to wait for one.

    A task that reached no replica does not wait for another one but goes back into the queue. One that was sent
    stays, since how often that happened is not known any more once it is back.
    """
    sent = False
    until: float | None = None

    async def next_lease(error: UpstreamError) -> Lease | None:
        nonlocal sent, until
        sent = sent or not isinstance(error, DialFailed)
        asked = task.request
        request = SelectionRequest(task.workspace, asked.port, asked.target, asked.headers, affinity)
        try:
            lease = await line.slot_now(request)
        except (PolicyFailed, StoreUnavailable):
            lease = None
        if lease is not None:
            return lease
        if not sent:
            if task.attempt >= MOST_ATTEMPTS:
                return None
            raise PutBack(str(error))
        until = clock.seconds() + timeout if until is None else until
        left = until - clock.seconds()
        if left <= 0:
            return None
        try:
            return await line.slot(request, None).addTimeout(left, clock)
        except (defer.TimeoutError, PolicyFailed, StoreUnavailable):
            return None
        except NoReplica as stopping:
            raise PutBack(str(stopping)) from None

    return next_lease
