"""What clients hear whose calls are cut because the gateway stops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred

from ngpu.http.reply import Reply, answer
from ngpu.http.server import NgpuRequest


def cut(gone: bool) -> tuple[SimpleNamespace, Deferred[bytes | None]]:
    """A request whose route is cancelled, and what `answer` makes of it."""
    request = SimpleNamespace(_disconnected=gone, code=0, fields={}, path=b"/")

    def pass_on(status: int, fields: Sequence[tuple[bytes, bytes]], length: int | None, whole: bool = False) -> None:
        request.code, request.fields = status, dict(fields)

    request.pass_on = pass_on

    async def route() -> Reply:
        raise CancelledError

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
