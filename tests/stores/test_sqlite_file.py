"""The embedded store's file: whose it is, what is refused, and what a full disk does."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import pytest_twisted
from sqlite_store import count, opened
from store_lives import CHILD
from task_stores import DONE, HERE, SlowBody, pattern, sample, whole
from twisted.internet.defer import Deferred, ensureDeferred

from ngpu.errors import ConfigError, StoreUnavailable
from ngpu.model import CHUNK, BytesBody, Priority, TaskStatus
from ngpu.stores.sqlite import schema
from ngpu.stores.sqlite.lock import FileLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "ngpu.sqlite"


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """As a full disk: files of this process may not grow past ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestFile:
    @pytest_twisted.ensureDeferred
    async def test_nobody_else_may_read_it(self, path: Path) -> None:
        store = await opened(path)
        await store.add(sample(), BytesBody(b"secret"))
        modes = {file.name: file.stat().st_mode & 0o777 for file in (path.parent, *path.parent.iterdir())}
        names = ["ngpu.sqlite", "ngpu.sqlite-wal", "ngpu.sqlite-shm", "ngpu.sqlite.lock"]
        assert modes == {"var": 0o700, **dict.fromkeys(names, 0o600)}
        await store.close()

    @pytest_twisted.ensureDeferred
    async def test_two_gateways_never_share_it(self, path: Path) -> None:
        store = await opened(path)
        with pytest.raises(ConfigError, match=f"in use by the gateway with pid {os.getpid()};"):
            await opened(path)
        other = subprocess.run([sys.executable, CHILD, "open", path], capture_output=True, text=True, timeout=60)
        assert f"pid {os.getpid()};" in other.stdout
        (path.parent.parent / "other.sqlite").symlink_to(path)
        with pytest.raises(ConfigError, match=f"in use by the gateway with pid {os.getpid()};"):
            await opened(path.parent.parent / "other.sqlite")
        await store.add(sample(), BytesBody(b"x"))
        await store.close()
        await (await opened(path)).close()

    def test_the_lock_needs_no_room_on_the_disk(self, path: Path) -> None:
        path.parent.mkdir()
        with file_size_limit(0):
            lock = FileLock(path)
        with pytest.raises(ConfigError, match="in use by the gateway with pid unknown;"):
            FileLock(path)
        lock.release()

    @pytest.mark.parametrize("spoilt", ["text", "garbage head", "cut", "foreign"])
    @pytest_twisted.ensureDeferred
    async def test_what_is_no_store_of_ours_is_refused_and_left_alone(self, path: Path, spoilt: str) -> None:
        store = await opened(path)
        await store.add(sample(), BytesBody(b"x"))
        await store.close()
        match spoilt:
            case "text":
                path.write_text("listen: [tcp:8080]\n" * 1000)
            case "garbage head":
                path.write_bytes(os.urandom(100) + path.read_bytes()[100:])
            case "cut":
                path.write_bytes(path.read_bytes()[:6000])
            case "foreign":
                path.unlink()
                with closing(sqlite3.connect(path)) as db:
                    db.execute("CREATE TABLE precious (data)")
        before = path.read_bytes()
        with pytest.raises(ConfigError) as caught:
            await opened(path)
        assert str(path) in str(caught.value)
        assert path.read_bytes() == before

    @pytest_twisted.ensureDeferred
    async def test_a_newer_schema_is_refused_and_left_alone(self, path: Path) -> None:
        await (await opened(path)).close()
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA user_version = 99")
        before = path.read_bytes()
        with pytest.raises(ConfigError, match=r"newer ngpu \(schema 99, this one knows 4\)"):
            await opened(path)
        assert path.read_bytes() == before

    @pytest.mark.parametrize("version", [1, 2, 3])
    @pytest_twisted.ensureDeferred
    async def test_a_file_of_an_older_version_is_brought_up_with_what_it_holds(self, path: Path, version: int) -> None:
        """The file is one that such a version wrote: tests/stores/schema_<version>.sql, a dump of it."""
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as db:
            db.executescript((Path(__file__).parent / f"schema_{version}.sql").read_text())
        for _ in range(2):
            store = await opened(path)
            task = await store.get("waits 1")
            assert task == sample("waits 1", number=2, request_size=6, place=1000.0)
            assert await whole(store.request_body(task)) == b"secret"
            assert (await store.get("done")).outcome == DONE
            assert [task.id for task in await store.orphans()] == ["runs"]
            assert await store.queued("w") == 3
            names = [f"waits {number}" for number in (1, 2, 3)]
            assert [await store.queue_position(await store.get(name)) for name in names] == [1, 2, 3]
            assert await store.documents.documents("collection") == ({"key": {"a": 1}} if version > 2 else {})
            await store.close()
        store = await opened(path)
        late = await store.add(sample("late", submitted_at=1005.0, place=1005.0), BytesBody(b""), 10)
        high = await store.add(sample("high", priority=Priority.HIGH, place=700.0), BytesBody(b""), 10)
        assert [await store.queue_position(task) for task in (high, late)] == [1, 5]
        claimed = [await store.claim("w", HERE, 1500.0) for _ in range(6)]
        assert [task.id if task else None for task in claimed] == ["high", *names, "late", None]
        assert await store.queued("w") == 0
        await store.close()

    @pytest.mark.parametrize("where", ["folder", "file/ngpu.sqlite"])
    @pytest_twisted.ensureDeferred
    async def test_a_path_that_cannot_be_a_file(self, tmp_path: Path, where: str) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError):
            await opened(tmp_path / where)

    @pytest_twisted.ensureDeferred
    async def test_a_refused_file_can_be_opened_once_it_is_right(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_text("not yet")
        with pytest.raises(ConfigError):
            await opened(path)
        path.unlink()
        await (await opened(path)).close()

    @pytest_twisted.ensureDeferred
    async def test_a_full_disk_is_said_and_outlived(self, path: Path) -> None:
        store = await opened(path)
        await store.add(sample("kept", request_size=CHUNK), BytesBody(pattern(CHUNK)))
        wal = path.with_name(path.name + "-wal")
        with file_size_limit(wal.stat().st_size + 10_000):
            for _ in range(3):
                with pytest.raises(StoreUnavailable) as caught:
                    await store.add(sample("large", request_size=CHUNK), BytesBody(bytes(CHUNK)))
                assert str(path) in str(caught.value)
            assert (await store.get("kept")).request_size == CHUNK
        assert await store.get("large") is None
        task = await store.add(sample("large", request_size=CHUNK), BytesBody(pattern(CHUNK)))
        assert await whole(store.request_body(task)) == pattern(CHUNK)
        await store.close()
        store = await opened(path)
        assert await store.queued("w") == 2
        await store.close()

    @pytest_twisted.ensureDeferred
    async def test_a_file_that_somebody_else_locks_is_said_and_outlived(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No write waits for ever, and those that come once the file is free again are made."""
        from twisted.internet import reactor

        monkeypatch.setattr(schema, "BUSY_TIMEOUT", 20)
        store = await opened(path)
        await store.add(sample("kept"), BytesBody(b""))
        running = await store.claim("w", HERE, 1.0)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(2):
                for write in (
                    store.add(sample("new"), BytesBody(b"")),
                    store.finish("kept", running.attempt, DONE, 2.0, None),
                ):
                    with pytest.raises(StoreUnavailable):
                        await ensureDeferred(write).addTimeout(5, reactor)
            other.execute("ROLLBACK")
        await store.add(sample("new"), BytesBody(b""))
        assert await store.finish("kept", running.attempt, DONE, 2.0, None)
        await store.close()

    @pytest_twisted.ensureDeferred
    async def test_half_an_upload_is_gone_at_the_next_start(self, path: Path) -> None:
        store = await opened(path)
        kept = await store.add(sample("kept", request_size=2 * CHUNK), BytesBody(pattern(2 * CHUNK)))
        stalled: Deferred[None] = Deferred()
        go_on: Deferred[None] = Deferred()

        async def stall(index: int) -> None:
            if index == 2:
                stalled.callback(None)
                await go_on

        adding = ensureDeferred(store.add(sample("half"), SlowBody([bytes(CHUNK)] * 3, 3 * CHUNK, stall)))
        await stalled
        await store.close()
        go_on.callback(None)
        with pytest.raises(StoreUnavailable):
            await adding
        assert count(path, "pieces") == 4
        store = await opened(path)
        assert (count(path, "pieces"), count(path, "uploads")) == (2, 0)
        assert await store.get("half") is None
        assert await whole(store.request_body(kept)) == pattern(2 * CHUNK)
        await store.close()

    @pytest_twisted.ensureDeferred
    async def test_purged_space_is_used_again(self, path: Path) -> None:
        store = await opened(path)
        sizes = []
        for turn in range(4):
            for number in range(4):
                task_id = f"t{turn}.{number}"
                body = BytesBody(bytes(4 * CHUNK))
                await store.add(sample(task_id, status=TaskStatus.RUNNING, request_size=body.length), body)
                assert await store.finish(task_id, 0, DONE, 1001.0, None)
            while await store.purge({}, 2000.0):
                pass
            with closing(sqlite3.connect(path)) as db:
                sizes.append(db.execute("PRAGMA page_count").fetchone()[0])
        assert count(path, "pieces") == 0
        assert sizes[-1] <= sizes[0] * 1.1
        await store.close()

    @pytest_twisted.ensureDeferred
    async def test_a_purge_of_large_bodies_lets_others_write_in_between(self, path: Path) -> None:
        store = await opened(path)
        for number in range(5):
            body = SlowBody([bytes(CHUNK)] * 100, 100 * CHUNK)
            await store.add(sample(f"t{number}", status=TaskStatus.RUNNING, request_size=body.length), body)
            assert await store.finish(f"t{number}", 0, DONE, 1001.0 + number, None)
        assert [await store.purge({}, 2000.0) for _ in range(3)] == [3, 2, 0]
        await store.close()
