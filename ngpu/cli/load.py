"""Load on a workspace: many connections that call one after another, and what they have met."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ngpu.client import ClientError, Refused, TaskFailed, Unreachable

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
SHORT_PAUSE = 0.05
"""Seconds that a connection waits after an error, so that a gateway that refuses is not asked in a tight loop."""

Call = Callable[[], Awaitable[None]]
"""One call; raises `ClientError` where it did not come about."""


@dataclass
class Tally:
    """What has come of calls so far: seconds of each that came about, and how many did not, by kind."""

    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    began: float = 0.0
    ended: float = 0.0

    @property
    def calls(self) -> int:
        """All of them."""
        return len(self.seconds) + self.errors.total()

    def report(self) -> dict[str, Any]:
        """In numbers: calls a second, milliseconds."""
        took = max(self.ended - self.began, 1e-9)
        times = sorted(self.seconds)
        shown = {f"p{each:g}": _ms(percentile(times, each)) for each in PERCENTILES} if times else {}
        edges = {"min": _ms(times[0]), "mean": _ms(sum(times) / len(times)), "max": _ms(times[-1])} if times else {}
        return {
            "seconds": round(took, 3),
            "calls": self.calls,
            "succeeded": len(times),
            "per_second": round(len(times) / took, 2),
            "milliseconds": {**edges, **shown},
            "errors": dict(self.errors.most_common()),
        }


async def load(call: Call, connections: int, tally: Tally, duration: float | None, number: int | None) -> None:
    """Call over so many connections, for so many seconds or until there were so many calls.

    What was begun in time is waited for. Cancelling it ends the calls that run.
    """
    tally.began = tally.ended = time.monotonic()
    until = None if duration is None else tally.began + duration
    left = number if number is not None else 1 << 62

    async def work() -> None:
        nonlocal left
        while left > 0 and (until is None or time.monotonic() < until):
            left -= 1
            began = time.monotonic()
            try:
                await call()
            except ClientError as error:
                tally.errors[kind_of(error)] += 1
                await asyncio.sleep(SHORT_PAUSE)
            else:
                tally.seconds.append(time.monotonic() - began)
            tally.ended = time.monotonic()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(work())


def kind_of(error: ClientError) -> str:
    """Errors of one kind have the same words: no ids, no numbers that change."""
    if isinstance(error, Refused):
        return f"refused (HTTP {error.status})"
    if isinstance(error, TaskFailed):
        return f"{error.task.status} ({error.task.code})"
    if isinstance(error, Unreachable):
        return str(error).partition(": ")[2] or str(error)
    return str(error)


def percentile(times: Sequence[float], percent: float) -> float:
    """Of times in order, the least that so many of a hundred do not exceed (nearest rank)."""
    return times[max(0, math.ceil(len(times) * percent / 100) - 1)]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
