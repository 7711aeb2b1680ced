"""A Redis that has forgotten what it had answered: killed with its disk behind, or a replica that took over."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted
from redis_server import Start
from redis_store import eventually, keys, opened, pause
from task_stores import DONE, HERE, SlowBody, pattern, sample, whole

from ngpu.errors import ResultLost, StoreUnavailable
from ngpu.model import CHUNK, BytesBody, TaskStatus
from ngpu.tasks.lifecycle import failed

EMPTY = BytesBody()


@pytest.mark.parametrize("remembered", [0, 1])
@pytest_twisted.ensureDeferred
async def test_a_result_without_some_of_its_pieces_is_no_result(start: Start, remembered: int) -> None:
    server = start()
    store = await opened(server.url)
    await store.add(sample("a"), EMPTY)
    claimed = await store.claim("w", HERE, 1001.0)
    outcome = replace(DONE, size=3 * CHUNK + 1)
    for index in range(remembered):
        await store.write_result("a", claimed.attempt, index, pattern(CHUNK))
    kept = server.keep()
    for index in range(remembered, 2):
        await store.write_result("a", claimed.attempt, index, pattern(CHUNK))
    server.fall_back(kept)
    await store.write_result("a", claimed.attempt, 2, pattern(CHUNK))
    with pytest.raises(ResultLost, match="lost a part of the result") as raised:
        await store.finish("a", claimed.attempt, outcome, 1002.0, (3, b"!"))
    assert (await store.get("a")).status is TaskStatus.RUNNING
    assert await store.finish("a", claimed.attempt, failed(raised.value), 1003.0, None)
    assert (await store.get("a")).outcome.code == 503
    assert keys(server, "*:result:*") == []
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_request_without_some_of_its_pieces_is_refused(start: Start) -> None:
    server = start()
    store = await opened(server.url)
    size, kept = 4 * CHUNK, []

    async def forget(index: int) -> None:
        if index == 1:
            kept.append(server.keep())
        elif index == 3:
            server.fall_back(kept[0])

    with pytest.raises(StoreUnavailable, match="not kept the whole request"):
        await store.add(sample(request_size=size), SlowBody([bytes(CHUNK)] * 4, size, forget))
    task = await store.add(sample(request_size=size), BytesBody(pattern(size)))
    assert await whole(store.request_body(task)) == pattern(size)
    assert keys(server, "ngpu:uploads") == []
    await store.close()


@pytest_twisted.ensureDeferred
async def test_two_that_run_a_task_in_the_same_attempt_leave_one_result(start: Start) -> None:
    """Its claim was forgotten, so another gateway has claimed it, too."""
    server = start()
    first, second = [await opened(server.url) for _ in "12"]
    await first.add(sample("a"), EMPTY)
    kept = server.keep()
    assert (await first.claim("w", HERE, 1001.0)).attempt == 1
    await first.write_result("a", 1, 0, b"1" * CHUNK)
    server.fall_back(kept)
    assert (await second.claim("w", HERE, 1002.0)).attempt == 1
    outcome = replace(DONE, size=2 * CHUNK + 1)
    await second.write_result("a", 1, 0, b"2" * CHUNK)
    await second.write_result("a", 1, 1, b"2" * CHUNK)
    await first.write_result("a", 1, 1, b"1" * CHUNK)
    assert not await first.finish("a", 1, outcome, 1003.0, (2, b"1"))
    assert await second.finish("a", 1, outcome, 1004.0, (2, b"2"))
    assert await whole(store_body := second.result_body(await second.get("a"))) == b"2" * store_body.length
    for store in (first, second):
        await store.close()


@pytest_twisted.ensureDeferred
async def test_a_gateway_that_came_back_keeps_its_answers_though_its_former_life_ends_later(start: Start) -> None:
    """That others had counted it as gone, and that it had come back, was forgotten: so it came back once more."""
    server = start()
    paused, other = await opened(server.url, lease=1.5), await opened(server.url, lease=1.5)
    kept = server.keep()
    membership = paused._sharing.membership
    first = membership.identity.decode()

    async def counted_as_gone() -> None:
        until = time.monotonic() + 15
        while first in server.ask("SMEMBERS", "ngpu:gateways"):
            assert time.monotonic() < until, "it is not counted as gone"
            await other.orphans()
            await pause(0.05)

    membership._renewing.stop()
    await counted_as_gone()
    await paused.add(sample("a"), EMPTY)
    server.fall_back(kept)
    await paused.add(sample("b"), EMPTY)
    await counted_as_gone()
    assert server.ask("TTL", f"ngpu:answers:{first.partition(':')[0]}") == ":-1\r\n"
    for store in (paused, other):
        await store.close()


@pytest_twisted.ensureDeferred
async def test_an_upload_of_which_it_has_forgotten_the_end_is_cleared_away(start: Start) -> None:
    """One that is under way meanwhile is not."""
    server = start()
    store, size = await opened(server.url), 2 * CHUNK
    kept: list[Path] = []

    async def keep(index: int) -> None:
        if index == 1:
            kept.append(server.keep())

    async def meanwhile(index: int) -> None:
        if index == 1:
            await store.add(sample("over", request_size=size), SlowBody([bytes(CHUNK)] * 2, size, keep))
            server.fall_back(kept[0])
            assert sorted(keys(server, "ngpu:request:*")) == ["ngpu:request:over", "ngpu:request:slow"]
            await eventually(lambda: keys(server, "ngpu:request:*") == ["ngpu:request:slow"], "it is cleared away")

    task = await store.add(sample("slow", request_size=size), SlowBody([bytes(CHUNK)] * 2, size, meanwhile))
    assert await whole(store.request_body(task)) == bytes(size)
    assert keys(server, "ngpu:uploads") == []
    await store.close()
