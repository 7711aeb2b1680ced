"""FastAPI under uvicorn, httpx to the worker: ``python fastapi_proxy.py PORT WORKER_PORT``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

PORT, WORKER = int(sys.argv[1]), int(sys.argv[2])
OWN = {"host", "connection", "transfer-encoding"}
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=300)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One pool of connections for the life of the server."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{WORKER}", limits=LIMITS, timeout=60) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.api_route("/{path:path}", methods=["GET", "POST"])
async def forward(request: Request) -> StreamingResponse:
    """Both bodies stream."""
    client: httpx.AsyncClient = request.app.state.client
    headers = [(name, value) for name, value in request.headers.items() if name not in OWN]
    body = request.stream() if request.method == "POST" else None
    target = f"{request.url.path}?{request.url.query}"
    asked = client.build_request(request.method, target, headers=headers, content=body)
    reply = await client.send(asked, stream=True)
    kept = {name: value for name, value in reply.headers.items() if name not in OWN}
    return StreamingResponse(reply.aiter_raw(), reply.status_code, kept, background=BackgroundTask(reply.aclose))


uvicorn.run(app, host="127.0.0.1", port=PORT, access_log=False, log_level="error", timeout_keep_alive=75)
