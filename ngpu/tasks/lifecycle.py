"""How tasks begin and end, as pure functions over records."""

from __future__ import annotations

import math
from dataclasses import replace

from ngpu.changing import changed
from ngpu.errors import NgpuError
from ngpu.model import Outcome, Placement, Priority, Task, TaskStatus
from ngpu.wire.codes import status_of


def begun(task: Task, placement: Placement, now: float) -> Task:
    """A new task in its first attempt."""
    return changed(task, status=TaskStatus.RUNNING, attempt=1, placement=placement, started_at=now)


def placed(task: Task, placement: Placement, now: float) -> Task:
    """The same for a call whose client waits, which never comes into the queue."""
    return changed(task, status=TaskStatus.RUNNING, attempt=1, placement=placement, started_at=now, direct=True)


def failed(error: Exception) -> Outcome:
    """How a task ends whose call raised this; what was not raised on purpose is for the log, not for its owner."""
    reason = str(error) if isinstance(error, NgpuError) else "the gateway failed at this task; its log says why"
    return Outcome(TaskStatus.FAILED, status_of(error), reason)


def refused(outcome: Outcome, reason: str) -> Outcome:
    """How a task ends whose worker says, whatever the status of its reply, that the job failed."""
    code = outcome.worker_status if outcome.worker_status >= 400 else 502
    return replace(outcome, status=TaskStatus.FAILED, code=code, reason=reason)


def ended(task: Task, outcome: Outcome, now: float) -> Task:
    """The record of a task that ends now."""
    return changed(task, status=outcome.status, outcome=outcome, ended_at=now)


def unknown_outcome(task: Task, forgotten: bool = False) -> Outcome:
    """How a task ends that was running when the gateway stopped, and must not run twice.

    :param forgotten: whether it was the store that forgot its end instead.
    """
    what = "the store forgot what became of the task" if forgotten else "the gateway stopped while the task ran"
    where = f" on {task.placement.node_host}" if task.placement.node_host else ""
    return Outcome(
        TaskStatus.FAILED,
        503,
        f"{what}{where}, so its outcome is unknown; submit it again if running it twice does no harm",
    )


def workspace_gone() -> Outcome:
    """How a task ends that still waited when its workspace was removed."""
    return Outcome(TaskStatus.FAILED, 410, "its workspace was removed before the task could run")


def may_run_again(task: Task, retry: str) -> bool:
    """Whether a task that was running when the gateway stopped goes back into the queue."""
    return retry == "idempotent" and not task.direct


def place_of(submitted_at: float, priority: Priority, ttl: float) -> float:
    """Where a task stands in its queue: as one of normal priority that was submitted then.

    A step of priority counts like a quarter of the queue's ``ttl`` of waiting. So a task of high priority goes before
    all of normal priority that came up to a quarter of the ttl before it, and one of low priority goes before those
    that come a quarter of the ttl after it: whoever comes later, it gets its turn before it would expire.

    :param ttl: the workspace's ``queue.ttl`` in seconds.
    """
    return submitted_at - (priority - Priority.NORMAL) * ttl / 4


def patience(task: Task, ttl: float) -> float:
    """Seconds that a call whose client waits stands in the line at most: less than its timeout where it says so.

    :param ttl: the workspace's ``queue.ttl``, which is of the queue only.
    """
    own = task.expires_at - task.submitted_at
    return min(task.timeout, own) if own < ttl else task.timeout


def wait_estimate(position: int, slots: int, average: float | None) -> int | None:
    """Seconds until a queued task begins, as far as one can tell; ``None`` where one cannot.

    :param average: seconds that the workspace's calls took lately.
    """
    if average is None or slots == 0:
        return None
    return math.ceil(math.ceil(position / slots) * average)
