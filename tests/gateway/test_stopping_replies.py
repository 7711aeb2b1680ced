"""What clients hear whose calls are cut because the gateway stops, or the store is away."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred

from ngpu.errors import StoreUnavailable
from ngpu.http.reply import Reply, answer
from ngpu.http.server import NgpuRequest
from ngpu.model import Body
from ngpu.wire.stream import Embedded, Spelling


async def cancelled() -> Reply:
    raise CancelledError


async def unreadable() -> Reply:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"begun"
        raise StoreUnavailable("the store is away")

    body = cast(Body, SimpleNamespace(length=10, chunks=chunks))
    return Reply({"data": Embedded(body, Spelling.TEXT)})


def cut(
    gone: bool, route: Callable[[], Coroutine[Any, Any, Reply]] = cancelled
) -> tuple[SimpleNamespace, Deferred[bytes | None]]:
    """A request whose route ends so, and what `answer` makes of it."""
    request = SimpleNamespace(_disconnected=gone, code=0, fields={}, path=b"/")

    def pass_on(status: int, fields: Sequence[tuple[bytes, bytes]], length: int | None, whole: bool = False) -> None:
        request.code, request.fields = status, dict(fields)

    request.pass_on = pass_on
    request.written = []
    request.write, request.cut = request.written.append, lambda: request.written.append("cut")
    request.registerProducer = request.unregisterProducer = lambda *_: None

    return request, Deferred.fromCoroutine(answer(cast(NgpuRequest, request), route()))


def test_a_client_that_still_waits_is_told_so_by_a_503() -> None:
    request, answered = cut(gone=False)
    body: Any = answered.result
    assert request.code == 503
    assert int(request.fields[b"Retry-After"]) > 0
    assert json.loads(body)["result_code"] == 503


def test_a_client_that_has_gone_is_told_nothing() -> None:
    request, answered = cut(gone=True)
    failures: list[Any] = []
    answered.addErrback(failures.append)
    assert failures[0].check(CancelledError)
    assert request.code == 0


def test_a_result_that_the_store_does_not_give_is_a_503() -> None:
    request, answered = cut(False, unreadable)
    body: Any = answered.result
    assert request.code == 503
    assert json.loads(body)["msg"] == "the store is away"


def test_a_reply_that_breaks_off_after_it_has_begun_is_cut_and_no_error_of_ours() -> None:
    async def events() -> AsyncGenerator[bytes, None]:
        yield b"first"
        raise StoreUnavailable("the store is away")

    async def streamed() -> Reply:
        return Reply(events())

    request, answered = cut(False, streamed)
    assert (request.code, request.written, answered.result) == (200, [b"first", "cut"], None)
