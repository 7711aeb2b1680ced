"""A plain reverse proxy on aiohttp: ``python aiohttp_proxy.py PORT WORKER_PORT``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

PORT, WORKER = int(sys.argv[1]), int(sys.argv[2])
SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("session")
OWN = {"host", "connection", "transfer-encoding", "content-length"}


async def session(app: web.Application) -> AsyncIterator[None]:
    """One pool of connections for the life of the server."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as client:
        app[SESSION] = client
        yield


async def forward(request: web.Request) -> web.StreamResponse:
    """Both bodies stream."""
    headers = [(name, value) for name, value in request.headers.items() if name.lower() not in OWN - {"content-length"}]
    url = f"http://127.0.0.1:{WORKER}{request.raw_path}"
    body = request.content if request.can_read_body else None
    async with request.app[SESSION].request(
        request.method, url, headers=headers, data=body, allow_redirects=False
    ) as reply:
        kept = [(name, value) for name, value in reply.headers.items() if name.lower() not in OWN]
        response = web.StreamResponse(status=reply.status)
        response.headers.extend(kept)
        response.content_length = reply.content_length
        await response.prepare(request)
        async for piece in reply.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


app = web.Application(client_max_size=0)
app.cleanup_ctx.append(session)
app.router.add_route("*", "/{path:.*}", forward)
web.run_app(app, host="127.0.0.1", port=PORT, access_log=None, print=None)
