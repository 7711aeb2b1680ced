"""What a run asks of the place where its record is, and what it comes to."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from ngpu.errors import StoreUnavailable
from ngpu.interfaces import Last
from ngpu.model import Body, Outcome, Placement, Task
from ngpu.thawed import thawed


@thawed
@dataclass(frozen=True, slots=True)
class Ended:
    """A task after its run, and its result where there is one."""

    task: Task
    result: Body | None


class NotThere(StoreUnavailable):
    """The store has nothing of the task yet, not even that it runs."""


class Records(Protocol):
    """Where the record of a run is: a store, or what stands for one."""

    async def write_result(self, task_id: str, attempt: int, index: int, data: bytes) -> None:
        """See `ITaskStore.write_result`."""

    async def reattempt(self, task_id: str, attempt: int, placement: Placement) -> int | None:
        """See `ITaskStore.reattempt`."""

    def finish(
        self, task_id: str, attempt: int, outcome: Outcome, now: float, last: Last, hurry: bool = True
    ) -> Awaitable[bool]:
        """See `ITaskStore.finish`."""
