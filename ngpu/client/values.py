"""What a client gets: tasks, nodes, and errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ENDS = frozenset(("finished", "failed", "cancelled", "expired"))


class ClientError(Exception):
    """The root of what a client raises; ``str()`` of it is a sentence."""


class Unreachable(ClientError):
    """No reply, or none of a gateway's. What was asked for may have happened."""


class Refused(ClientError):
    """The gateway answered no; the message is its own.

    :param status: of HTTP.
    :param retry_after: seconds after which another try makes sense, where it said so.
    """

    def __init__(self, message: str, status: int, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class TaskFailed(ClientError):
    """A task has ended without a result.

    :param task: as it ended.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(f"the task {task.status}" if task.status == "failed" else f"the task is {task.status}")
        self.task = task

    def __str__(self) -> str:
        return f"{super().__str__()}: {self.task.message}"


class StillRunning(ClientError):
    """A task has not ended in the time that was given to it; it goes on.

    :param task: as it was seen last.
    """

    def __init__(self, task: Task, seconds: float) -> None:
        super().__init__(f"the task is {task.status} after {seconds:g} s, and goes on: {task.id}")
        self.task = task


@dataclass(frozen=True)
class Task:
    """A task as the gateway told of it.

    ``status`` is queued, running, finished, failed, cancelled or expired. ``code`` is 200, or the status that tells how
    it failed, ``message`` the sentence to it. ``data`` is what the worker answered: a mapping (or list …) where the
    request was one and the worker answered JSON, text, or bytes where that is no text; of a task that failed what is
    known of it. ``seconds`` is how long it ran. ``queue_position`` (1 is next) and ``wait_estimate`` (seconds) are
    there while it is queued, ``progress`` while an app tells which part it is at.
    """

    id: str
    status: str
    code: int = 200
    message: str = ""
    data: Any = field(default=None, repr=False)
    seconds: int | None = None
    queue_position: int | None = None
    wait_estimate: float | None = None
    progress: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDS

    def value(self) -> Any:
        """The worker's answer.

        :raises TaskFailed: there is none, or will be none.
        """
        if self.status != "finished":
            raise TaskFailed(self)
        return self.data


@dataclass(frozen=True)
class NodeStatus:
    """A node that the workspace is on: how far it is (0 to 100), and whether it serves."""

    address: str
    progress: int
    serving: bool
