"""A router as vLLM's and SkyServe's are: Starlette under uvicorn, aiohttp to the worker. ``PORT WORKER_PORT``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

PORT, WORKER = int(sys.argv[1]), int(sys.argv[2])
OWN = {"host", "connection", "transfer-encoding"}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """One pool of connections for the life of the server."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as client:
        app.state.client = client
        yield


async def forward(request: Request) -> StreamingResponse:
    """Both bodies stream."""
    headers = [(name, value) for name, value in request.headers.items() if name not in OWN]
    url = f"http://127.0.0.1:{WORKER}{request.url.path}?{request.url.query}"
    client: aiohttp.ClientSession = request.app.state.client
    body = request.stream() if request.method == "POST" else None
    reply = await client.request(request.method, url, headers=headers, data=body, allow_redirects=False)

    async def pieces() -> AsyncIterator[bytes]:
        async with reply:
            async for piece in reply.content.iter_any():
                yield piece

    kept = {name: value for name, value in reply.headers.items() if name.lower() not in OWN}
    return StreamingResponse(pieces(), reply.status, kept)


app = Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST"])], lifespan=lifespan)
uvicorn.run(app, host="127.0.0.1", port=PORT, access_log=False, log_level="error", timeout_keep_alive=75)
