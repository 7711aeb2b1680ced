"""Documents in Redis; that all stores keep them alike is in `test_same_answers`."""

from __future__ import annotations

import pytest
import pytest_twisted
from redis_server import Start
from redis_store import opened
from zope.interface.verify import verifyObject

from ngpu.errors import StoreUnavailable
from ngpu.interfaces import IDocuments


@pytest_twisted.ensureDeferred
async def test_they_outlive_the_gateway(start: Start) -> None:
    server = start()
    store = await opened(server.url)
    assert verifyObject(IDocuments, store.documents)
    assert await store.documents.documents("fleet") == {}
    document = {"n": 1, "f": 0.1, "odd": "\ud800\u4f60", "deep": [{"a": None}], "0123": "0123"}
    await store.documents.put("fleet", "b", {"old": True})
    await store.documents.put("fleet", "b", document)
    await store.documents.put("fleet", "a:b", {})
    await store.documents.put("other", "b", {"x": 1})
    await store.close()
    server.kill9()
    server.start()
    store = await opened(server.url)
    assert list((await store.documents.documents("fleet")).items()) == [("a:b", {}), ("b", document)]
    assert await store.documents.delete("fleet", "b") is True
    assert await store.documents.delete("fleet", "b") is False
    assert await store.documents.documents("other") == {"b": {"x": 1}}
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_large_one(start: Start) -> None:
    store = await opened(start().url)
    document = {"text": "x" * 3_000_000}
    await store.documents.put("fleet", "large", document)
    assert (await store.documents.documents("fleet"))["large"] == document
    await store.close()


@pytest_twisted.ensureDeferred
async def test_nothing_works_after_the_end(start: Start) -> None:
    store = await opened(start().url)
    await store.close()
    for call in (
        store.documents.put("fleet", "a", {}),
        store.documents.delete("fleet", "a"),
        store.documents.documents("fleet"),
    ):
        with pytest.raises(StoreUnavailable, match="is closed"):
            await call
