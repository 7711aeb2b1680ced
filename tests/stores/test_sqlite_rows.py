"""The embedded store's statements: what a row keeps of a task, and that none of them searches without an index."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlite_store import opened
from task_fields import FIELDS
from task_stores import DONE, HERE, THERE, sample, whole

from ngpu.limits import Quota
from ngpu.listing import TaskQuery
from ngpu.model import CHUNK, BytesBody, Task
from ngpu.stores.sqlite import reads, writes
from ngpu.stores.sqlite.schema import TABLES


def test_no_field_is_left_out_below() -> None:
    assert {field.name for field in fields(Task)} == {*FIELDS, "number"}


@settings(max_examples=200, deadline=None)
@given(st.builds(Task, **FIELDS))
def test_every_field_comes_back_exactly(task: Task) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.executescript(TABLES)
        assert reads.get(db, task.id) is None
        stored = writes.add(db, task, b"", None)
        assert reads.get(db, task.id) == stored


@pytest_twisted.ensureDeferred
async def test_no_statement_looks_through_a_whole_table(tmp_path: Path) -> None:
    """With a million tasks that would take seconds."""
    path = tmp_path / "ngpu.sqlite"
    store = await opened(path)
    statements: list[str] = []
    for lane in (store._writer, store._reader):
        await lane.submit(lambda db: db.set_trace_callback(statements.append))
    large = sample(request_size=CHUNK + 1, webhook="https://a.example/", idempotency_key="k")
    task = await store.add(large, BytesBody(bytes(CHUNK + 1)), 10, Quota(10, "2026-11-25", 60))
    await store.by_key("w", "k")
    await store.queue_position(task)
    await store.claim("w", HERE, 1001.0)
    await store.save_checkpoint("t", 1, "{}")
    await store.reattempt("t", 1, THERE)
    await store.requeue("t", 2)
    await store.claim("w", HERE, 1001.0)
    await store.write_result("t", 3, 0, bytes(CHUNK))
    await store.finish("t", 3, DONE, 1002.0, None)
    await store.add(sample("u"), BytesBody(b"x"), 10)
    await store.cancel("u", 1002.0)
    await store.expire(1002.0)
    await store.orphans()
    await store.get("t")
    await store.queued("w")
    await store.queue_position(task)
    await whole(store.request_body(task))
    for node in (None, "ab"):
        for address in (None, "bc"):
            for time in (None, 1.0):
                await store.list(TaskQuery("w", node, address, start=time, end=time))
    await store.retry("u", 1003.0, 2000.0, 1003.0, 10, Quota(10, "2026-11-25", 60))
    await store.cancel_queued("w", 1004.0, 10)
    (webhook,) = await store.take_webhooks(1004.0, 1030.0, 10, 10, {})
    await store.webhook_failed(webhook, 1005.0)
    await store.webhook_delivered(webhook)
    await store.used("w", "2026-11-25")
    await store.purge({"w": 2000.0}, 0.0)
    await store.close()
    plans = []
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH", "INSERT OR")):
                plans += [(row[3], statement) for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert len(plans) > 25
    # tasks_running holds nothing but what orphans() asks for
    slow = [
        plan
        for plan in plans
        if plan[0].startswith(("SCAN tasks", "SCAN pieces", "SCAN queue", "SCAN usage", "SCAN webhooks", "USE TEMP"))
    ]
    assert [plan for plan in slow if "tasks_running" not in plan[0]] == []
