"""A Redis that is killed, stopped, emptied of its scripts or full: nothing that was acknowledged is lost, and nobody
waits for ever."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest
import pytest_twisted
from redis_server import KEPT, RedisServer, Start
from redis_store import eventually, keys, opened, pause
from stopwatch import Stopwatch
from store_lives import CHILD, check, work_and_be_killed
from task_stores import DONE, HERE, SlowBody, pattern, sample, whole
from twisted.internet.defer import ensureDeferred, gatherResults

from ngpu.errors import StoreUnavailable
from ngpu.listing import TaskQuery
from ngpu.model import CHUNK, BytesBody, TaskStatus
from ngpu.stores.redis import adding, again, outbox, pacing, writes

EMPTY = BytesBody()
ROUNDS = 4
STEPS = ("added", "claimed", "finished")


@pytest_twisted.ensureDeferred
async def test_redis_is_killed_under_a_gateway_that_works(start: Start) -> None:
    """The gateway goes on with the next one; then it is killed itself, and looked after."""
    server = start(*["always" if word == "everysec" else word for word in KEPT])
    rng = random.Random()
    steps: Counter[str] = Counter()
    for _ in range(ROUNDS):

        def kill_and_restart() -> None:
            time.sleep(rng.uniform(0.05, 0.3))
            server.kill9()
            server.start()

        said = work_and_be_killed(server.url, 1.0, kill_and_restart)
        steps.update(line[0] for line in said)
        await look_after(server, said)
    assert min(steps[what] for what in STEPS) > ROUNDS
    print(f"\nredis killed {ROUNDS} times with appendfsync always: {dict(steps)}, none lost")


@pytest_twisted.ensureDeferred
async def test_redis_and_its_gateway_are_killed_and_what_everysec_has_written_is_kept(start: Start) -> None:
    """What Redis answers while it waits for its disk may be lost with it, and no more than that."""
    server = start(*KEPT)
    rng = random.Random()
    steps: Counter[str] = Counter()
    for _ in range(ROUNDS):
        said = work_and_be_killed(server.url, rng.uniform(0.2, 0.6), at_last=server.kill9)
        server.start()
        steps.update(line[0] for line in said)
        await look_after(server, said)
    assert min(steps[what] for what in STEPS) > ROUNDS


async def look_after(server: RedisServer, said: list[list[str]]) -> None:
    """Whether all is there that a gateway was told is kept; what it was running is put back for the next."""
    store = await opened(server.url, lease=0.5)
    ids, orphans = await check(store, said)
    statuses = Counter([(await store.get(task_id)).status for task_id in ids])
    assert await store.queued("w") == statuses[TaskStatus.QUEUED]
    assert len(orphans) == statuses[TaskStatus.RUNNING]
    for task in orphans:
        assert await store.requeue(task.id, task.attempt)
    await store.close()


@pytest_twisted.ensureDeferred
async def test_calls_outlive_a_restart(start: Start) -> None:
    server = start()
    store = await opened(server.url)
    await store.add(sample("before"), EMPTY)
    server.kill9()
    adds = [ensureDeferred(store.add(sample(f"t{number}"), EMPTY)) for number in range(100)]
    await pause(0.2)
    assert not any(each.called for each in adds)
    server.start()
    await gatherResults(adds)
    assert await store.queued("w") == 101
    await store.close()


@pytest_twisted.ensureDeferred
async def test_nobody_waits_for_ever_and_what_was_refused_is_not_done(start: Start) -> None:
    server = start()
    store = await opened(server.url, timeout=0.6)
    await store.add(sample("a"), EMPTY)
    server.signal(signal.SIGSTOP)
    began, watch = time.monotonic(), Stopwatch()
    calls: list[Any] = [
        store.add(sample("b"), EMPTY),
        store.claim("w", HERE, 1001.0),
        store.get("a"),
        store.queued("w"),
        store.list(TaskQuery("w")),
        store.documents.documents("shelf"),
    ]
    running = [ensureDeferred(call) for call in calls]
    for call in running:
        with pytest.raises(StoreUnavailable, match="gives no answer"):
            await call
    assert watch.seconds() < 2.0
    server.signal(signal.SIGCONT)

    async def queued() -> int:
        try:
            return await store.queued("w")
        except StoreUnavailable:
            return -1

    while await queued() != 1:
        assert time.monotonic() - began < 10.0
    await store.expire(0.0)
    assert await store.get("b") is None
    assert (await store.claim("w", HERE, 1001.0)).id == "a"
    await store.close()


@pytest_twisted.ensureDeferred
async def test_an_upload_that_broke_off_while_redis_hung_can_be_made_again(start: Start) -> None:
    """As a call's record is, whose end comes after that; the first try had no way to clear up behind itself."""
    server = start()
    store = await opened(server.url, timeout=0.6)
    size = 3 * CHUNK

    async def hang(index: int) -> None:
        if index == 2:
            server.signal(signal.SIGSTOP)

    with pytest.raises(StoreUnavailable):
        await store.add(sample(request_size=size), SlowBody([bytes(CHUNK)] * 3, size, hang))
    await pause(0.8)
    server.signal(signal.SIGCONT)
    task = await store.add(sample(request_size=size), BytesBody(pattern(size)))
    assert await whole(store.request_body(task)) == pattern(size)
    assert keys(server, "ngpu:uploads") == []
    await store.close()


@pytest_twisted.ensureDeferred
async def test_an_upload_that_is_cancelled_as_it_begins_leaves_nothing(start: Start) -> None:
    server = start()
    store = await opened(server.url)
    adding = ensureDeferred(store.add(sample(request_size=CHUNK + 1), BytesBody(pattern(CHUNK + 1))))
    adding.addErrback(lambda failure: None)
    adding.cancel()
    await store.add(sample("other"), EMPTY)
    assert keys(server, "ngpu:uploads") == []
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_store_can_be_closed_while_redis_is_away(start: Start) -> None:
    server = start()
    store = await opened(server.url, timeout=0.5)
    server.signal(signal.SIGSTOP)
    adding = ensureDeferred(store.add(sample(), EMPTY))
    watch = Stopwatch()
    await store.close()
    assert watch.seconds() < 3.0
    with pytest.raises(StoreUnavailable):
        await adding
    server.signal(signal.SIGCONT)


@pytest_twisted.ensureDeferred
async def test_scripts_are_loaded_once_and_again_when_they_are_gone(start: Start) -> None:
    server = start()
    store = await opened(server.url)
    for number in range(20):
        await store.add(sample(f"t{number}"), EMPTY)
        await store.claim("w", HERE, 1001.0)

    def calls(command: str) -> int:
        stats = server.ask("INFO", "commandstats")
        lines = [line for line in stats.split("\r\n") if line.startswith(f"cmdstat_{command}:")]
        return int(lines[0].split("calls=")[1].split(",")[0]) if lines else 0

    loaded = calls("eval")
    assert loaded <= 5, "joining, leading, looking at slots, add and claim"
    server.ask("SCRIPT", "FLUSH")
    await store.add(sample("more"), EMPTY)
    await store.add(sample("and more"), EMPTY)
    assert loaded < calls("eval") <= loaded + 3, "add; others may have come by"
    assert await store.queued("w") == 2
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_redis_without_memory_takes_in_nothing_more(start: Start) -> None:
    """What is there already comes to its end all the same."""
    server = start()
    store = await opened(server.url)
    await store.add(sample("a"), EMPTY)
    task = await store.claim("w", HERE, 1001.0)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    before = sorted(keys(server))
    size = 2 * CHUNK
    for call in (
        store.add(sample("b"), EMPTY),
        store.add(sample("c", request_size=size), BytesBody(bytes(size))),
        store.write_result("a", task.attempt, 0, bytes(CHUNK)),
        store.documents.put("shelf", "k", {}),
    ):
        with pytest.raises(StoreUnavailable, match="no memory left"):
            await call
    assert sorted(keys(server)) == before
    assert await store.get("a") == task
    assert await store.finish("a", task.attempt, DONE, 1002.0, (0, b""))
    server.ask("CONFIG", "SET", "maxmemory", "0")
    await store.add(sample("b"), EMPTY)
    await store.close()


@pytest_twisted.ensureDeferred
async def test_nothing_stays_of_what_was_purged(start: Start) -> None:
    server = start()
    store = await opened(server.url)
    await eventually(store.leadership.leads, "it leads")
    empty = {*keys(server), "ngpu:number"}
    size = CHUNK + 5
    for task_id in ("a", "b"):
        task = sample(task_id, request_size=size, btc_address="bc1q")
        await store.add(task, BytesBody(bytes(size)))
        claimed = await store.claim("w", HERE, 1001.0)
        await store.write_result(task_id, claimed.attempt, 0, bytes(CHUNK))
    await store.finish("a", 1, DONE, 1002.0, (1, b"!"))
    await store.cancel("b", 1002.0)
    assert len(keys(server)) > len(empty)
    while await store.purge({}, 9e9):
        pass
    assert set(keys(server)) <= empty
    await store.close()


@pytest_twisted.ensureDeferred
async def test_answers_are_kept_for_calls_on_their_way_only(start: Start) -> None:
    server = start()
    store = await opened(server.url)
    for number in range(50):
        await store.add(sample(f"t{number}"), EMPTY)
    (answers,) = keys(server, "ngpu:answers:*")
    least = int(server.ask("HLEN", answers)[1:])
    assert least < 6, "a slot or two, and which life it is"
    await gatherResults([ensureDeferred(store.claim("w", HERE, 1001.0)) for _ in range(50)])
    assert 50 <= int(server.ask("HLEN", answers)[1:]) < 50 + least
    await store.close()


def test_large_bodies_neither_fill_the_memory_nor_hold_the_reactor(start: Start) -> None:
    """64 MiB in, 64 MiB out, in a process of its own whose memory and pauses are looked at."""
    server = start()
    command = [sys.executable, str(CHILD), "large", server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    grown, longest_pause = map(float, done.stdout.split())
    print(f"\n64 MiB in and out: memory grew by {grown / 1024**2:.1f} MiB, longest pause {longest_pause * 1000:.0f} ms")
    assert grown < 48 * 1024 * 1024
    assert longest_pause < 2.0


@pytest_twisted.ensureDeferred
async def test_a_server_that_no_longer_keeps_what_it_is_told_is_not_used_again(start: Start) -> None:
    """Its configuration was changed while the gateway ran: seen at the next connection."""
    server = start()
    store = await opened(server.url, timeout=0.5)
    server.ask("CONFIG", "SET", "appendonly", "no")
    server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def refused() -> str:
        try:
            await store.queued("w")
        except StoreUnavailable as error:
            return str(error)
        return ""

    said = ""
    while not said:
        said = await refused()
    assert "set `appendonly yes`" in said
    server.ask("CONFIG", "SET", "appendonly", "yes")
    while await refused():
        pass
    await store.close()


def test_every_script_that_writes_is_fenced() -> None:
    rooms = (adding, writes, again, outbox, pacing)
    values = [value for room in rooms for name, value in vars(room).items() if name.isupper()]
    scripts = [value for value in values if hasattr(value, "text") and value is not outbox.BACKLOGS]
    assert len(scripts) > 20
    for script in scripts:
        assert script.writes and "FENCED" in script.text and "return answer(" in script.text
