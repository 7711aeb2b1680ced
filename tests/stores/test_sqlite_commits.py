"""The embedded store's threads: group commit, and what happens to those whose write fails or has to wait."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted
from sqlite_store import count, opened
from store_lives import CHILD
from task_stores import HERE, sample
from twisted.internet.defer import CancelledError, ensureDeferred, gatherResults

from ngpu.errors import QueueFull, StoreUnavailable
from ngpu.model import CHUNK, BytesBody, Outcome, TaskStatus
from ngpu.stores.sqlite.commit import GroupCommit
from ngpu.stores.sqlite.gathered import Entry
from ngpu.stores.sqlite.lane import MOST_PENDING, MOST_PENDING_BYTES, Job
from ngpu.stores.sqlite.schema import connect, prepare
from ngpu.stores.sqlite.together import End, New, add_all, end_all


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "ngpu.sqlite"


class TestGroupCommit:
    @pytest_twisted.ensureDeferred
    async def test_what_has_gathered_is_committed_together(self, path: Path) -> None:
        store = await opened(path)
        await gatherResults([ensureDeferred(store.add(sample(f"t{n}"), BytesBody(b"x"))) for n in range(1000)])
        assert count(path, "tasks") == 1000
        assert store.commits <= 20
        await store.close()

    @pytest_twisted.ensureDeferred
    async def test_one_that_is_refused_harms_none_of_its_group(self, path: Path) -> None:
        store = await opened(path)
        adds = [ensureDeferred(store.add(sample(f"t{n}"), BytesBody(b"x"), 10)) for n in range(20)]
        refused = [add.addErrback(lambda failure: failure.trap(QueueFull)) for add in adds]
        assert [await result for result in refused][10:] == [QueueFull] * 10
        assert await store.queued("w") == count(path, "tasks") == 10
        await store.close()

    def test_ends_that_have_gathered_are_few_statements(self, path: Path) -> None:
        path.parent.mkdir()
        prepare(path)
        told: list[str] = []
        with closing(connect(path)) as db:
            tasks = [replace(sample(f"t{n}"), status=TaskStatus.RUNNING, attempt=1) for n in range(40)]
            add_all(db, [Entry(New(task, b"x", None, b""), 1) for task in tasks])
            ends = [Entry(End(task.id, 1, Outcome(TaskStatus.FINISHED), 1.0, (0, b"y")), 1) for task in tasks]
            db.set_trace_callback(told.append)
            end_all(db, ends)
        assert [entry.value for entry in ends] == [True] * 40
        # a statement is told of again for each trigger that it runs
        assert len({each for each in told if each.startswith("UPDATE tasks")}) == 2, "of 32 and of 8"

    def test_one_that_fails_half_way_leaves_no_trace(self, path: Path) -> None:
        def fail(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO uploads VALUES ('trace')")
            raise KeyError("a fault of ours")

        path.parent.mkdir()
        group = GroupCommit(path)
        jobs = [keep("before"), Job(fail, 0), keep("after")]
        group.run(jobs)
        group.close()
        assert [type(job.error) for job in jobs] == [type(None), KeyError, type(None)]
        assert (group.commits, count(path, "uploads")) == (1, 2)

    def test_one_that_the_disk_has_no_room_for_takes_none_down_with_it(self, path: Path) -> None:
        path.parent.mkdir()
        group = GroupCommit(path)
        group.run([Job(lambda db: db.execute("PRAGMA max_page_count = 100").fetchall(), 0)])
        large = Job(lambda db: db.execute("INSERT INTO pieces VALUES ('t', 1, 0, zeroblob(1000000))"), 0)
        jobs = [keep("before"), large, keep("after")]
        group.run(jobs)
        group.close()
        assert [type(job.error) for job in jobs] == [type(None), StoreUnavailable, type(None)]
        assert str(path) in str(large.error)
        assert "full" in str(large.error)
        assert count(path, "uploads") == 2

    def test_a_failure_of_sqlite_itself_ends_with_its_transaction(self, path: Path) -> None:
        """Some failures leave the transaction open, and the next one could not begin."""
        path.parent.mkdir()
        group = GroupCommit(path)
        jobs = [keep("before"), Job(lambda db: db.execute("SELECT * FROM nowhere"), 0), keep("after")]
        group.run(jobs)
        later = keep("later")
        group.run([later])
        group.close()
        assert [type(job.error) for job in [*jobs, later]] == [type(None), StoreUnavailable, type(None), type(None)]
        assert count(path, "uploads") == 3

    @pytest_twisted.ensureDeferred
    async def test_a_commit_is_synced(self, path: Path) -> None:
        """No test can pull the plug; what SQLite was told has to do."""
        store = await opened(path)
        for pragma, value in (("synchronous", 2), ("journal_mode", "wal")):
            told = store._writer.submit(lambda db, pragma=pragma: db.execute(f"PRAGMA {pragma}").fetchone()[0])
            assert await told == value
        await store.close()


def keep(text: str) -> Job:
    return Job(lambda db: db.execute("INSERT INTO uploads VALUES (?)", (text,)).rowcount, 0)


class TestThreads:
    @pytest_twisted.ensureDeferred
    async def test_a_slow_answer_does_not_delay_commits(self, path: Path) -> None:
        store = await opened(path)
        go_on = threading.Event()
        reading = store._reader.submit(lambda db: go_on.wait(30))
        await store.add(sample(), BytesBody(b"x"))
        assert not reading.called
        go_on.set()
        assert await reading
        await store.close()

    @pytest.mark.parametrize("size", [0, CHUNK])
    @pytest_twisted.ensureDeferred
    async def test_what_waits_is_bounded_in_number_and_bytes(self, path: Path, size: int) -> None:
        """And everything that was accepted is written once the disk is back."""
        store = await opened(path)
        go_on = threading.Event()
        blocked = store._writer.submit(lambda db: go_on.wait(30))
        most = min(MOST_PENDING, MOST_PENDING_BYTES // size if size else MOST_PENDING) - (0 if size else 1)
        data = bytes(size)
        writes = [ensureDeferred(store.write_result("t", 1, 0, data)) for _ in range(most)]
        with pytest.raises(StoreUnavailable, match="behind by"):
            await store.write_result("t", 1, 0, data)
        go_on.set()
        await gatherResults([blocked, *writes])
        await store.write_result("t", 1, 0, data)
        await store.close()

    @pytest_twisted.ensureDeferred
    async def test_close_ends_both_threads(self, path: Path) -> None:
        before = threading.active_count()
        store = await opened(path)
        assert threading.active_count() == before + 2
        await store.close()
        assert threading.active_count() == before

    @pytest_twisted.ensureDeferred
    async def test_a_cancelled_wait_is_no_cancelled_write(self, path: Path) -> None:
        store = await opened(path)
        adding = ensureDeferred(store.add(sample(), BytesBody(b"x")))
        adding.cancel()
        with pytest.raises(CancelledError):
            await adding
        await store.claim("nobody", HERE, 1.0)
        assert await store.get("t") is not None
        await store.close()

    def test_large_bodies_neither_fill_the_memory_nor_hold_the_reactor(self, path: Path) -> None:
        """64 MiB in, 64 MiB out, in a process of its own whose memory and pauses are looked at."""
        done = subprocess.run(
            [sys.executable, CHILD, "large", path], capture_output=True, text=True, timeout=120, check=True
        )
        grown, longest_pause = map(float, done.stdout.split())
        assert grown < 48 * 1024 * 1024
        assert longest_pause < 2.0
