"""A toy of a gradio app: what `gradio_client` asks of one (sse_v3, as gradio 6 speaks it), its queue above all.

gradio itself would be too much for `make test`: 350 MB, and 26 s of the processor to install. What this says was read
off gradio 6.31.0; a real app of it was called, and streamed, through a gateway by hand.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

from served import Receipts, Served
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

FUNCTIONS = ("shout", "spell")
_PARAMETER = {
    "label": "text",
    "parameter_name": "text",
    "parameter_has_default": False,
    "parameter_default": None,
    "type": {"type": "string"},
    "python_type": {"type": "str", "description": ""},
    "component": "Textbox",
    "example_input": "hello",
}
_ENDPOINT = {"parameters": [_PARAMETER], "returns": [_PARAMETER], "api_visibility": "public", "description": ""}


def _config() -> dict[str, Any]:
    box = {"type": "textbox", "props": {"label": "text", "name": "textbox"}, "skip_api": False}
    each = {"inputs": [1], "outputs": [2], "backend_fn": True, "queue": True, "api_visibility": "public"}
    kinds = {"connection": "sse", "types": {"generator": True, "cancel": False}, "targets": [], "js": None}
    functions = [{"id": number, "api_name": name, **each, **kinds} for number, name in enumerate(FUNCTIONS)]
    return {
        "version": "6.31.0",
        "api_prefix": "/gradio_api",
        "protocol": "sse_v3",
        "connect_heartbeat": False,
        "components": [{"id": 1, **box}, {"id": 2, **box}],
        "dependencies": functions,
    }


class Session:
    """What one client is told over its one stream of events."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.pending = 0


class ToyGradio(Served):
    """Works on one call at a time. ``spell`` gives letter after letter, each for the receipt of the one before.

    :ivar cancelled: a call was cancelled by its client.
    """

    def __init__(self) -> None:
        self.receipts = Receipts()
        self.cancelled = threading.Event()
        self._sessions: dict[str, Session] = {}
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._numbers = itertools.count(1)
        self._turn = asyncio.Lock()
        self._waiting = 0
        super().__init__(
            [
                Route("/config", lambda request: JSONResponse(_config())),
                Route("/gradio_api/info", self._info),
                Route("/gradio_api/queue/join", self._join, methods=["POST"]),
                Route("/gradio_api/queue/data", self._data),
                Route("/gradio_api/cancel", self._cancel, methods=["POST"]),
                Route("/gradio_api/reset", self._cancel, methods=["POST"]),
            ]
        )

    async def _info(self, request: Request) -> Response:
        endpoints = {f"/{name}": _ENDPOINT for name in FUNCTIONS}
        return JSONResponse({"named_endpoints": endpoints, "unnamed_endpoints": {}})

    async def _join(self, request: Request) -> Response:
        asked = await request.json()
        session = self._sessions.setdefault(asked["session_hash"], Session())
        session.pending += 1
        event_id = f"event{next(self._numbers)}"
        work = self._work(event_id, session, FUNCTIONS[asked["fn_index"]], *asked["data"])
        self._calls[event_id] = asyncio.create_task(work)
        return JSONResponse({"event_id": event_id})

    async def _work(self, event_id: str, session: Session, function: str, text: str) -> None:
        def tell(kind: str, data: list[Any] | None = None, **more: Any) -> None:
            if data is not None:
                more["output"] = {"data": data, "is_generating": kind == "process_generating"}
            session.messages.put_nowait({"msg": kind, "event_id": event_id, "success": True, **more})

        tell("estimation", rank=self._waiting, queue_size=self._waiting + 1, rank_eta=None)
        self._waiting += 1
        result = text.upper()
        try:
            async with self._turn:
                tell("process_starts", eta=None)
                if function == "spell":
                    result = text
                    for number, letter in enumerate(text):  # after the first one, what has changed
                        tell("process_generating", [[["append", [], letter]] if number else letter])
                        await self.receipts.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
        finally:
            self._waiting -= 1
            tell("process_completed", [result])

    async def _data(self, request: Request) -> Response:
        session = self._sessions[request.query_params["session_hash"]]

        async def events() -> AsyncIterator[str]:
            while session.pending:
                message = await session.messages.get()
                session.pending -= message["msg"] == "process_completed"
                yield f"data: {json.dumps(message)}\n\n"
            yield 'data: {"msg": "close_stream", "event_id": null}\n\n'

        return StreamingResponse(events(), media_type="text/event-stream")

    async def _cancel(self, request: Request) -> Response:
        self._calls[(await request.json())["event_id"]].cancel()
        return JSONResponse({"success": True})
