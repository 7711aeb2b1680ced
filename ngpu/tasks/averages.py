"""How long the runs of workspaces take, for those who ask how long they will wait."""

from __future__ import annotations

from ngpu.metrics import Metrics
from ngpu.model import Task

WEIGHT = 0.1
"""Of the newest run in its workspace's average."""


class Averages:
    """A moving average for each workspace, of the runs of this process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._seconds: dict[str, float] = {}

    def of(self, workspace: str) -> float | None:
        """Seconds that its runs took lately; ``None`` before the first."""
        return self._seconds.get(workspace)

    def note(self, task: Task) -> None:
        """Take in a task that has ended."""
        if task.started_at is not None and task.ended_at is not None:
            metrics, label = self._metrics, self._metrics.label(task.workspace)
            metrics.wait_seconds.observe(max(0.0, task.started_at - task.submitted_at), label)
            took = task.ended_at - task.started_at
            before = self._seconds.get(task.workspace, took)
            self._seconds[task.workspace] = before + WEIGHT * (took - before)
