"""`audit` of both real stores: nothing is found in a store that is right, and each thing that is broken in it is."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import redis_server
import redis_store
import task_stores
from task_stores import DONE, HERE, sample

from ngpu.auditing import OVERDUE, Finding
from ngpu.errors import BadRequest
from ngpu.model import BytesBody, Priority

NOW = 1500.0


async def filled(store: Any) -> None:
    """Tasks in every state, with keys, addresses and webhooks."""
    for number in range(6):
        await store.add(
            sample(
                f"t{number}",
                btc_address="bc1q" if number % 2 else "",
                webhook="https://x.example/" if number % 3 == 0 else "",
                idempotency_key=f"k{number}" if number % 2 else "",
                priority=Priority(number % 3),
            ),
            BytesBody(b"x"),
        )
    for status in ("finish", "run"):
        task = await store.claim("w", HERE, NOW)
        if status == "finish":
            assert await store.finish(task.id, task.attempt, DONE, NOW, (0, b"{}"))
    waiting = [each for each in [await store.get(f"t{n}") for n in range(6)] if each.status == "queued"]
    await store.cancel(waiting[0].id, NOW)
    await store.add(sample("brief", expires_at=NOW), BytesBody(b""))
    assert await store.expire(NOW) == [("w", "brief")]


async def looked(store: Any, now: float = NOW) -> tuple[Counter[str], int, list[Finding]]:
    counts: Counter[str] = Counter()
    findings: list[Finding] = []
    accepted, cursor = 0, None
    while True:
        page = await store.audit(cursor, now)
        counts.update(page.counts.get("w", {}))
        accepted += page.accepted.get("w", 0)
        findings += page.findings
        if page.cursor is None:
            return counts, accepted, findings
        cursor = page.cursor


@pytest_twisted.async_yield_fixture(params=["sqlite", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    from twisted.internet import reactor

    if request.param == "redis":
        redis_server.needs_redis()
    opened = await task_stores.BACKENDS[request.param](tmp_path, reactor)()
    yield opened
    await opened.close()


@pytest_twisted.ensureDeferred
async def test_a_store_that_is_right(store: Any) -> None:
    await filled(store)
    counts, accepted, findings = await looked(store)
    assert findings == []
    assert accepted == counts.total() == 7
    assert counts == {"queued": 3, "running": 1, "finished": 1, "cancelled": 1, "expired": 1}


@pytest_twisted.ensureDeferred
async def test_what_takes_too_long_is_found(store: Any) -> None:
    await filled(store)
    _, _, findings = await looked(store, 2000.0 + OVERDUE + 200)
    assert {(each.rule, each.lasting) for each in findings} == {("stuck", False)}
    words = sorted(each.words.partition(" for ")[0].partition(" though")[0] for each in findings)
    assert words == ["has been running", "waits", "waits", "waits"]


@pytest_twisted.ensureDeferred
async def test_a_cursor_that_nobody_gave_is_refused(store: Any) -> None:
    with pytest.raises(BadRequest):
        await store.audit("no such", NOW)


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        ("ZREM p:expiring t5", "is queued, and is missing in expiring"),
        ("HSET p:task:t5 s finished", "is finished without an outcome"),
        ("SADD p:dead:w t5", "stands in dead:w, and is queued"),
        ("ZADD p:ended:w 5 t5", "must not be in ended"),
        ("HDEL p:keys:w k5", "is missing in keys"),
        ("HSET p:keys:w other t5", "stands in keys:w, and is queued"),
        ("DEL p:task:t5", "is gone"),
        ("DEL p:time:w", "is missing in time"),
        ("ZADD p:running:other:1 5 t5", "stands in running:other:1, and is queued"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_broken_in_a_redis_is_found(harm: str, found: str) -> None:
    prefix = redis_server.block()["prefix"]
    store = await redis_store.opened(redis_server.shared().url, prefix=prefix)
    try:
        await filled(store)
        words = harm.replace("p:", f"{prefix}:", 1).split()
        assert not redis_server.shared().ask(*words).startswith("-")
        _, _, findings = await looked(store)
        assert any(found in each.words for each in findings), findings
        assert all(each.lasting for each in findings)
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        ("UPDATE queue SET queued = queued + 1", "waiting, and"),
        ("UPDATE tasks SET outcome = NULL WHERE status = 'finished'", "is finished without an outcome"),
        ("UPDATE tasks SET ended_at = 5 WHERE id = 't5'", "is queued with an end"),
        ("INSERT INTO webhooks VALUES ('other', 0, 'w', 0, 5, 0)", "stands in webhooks, and is gone"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_broken_in_a_file_is_found(tmp_path: Path, harm: str, found: str) -> None:
    from twisted.internet import reactor

    store = await task_stores.sqlite(tmp_path, reactor)()
    try:
        await filled(store)
        with closing(sqlite3.connect(tmp_path / "store" / "ngpu.sqlite")) as db, db:
            db.execute(harm)
        _, _, findings = await looked(store)
        assert any(found in each.words for each in findings), findings
    finally:
        await store.close()
