"""The same over TLS, whose transport cannot half-close and has a producer interface of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from server_rig import read_replies
from tls_rig import ServedTLS
from twisted.internet.threads import deferToThread


@pytest_twisted.async_yield_fixture
async def served_tls() -> AsyncIterator[ServedTLS]:
    one = ServedTLS()
    yield one
    await one.stop()


@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", [200, 200]),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n", [200, 400]),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", [413]),
    ],
)
@pytest_twisted.ensureDeferred
async def test_tls(served_tls: ServedTLS, raw: bytes, statuses: list[int]) -> None:
    """Replies are complete before the end, which is a clean one, and the connection is not left behind."""
    replies = read_replies(await deferToThread(served_tls.exchange, raw))
    assert [reply.status for reply in replies] == statuses
    await served_tls.until(lambda: served_tls.site.connections == 0)
