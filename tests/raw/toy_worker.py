"""A worker as people write them: chat completions, events, uploads, a WebSocket, a page for browsers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

from served import Receipts, Served
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

EVENTS = 3
"""So many a connection; an `EventSource` comes back for more."""


PAGE = '<!doctype html><title>toy</title><link rel="icon" href="data:,">'


class ToyWorker(Served):
    """Each piece of a stream waits for the receipt of the one before, and the end for that of the last.

    :ivar receipts: of the client, by the test; or over ``/received``, by the client itself.
    :ivar left: a client has left.
    :ivar arrived: bytes of the upload that goes on.
    """

    def __init__(self) -> None:
        self.receipts = Receipts()
        self.left = threading.Event()
        self.forwarded: dict[str, str] = {}
        self.arrived = 0
        routes = [
            Route("/healthz", lambda request: PlainTextResponse("ok")),
            Route("/page", lambda request: HTMLResponse(PAGE)),
            Route("/received", self._received, methods=["POST"]),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/events", self._events),
            Route("/endless", self._endless),
            Route("/digest", self._digest, methods=["POST", "PUT"]),
            Route("/moved", lambda request: Response(status_code=307, headers={"Location": "/proxy/v1/models"})),
            WebSocketRoute("/ws", self._socket),
        ]
        super().__init__(routes)

    def fresh(self) -> None:
        """Forget the clients so far."""
        self.receipts.forget()
        self.left.clear()
        self.arrived = 0

    async def _received(self, request: Request) -> Response:
        self.receipts.give()
        return Response(status_code=204)

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
        for word in words:
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            piece: dict[str, Any] = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "toy"}
            yield f"data: {json.dumps({**piece, 'choices': [choice]})}\n\n"
            await self.receipts.wait()
        yield "data: [DONE]\n\n"

    async def _events(self, request: Request) -> Response:
        begins = int(request.headers.get("last-event-id", "-1")) + 1

        async def events() -> AsyncIterator[str]:
            for number in range(begins, begins + EVENTS):
                yield f"retry: 10\nid: {number}\nevent: step\ndata: {number}\n\n"
                await self.receipts.wait()

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
            self.arrived = size
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
