"""What every `IDocuments` does. A new one is entered in `BACKENDS`; nothing else here changes for it."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from sqlite_store import opened
from store_lives import CHILD
from task_stores import redis as redis_stores
from task_stores import sample
from twisted.internet.defer import ensureDeferred, gatherResults
from zope.interface.verify import verifyObject

from ngpu.errors import StoreUnavailable
from ngpu.interfaces import IDocuments
from ngpu.model import BytesBody
from ngpu.testing.documents import MemoryDocuments

Opener = Callable[[], Awaitable[tuple[Any, Callable[[], Awaitable[None]]]]]
"""Gives documents and how to close them; once more, it gives others over what was kept."""


def memory(folder: Path) -> Opener:
    shelf: dict[str, dict[str, str]] = {}

    async def close() -> None:
        pass

    async def opened_documents() -> Any:
        return MemoryDocuments(shelf), close

    return opened_documents


def sqlite(folder: Path) -> Opener:
    async def opened_documents() -> Any:
        store = await opened(folder / "ngpu.sqlite")
        return store.documents, store.close

    return opened_documents


def redis(folder: Path) -> Opener:
    from twisted.internet import reactor

    open_store = redis_stores(folder, reactor)

    async def opened_documents() -> Any:
        store = await open_store()
        return store.documents, store.close

    return opened_documents


BACKENDS = {"memory": memory, "sqlite": sqlite, "redis": redis}
RICH = {"text": "ä\u2028\x00 \ud800", "number": 1.5, "none": None, "list": [1, {"deep": [True, "x" * 5000]}], "": {}}


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS.keys())
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    made: Opener = request.param(tmp_path)
    return made


@pytest_twisted.async_yield_fixture
async def documents(opener: Opener) -> AsyncIterator[Any]:
    there, close = await opener()
    yield there
    await close()


@pytest_twisted.ensureDeferred
async def test_it_keeps_the_interface(documents: Any) -> None:
    verifyObject(IDocuments, documents)


@pytest_twisted.ensureDeferred
async def test_what_is_kept_comes_back_as_it_was(documents: Any) -> None:
    await documents.put("c", "k", RICH)
    assert await documents.documents("c") == {"k": RICH}


@pytest_twisted.ensureDeferred
async def test_a_document_takes_the_place_of_the_one_before(documents: Any) -> None:
    await documents.put("c", "k", {"a": 1, "b": 2})
    await documents.put("c", "k", {"c": 3})
    assert await documents.documents("c") == {"k": {"c": 3}}


@pytest_twisted.ensureDeferred
async def test_they_come_in_the_order_of_their_keys(documents: Any) -> None:
    keys = ["b", "a", "", "ä", "10", "9", "B", "\U0001f600", "\uffff"]
    for key in keys:
        await documents.put("c", key, {"key": key})
    assert list(await documents.documents("c")) == sorted(keys)


@pytest_twisted.ensureDeferred
async def test_collections_know_nothing_of_each_other(documents: Any) -> None:
    await documents.put("c", "k", {"of": "c"})
    await documents.put("d", "k", {"of": "d"})
    assert await documents.delete("c", "k")
    assert await documents.documents("c") == {} and await documents.documents("d") == {"k": {"of": "d"}}


@pytest_twisted.ensureDeferred
async def test_what_is_deleted_is_gone_once(documents: Any) -> None:
    assert await documents.delete("c", "k") is False
    await documents.put("c", "k", {})
    assert await documents.delete("c", "k") is True
    assert await documents.delete("c", "k") is False
    assert await documents.documents("c") == {}


@pytest_twisted.ensureDeferred
async def test_what_a_caller_does_with_its_copy_changes_nothing(documents: Any) -> None:
    mine = {"list": [1]}
    await documents.put("c", "k", mine)
    mine["list"].append(2)
    (await documents.documents("c"))["k"]["list"].append(3)
    assert await documents.documents("c") == {"k": {"list": [1]}}


@pytest_twisted.ensureDeferred
async def test_what_is_no_json_is_refused_and_changes_nothing(documents: Any) -> None:
    await documents.put("c", "k", {"a": 1})
    with pytest.raises(TypeError):
        await documents.put("c", "k", {"a": object()})
    assert await documents.documents("c") == {"k": {"a": 1}}


@pytest_twisted.ensureDeferred
async def test_writes_side_by_side_are_made_in_their_order(documents: Any) -> None:
    await gatherResults([ensureDeferred(documents.put("c", "k", {"n": number})) for number in range(50)])
    assert await documents.documents("c") == {"k": {"n": 49}}


@pytest_twisted.ensureDeferred
async def test_they_outlive_whoever_kept_them(opener: Opener) -> None:
    first, close = await opener()
    await first.put("c", "k", RICH)
    await first.put("c", "gone", {})
    await first.delete("c", "gone")
    await close()
    second, close = await opener()
    assert await second.documents("c") == {"k": RICH}
    await close()


@pytest_twisted.ensureDeferred
async def test_a_closed_file_says_so(tmp_path: Path) -> None:
    documents, close = await sqlite(tmp_path)()
    await close()
    for call in (documents.put("c", "k", {}), documents.delete("c", "k"), documents.documents("c")):
        with pytest.raises(StoreUnavailable):
            await call


@pytest_twisted.ensureDeferred
async def test_a_document_and_the_tasks_beside_it_share_commits(tmp_path: Path) -> None:
    store = await opened(tmp_path / "ngpu.sqlite")
    before = store.commits
    await gatherResults(
        [
            *(ensureDeferred(store.documents.put("c", str(number), {})) for number in range(200)),
            *(ensureDeferred(store.add(sample(str(number)), BytesBody())) for number in range(200)),
        ]
    )
    assert store.commits - before < 50
    assert len(await store.documents.documents("c")) == 200
    await store.close()


@pytest_twisted.ensureDeferred
async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Six lives of one file, or more: each document is as its last acknowledged write has it, or one under way."""
    path = tmp_path / "ngpu.sqlite"
    rng = random.Random()
    said: dict[str, int] = {}
    for life in range(60):
        if life >= 6 and len(said) > 5 and min(said.values()) > 6:
            break
        with subprocess.Popen([sys.executable, CHILD, "documents", path], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            time.sleep(rng.uniform(0.0, 0.2))
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        assert process.returncode == -9
        for line in lines:
            key, number = line.decode().split()
            said[key] = int(number)
        store = await opened(path)
        kept = {key: document["n"] for key, document in (await store.documents.documents("c")).items()}
        await store.close()
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for key, number in said.items():
            assert kept[key] in (number, number + 1), "the write after it may have been made without being told"
    assert len(said) > 5 and min(said.values()) > 6
