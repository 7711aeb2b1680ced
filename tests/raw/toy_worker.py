"""A worker as people write them, on starlette and uvicorn: chat completions, events, uploads, a WebSocket."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


class ToyWorker:
    """Runs in a thread. ``go_on`` lets a stream of tokens go beyond its second one; ``left``: a client has left."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.left = threading.Event()
        self.forwarded: dict[str, str] = {}
        routes = [
            Route("/healthz", lambda request: PlainTextResponse("ok")),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/events", self._events),
            Route("/endless", self._endless),
            Route("/digest", self._digest, methods=["POST", "PUT"]),
            Route("/moved", lambda request: Response(status_code=307, headers={"Location": "/proxy/v1/models"})),
            WebSocketRoute("/ws", self._socket),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), host="127.0.0.1", port=0, log_level="warning", ws_max_size=1 << 26
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "uvicorn did not start"
            self._thread.join(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *error: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)

    async def _models(self, request: Request) -> Response:
        return JSONResponse(
            {"object": "list", "data": [{"id": "toy", "object": "model", "created": 1, "owned_by": "us"}]}
        )

    async def _chat(self, request: Request) -> Response:
        asked = json.loads(await request.body())
        words = asked["messages"][-1]["content"].split(" ")
        if words == ["fail"]:
            return JSONResponse({"error": {"message": "no such thing", "type": "invalid_request_error"}}, 400)
        if not asked.get("stream"):
            message = {"role": "assistant", "content": " ".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return JSONResponse(
                {"id": "1", "object": "chat.completion", "created": 1, "model": "toy", "choices": [choice]}
            )
        return StreamingResponse(self._tokens(words), media_type="text/event-stream")

    async def _tokens(self, words: list[str]) -> AsyncIterator[str]:
        for number, word in enumerate(words):
            if number == 2:
                await asyncio.to_thread(self.go_on.wait, 10)
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            piece: dict[str, Any] = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "toy"}
            yield f"data: {json.dumps({**piece, 'choices': [choice]})}\n\n"
        yield "data: [DONE]\n\n"

    async def _events(self, request: Request) -> Response:
        async def events() -> AsyncIterator[str]:
            for number in range(3):
                yield f"id: {number}\nevent: step\ndata: {number}\n\n"

        assert "authorization" not in request.headers and "key" not in request.query_params
        return StreamingResponse(events(), media_type="text/event-stream")

    async def _endless(self, request: Request) -> Response:
        async def ticks() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"tick\n"
                    await asyncio.sleep(0.02)
            finally:
                self.left.set()

        return StreamingResponse(ticks(), media_type="text/plain")

    async def _digest(self, request: Request) -> Response:
        digest, size = hashlib.sha256(), 0
        async for piece in request.stream():
            digest.update(piece)
            size += len(piece)
        self.forwarded = {name: value for name, value in request.headers.items() if name.startswith("x-forwarded-")}
        return JSONResponse({"sha256": digest.hexdigest(), "size": size})

    async def _socket(self, socket: WebSocket) -> None:
        await socket.accept(subprotocol="chat" if "chat" in socket.scope["subprotocols"] else None)
        try:
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                if message.get("text") == "close":
                    await socket.close(4000, "as you wish")
                    return
                if message.get("text") is not None:
                    await socket.send_text(message["text"])
                else:
                    await socket.send_bytes(message["bytes"])
        except WebSocketDisconnect:
            return
        finally:
            self.left.set()
