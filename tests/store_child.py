"""A process of its own over an embedded store, for the tests that kill it or look at its memory.

``open PATH``: say why the store cannot be opened. ``large PATH``: bodies of 64 MiB; prints by how many bytes memory
grew and the reactor's longest pause in seconds. ``work PATH``: add, claim and finish tasks until killed, printing each
step once it is acknowledged: ``added ID SIZE``, ``claimed ID ATTEMPT``, ``finished ID SIZE``.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from task_stores import DONE, HERE, SlowBody, pattern, sample
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import LoopingCall, react

from ngpu.errors import ConfigError
from ngpu.model import CHUNK, Body, BytesBody
from ngpu.stores.sqlite import SqliteTaskStore

SIZES = (0, 100, CHUNK, CHUNK + 1, 3 * CHUNK)
LARGE = 256


def say(*words: object) -> None:
    """One write for a line: a killed process leaves no half of one."""
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


async def work(store: SqliteTaskStore) -> None:
    async def add(worker: int) -> None:
        number = 0
        while True:
            number += 1
            size = SIZES[(worker + number) % len(SIZES)] if number % 5 == 0 else 100
            task = sample(f"{os.getpid()}.{worker}.{number}", request_size=size)
            await store.add(task, BytesBody(pattern(size)))
            say("added", task.id, size)

    async def run() -> None:
        number = 0
        while True:
            number += 1
            task = await store.claim("w", HERE, 1001.0)
            if task is None:
                await store.expire(0.0)
                continue
            say("claimed", task.id, task.attempt)
            size = SIZES[number % len(SIZES)] if number % 5 == 0 else 100
            data = pattern(size)
            pieces = [data[start : start + CHUNK] for start in range(0, size, CHUNK)] or [b""]
            for index, piece in enumerate(pieces[:-1]):
                await store.write_result(task.id, task.attempt, index, piece)
            last = (len(pieces) - 1, pieces[-1])
            assert await store.finish(task.id, task.attempt, replace(DONE, size=size), 1002.0, last)
            say("finished", task.id, size)

    await gatherResults(
        [*(ensureDeferred(add(worker)) for worker in range(8)), *(ensureDeferred(run()) for _ in "1234")]
    )


async def large(store: SqliteTaskStore, reactor: Any) -> None:
    async def drain(body: Body) -> int:
        return sum([len(piece) async for piece in body.chunks()])

    pauses, last = [0.0], [time.monotonic()]

    def tick() -> None:
        now = time.monotonic()
        pauses.append(now - last[0])
        last[0] = now

    await store.add(sample("small", request_size=CHUNK), BytesBody(bytes(CHUNK)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ticking = LoopingCall(tick)
    ticking.clock = reactor
    ticking.start(0.002)
    size = LARGE * CHUNK
    await store.add(
        sample("t", workspace="v", request_size=size), SlowBody((os.urandom(CHUNK) for _ in range(LARGE)), size)
    )
    task = await store.claim("v", HERE, 1001.0)
    assert task is not None
    assert await drain(store.request_body(task)) == size
    for index in range(LARGE - 1):
        await store.write_result("t", 1, index, os.urandom(CHUNK))
    await store.finish("t", 1, replace(DONE, size=size), 1002.0, (LARGE - 1, os.urandom(CHUNK)))
    task = await store.get("t")
    assert task is not None
    assert await drain(store.result_body(task)) == size
    while await store.purge({}, 1003.0):
        pass
    ticking.stop()
    say((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, max(pauses))


async def main(reactor: Any, what: str, path: str) -> None:
    store = SqliteTaskStore(Path(path), reactor)
    try:
        await store.open()
    except ConfigError as error:
        say(error)
        return
    if what == "work":
        await work(store)
    elif what == "large":
        await large(store, reactor)
    await store.close()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
