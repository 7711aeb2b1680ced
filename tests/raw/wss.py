"""WebSocket clients over TLS.

They are asyncio's: the client of ``websockets.sync`` reads and writes one `ssl.SSLSocket` from two threads, which
OpenSSL does not allow; a reply is then lost now and then, whoever the server is.
"""

from __future__ import annotations

import asyncio
import ssl

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus


def refusal(port: int, context: ssl.SSLContext) -> int:
    """The status by which the gateway there refuses a WebSocket without a key."""

    async def refused() -> int:
        with pytest.raises(InvalidStatus) as found:
            await connect(f"wss://127.0.0.1:{port}/proxy/ws", ssl=context, proxy=None)
        return found.value.response.status_code

    return asyncio.run(refused())
