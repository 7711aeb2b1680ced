"""Raw calls of a house, as far as their records go."""

from __future__ import annotations

from typing import Any

from gateway_rig import NO_SPOOL, House, done

from ngpu.direct import DirectCalls, LateRecord, Spool
from ngpu.model import BytesBody, Outcome, SelectionRequest, TaskStatus

FINISHED = Outcome(TaskStatus.FINISHED, 200, "", 200)


class Calls:
    """Raw calls of a house."""

    def __init__(self, spool: Spool = NO_SPOOL) -> None:
        self.house = house = House(slots=2000)
        self.direct = DirectCalls(house.store, house.runs, house.clock, house.metrics, spool)

    def end(self, *names: str) -> None:
        """Calls begin and end."""
        for name in names:
            record = self.begin(name)
            self.direct.end(record, record.task, FINISHED)

    def begin(self, name: str) -> LateRecord:
        _, record = done(self.beginning(name))
        return record

    def beginning(self, name: str) -> Any:
        house = self.house
        task = house.submission().task(name, house.clock.seconds())
        selection = SelectionRequest(house.workspace.id, 8080, "/run", ())
        return self.direct.begin(
            house.line, house.workspace, selection, task, BytesBody(), None, task.timeout, waited=False
        )

    @property
    def names(self) -> list[str]:
        return [task.id for task in self.house.tasks]

    def counted(self) -> float:
        metrics = self.house.metrics
        label = metrics.label(self.house.workspace.id)
        return sum(
            sample.value for sample in metrics.counted(metrics.tasks, label, "finished") if "total" in sample.name
        )
