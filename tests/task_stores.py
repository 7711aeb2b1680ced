"""The task stores that the contract is run against, and tasks to put into them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ngpu.model import (
    CHUNK,
    Body,
    DataForm,
    Outcome,
    Placement,
    Task,
    TaskStatus,
    UpstreamRequest,
)
from ngpu.stores.sqlite import SqliteTaskStore
from ngpu.testing.store import MemoryTaskStore, Shelf

Opener = Callable[[], Awaitable[Any]]
"""Opens a store; once more, after it was closed, it opens one that still has what was kept."""


def memory(folder: Path, reactor: Any) -> Opener:
    shelf = Shelf()

    async def opened() -> MemoryTaskStore:
        return MemoryTaskStore(shelf)

    return opened


def sqlite(folder: Path, reactor: Any) -> Opener:
    async def opened() -> SqliteTaskStore:
        store = SqliteTaskStore(folder / "store" / "ngpu.sqlite", reactor)
        await store.open()
        return store

    return opened


BACKENDS: dict[str, Callable[[Path, Any], Opener]] = {"memory": memory, "sqlite": sqlite}

HERE = Placement("replica-1", "0xAB01", "127.0.0.1")
THERE = Placement("replica-2", "0xAB02", "127.0.0.1")
DONE = Outcome(TaskStatus.FINISHED, worker_status=200, content_type="application/json", json=True)


def sample(task_id: str = "t", **fields: Any) -> Task:
    """A task that waits in workspace "w" from 1000.0 to 2000.0, unless told otherwise."""
    request = UpstreamRequest("POST", "/run?a=1", 8080, ((b"Content-Type", b"application/json"), (b"X-Odd", b"\xff")))
    given: dict[str, Any] = {
        "workspace": "w",
        "method": "schedulingTask",
        "request": request,
        "form": DataForm.OBJECT,
        "submitted_at": 1000.0,
        "expires_at": 2000.0,
        "timeout": 300.0,
    }
    return Task(id=task_id, **{**given, **fields})


def pattern(length: int) -> bytes:
    """Bytes of which no two pieces are alike."""
    return b"".join(number.to_bytes(8, "big") for number in range(length // 8 + 1))[:length]


async def whole(body: Body) -> bytes:
    """All of a body, which must come in pieces of CHUNK bytes or less and be as long as it says."""
    pieces = [piece async for piece in body.chunks()]
    assert all(len(piece) <= CHUNK for piece in pieces)
    data = b"".join(pieces)
    assert len(data) == body.length
    return data


@dataclass
class SlowBody:
    """A body that comes in small pieces; before each, ``wait`` may say what to wait for."""

    pieces: Iterable[bytes]
    length: int
    wait: Callable[[int], Awaitable[Any]] | None = None
    given: list[int] = field(default_factory=list)

    async def chunks(self) -> AsyncIterator[bytes]:
        for index, piece in enumerate(self.pieces):
            if self.wait is not None:
                await self.wait(index)
            self.given.append(index)
            yield piece
