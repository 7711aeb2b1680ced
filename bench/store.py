"""What a task store takes: writes a second, and how long its questions last with many tasks.

    python bench/store.py --rows 1000000 --queued 100000
    python bench/store.py --redis everysec --rows 100000 --queued 100000

Files are made in a new folder below ``--folder`` (the disk that is measured) and removed afterwards. ``--redis`` starts
a redis-server with that appendfsync there; ``--url`` measures one that runs already.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import react

from ngpu.listing import TaskQuery
from ngpu.model import CHUNK, BytesBody, DataForm, Outcome, Placement, Task, TaskStatus, UpstreamRequest
from ngpu.stores.redis import RedisOptions, RedisTaskStore, address_of
from ngpu.stores.redis.endpoint import endpoint_of
from ngpu.stores.redis.wire import WireFactory
from ngpu.stores.sqlite import SqliteTaskStore

KIB = BytesBody(b"x" * 1024)
DONE = Outcome(TaskStatus.FINISHED, worker_status=200, content_type="application/json", size=1024)
NODES = [Placement(f"replica-{number}", f"0x{number:040x}", "127.0.0.1") for number in range(16)]
FILL_IN_FLIGHT = 256


def tasks(workspace: str, count: int, **fields: Any) -> Iterator[Task]:
    """Tasks as the gateway makes them, a tenth of a second apart."""
    request = UpstreamRequest("POST", "/sdapi/v1/img2img", 8080, ((b"Content-Type", b"application/json"),))
    for number in range(count):
        yield Task(
            id=f"20261123_10_00_00_{number:026}.{workspace}",
            workspace=workspace,
            method="schedulingTask",
            request=request,
            form=DataForm.OBJECT,
            submitted_at=1_700_000_000 + number / 10,
            expires_at=9e9,
            timeout=300.0,
            request_url="/user/schedulingTask?paramUrl=sdapi/v1/img2img&paramPort=8080",
            request_size=KIB.length,
            btc_address=f"bc1q{number % 1000:038}",
            client_ip="127.0.0.1",
            user_key="0123456789abcdef",
            **fields,
        )


async def each(items: Iterator[Any], call: Callable[[Any], Awaitable[Any]], in_flight: int) -> None:
    """Call with every item, ``in_flight`` at a time."""

    async def one_after_the_other() -> None:
        for item in items:
            await call(item)

    await gatherResults([ensureDeferred(one_after_the_other()) for _ in range(in_flight)])


def row(what: str, figure: float, unit: str) -> None:
    """A line of the table."""
    print(f"{what:<58} {figure:>12,.2f} {unit}", flush=True)


async def rate(what: str, count: int, doing: Awaitable[Any]) -> None:
    """How many a second."""
    begun = time.perf_counter()
    await doing
    row(what, count / (time.perf_counter() - begun), "/s")


async def duration(what: str, call: Callable[[], Awaitable[Any]], times: int = 200) -> None:
    """The median and the 99th percentile of a question asked again and again."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - begun) * 1000)
    row(f"{what}, p50", statistics.median(taken), "ms")
    row(f"{what}, p99", statistics.quantiles(taken, n=100)[98], "ms")


async def writes(store: Any, count: int) -> None:
    """Acknowledged writes a second."""

    async def add(task: Task) -> None:
        await store.add(task, KIB, 1_000_000)

    async def whole_life(task: Task) -> None:
        await store.add(task, KIB, 1_000_000)
        claimed = await store.claim(task.workspace, NODES[0], 1_700_000_000.0)
        assert claimed is not None
        assert await store.finish(claimed.id, claimed.attempt, DONE, 1_700_000_001.0, (0, KIB.data))

    await rate("add, one by one", count // 10, each(tasks("alone", count // 10), add, 1))
    await rate("add, 64 in flight", count, each(tasks("many", count), add, 64))
    before = _commits(store)
    await rate("add + claim + finish with 1 KiB, 64 in flight", count, each(tasks("lives", count), whole_life, 64))
    after = _commits(store)
    if before is not None and after is not None:
        row("  operations a commit", (after[1] - before[1]) / (after[0] - before[0]), "")


def _commits(store: Any) -> tuple[int, int] | None:
    """Commits and what they made durable, where a store counts them."""
    return (store.commits, store.operations) if isinstance(store, SqliteTaskStore) else None


async def streams(store: Any) -> None:
    """A result of 64 MiB, in and out."""
    size, piece = 64 * 1024**2, bytes(CHUNK)
    count = size // CHUNK
    await store.add(next(tasks("stream", 1)), KIB)
    task = await store.claim("stream", NODES[0], 1_700_000_000.0)
    begun = time.perf_counter()
    for index in range(count - 1):
        await store.write_result(task.id, task.attempt, index, piece)
    await store.finish(task.id, task.attempt, replace(DONE, size=size), 1_700_000_001.0, (count - 1, piece))
    row("result of 64 MiB, in", 64 / (time.perf_counter() - begun), "MiB/s")
    begun = time.perf_counter()
    async for _ in store.result_body(await store.get(task.id)).chunks():
        pass
    row("result of 64 MiB, out", 64 / (time.perf_counter() - begun), "MiB/s")


async def lists(store: Any, rows: int) -> None:
    """Questions about a workspace of many ended tasks."""

    async def add(task: Task) -> None:
        await store.add(replace(task, placement=NODES[hash(task.id) % len(NODES)]), KIB)

    ended = tasks("history", rows, status=TaskStatus.FINISHED, ended_at=1_800_000_000.0, outcome=DONE)
    await rate(f"filling in {rows:,} ended tasks", rows, each(ended, add, FILL_IN_FLIGHT))
    middle = 1_700_000_000 + rows / 20
    last = 1_700_000_000 + rows / 10 - 150
    queries = {
        "first page of 1000": TaskQuery("history"),
        "page of 1000 from the middle": TaskQuery("history", start=middle),
        "last page of 1000": TaskQuery("history", start=last),
        "page of 1000 of a node": TaskQuery("history", node=NODES[3].node_address, start=middle),
        "page of 1000 of an address": TaskQuery("history", btc_address=f"bc1q{7:038}"),
        "page of 1000 of an address at a node": TaskQuery(
            "history", btc_address=f"bc1q{7:038}", node=NODES[3].node_address
        ),
    }
    for what, query in queries.items():
        await duration(what, lambda query=query: store.list(query))  # type: ignore[misc]
    first = await store.list(TaskQuery("history"))
    await duration("page of 1000 after a cursor", lambda: store.list(TaskQuery("history", cursor=first.next_cursor)))
    await duration("get", lambda: store.get(first.ids[-1]))


async def queue(store: Any, queued: int) -> None:
    """Questions about a long queue."""
    added: list[Task] = []

    async def add(task: Task) -> None:
        added.append(await store.add(task, KIB))

    await each(tasks("queue", queued), add, FILL_IN_FLIGHT)
    last = added[-1]
    await duration(f"queue_position, last of {queued:,}", lambda: store.queue_position(last))
    await duration(f"queued, of {queued:,}", lambda: store.queued("queue"))
    await duration(f"claim, from {queued:,}", lambda: store.claim("queue", NODES[0], 1_700_000_000.0))


async def measure_redis(reactor: Any, options: argparse.Namespace, url: str) -> None:
    """All of it, in a Redis, under a prefix of its own; its keys are purged afterwards."""
    store = RedisTaskStore(address_of(url), reactor, RedisOptions(prefix="ngpu-bench", timeout=30.0))
    await store.open()
    await writes(store, options.writes)
    await streams(store)
    before = await memory(reactor, url)
    await lists(store, options.rows)
    row("memory of one ended task with 1 KiB", (await memory(reactor, url) - before) / options.rows, "bytes")
    await queue(store, options.queued)
    await rate("purge of ended tasks", options.rows, purged(store))
    await store.close()


async def purged(store: Any) -> None:
    """Everything that has ended."""
    while await store.purge({}, 9e9):
        pass


async def memory(reactor: Any, url: str) -> int:
    """The bytes that a Redis uses."""
    wire: Any = await endpoint_of(address_of(url), reactor, None, 5.0).connect(WireFactory())
    info: bytes = await wire.execute_command("INFO", "memory")
    wire.cut()
    return int(dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)[b"used_memory"])


async def own_redis(reactor: Any, options: argparse.Namespace) -> None:
    """A redis-server for the time of the measurement."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        socket = Path(folder) / "redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", folder, "--save", ""]
        durable = ["--appendonly", "yes", "--appendfsync", options.redis]
        server = subprocess.Popen([*command, *durable], stdout=subprocess.DEVNULL)
        try:
            await measure_redis(reactor, options, f"unix://{socket}")
        finally:
            server.terminate()
            server.wait()


async def measure(reactor: Any, options: argparse.Namespace) -> None:
    """All of it, in a file of its own."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "bench.sqlite"
        store = SqliteTaskStore(path, reactor)
        await store.open()
        await writes(store, options.writes)
        await streams(store)
        await lists(store, options.rows)
        await queue(store, options.queued)
        begun = time.perf_counter()
        count = await store.purge({}, 9e9)
        row(f"purge of a batch of {count}", (time.perf_counter() - begun) * 1000, "ms")
        await store.close()
        row("size of the file", path.stat().st_size / 1024**2, "MiB")
        begun = time.perf_counter()
        store = SqliteTaskStore(path, reactor)
        await store.open()
        await store.orphans()
        row("opening that file, with orphans()", (time.perf_counter() - begun) * 1000, "ms")
        await store.close()


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="where to make the file (default: the system's folder for such)")
    parser.add_argument("--writes", type=int, default=20_000, help="tasks to write in each of the write tests")
    parser.add_argument("--rows", type=int, default=1_000_000, help="ended tasks to page through")
    parser.add_argument("--queued", type=int, default=100_000, help="waiting tasks")
    parser.add_argument("--redis", choices=["everysec", "always", "no"], help="start a redis-server, and measure that")
    parser.add_argument("--url", help="of a Redis that runs: measure that")
    options = parser.parse_args()

    def work(reactor: Any) -> Any:
        if options.url:
            return Deferred.fromCoroutine(measure_redis(reactor, options, options.url))
        return Deferred.fromCoroutine((own_redis if options.redis else measure)(reactor, options))

    react(work)


if __name__ == "__main__":
    main()
