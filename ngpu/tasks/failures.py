"""Telling operators of tasks that fail, without a line for each of them in a storm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ngpu.model import Outcome, Task, TaskStatus

QUIET = 1.0
"""Seconds after a failure is told of, in which others of its workspace are only counted, for the next one to tell."""

MOST = 10_000
"""Workspaces whose failures are counted so, before those are forgotten that had none lately."""

_TOO_LATE = 504


@dataclass(slots=True)
class _Quiet:
    until: float
    untold: int = 0


class Failures:
    """Logs them.

    :param label: what to call a workspace, by its id.
    """

    log = Logger("ngpu.tasks")

    def __init__(self, clock: IReactorTime, label: Callable[[str], str]) -> None:
        self._clock = clock
        self._label = label
        self._quiet: dict[tuple[str, str], _Quiet] = {}

    def note(self, task: Task, outcome: Outcome) -> None:
        """A task, or a call whose client waits, has ended so. What a worker refused its client with is not told."""
        if outcome.status is not TaskStatus.FAILED or (task.direct and outcome.code < 500):
            return
        kind = "task_timed_out" if outcome.code == _TOO_LATE else "task_failed"
        about, now = (self._label(task.workspace), kind), self._clock.seconds()
        quiet = self._quiet.get(about)
        if quiet is not None and now < quiet.until:
            quiet.untold += 1
            return
        if len(self._quiet) >= MOST:  # of workspaces that have gone, it may be
            self._quiet = {key: each for key, each in self._quiet.items() if now < each.until}
        self._quiet[about] = _Quiet(now + QUIET)
        untold = quiet.untold if quiet is not None else 0
        self.log.warn(
            "{task_id} of {workspace} failed: {reason}{others}",
            journal=kind,
            workspace=about[0],
            node=task.placement.node_address,
            task_id=task.id,
            reason=outcome.reason,
            others=f" (and {untold} more since the last one that was told of)" if untold else "",
            times=1 + untold,
        )
