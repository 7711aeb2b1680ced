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
    assert verifyObject(IDocuments, store)
    assert await store.documents("fleet") == {}
    document = {"n": 1, "f": 0.1, "odd": "\ud800\u4f60", "deep": [{"a": None}], "0123": "0123"}
    await store.put("fleet", "b", {"old": True})
    await store.put("fleet", "b", document)
    await store.put("fleet", "a:b", {})
    await store.put("other", "b", {"x": 1})
    await store.close()
    server.kill9()
    server.start()
    store = await opened(server.url)
    assert list((await store.documents("fleet")).items()) == [("a:b", {}), ("b", document)]
    assert await store.delete("fleet", "b") is True
    assert await store.delete("fleet", "b") is False
    assert await store.documents("other") == {"b": {"x": 1}}
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_large_one(start: Start) -> None:
    store = await opened(start().url)
    document = {"text": "x" * 3_000_000}
    await store.put("fleet", "large", document)
    assert (await store.documents("fleet"))["large"] == document
    await store.close()


@pytest_twisted.ensureDeferred
async def test_nothing_works_after_the_end(start: Start) -> None:
    store = await opened(start().url)
    await store.close()
    for call in (store.put("fleet", "a", {}), store.delete("fleet", "a"), store.documents("fleet")):
        with pytest.raises(StoreUnavailable, match="is closed"):
            await call
