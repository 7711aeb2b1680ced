"""A worker as people write them, on starlette and uvicorn, in a thread of the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

WITHIN = 10.0


class Served:
    """Listens on ``port`` as long as the block lasts."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        config = uvicorn.Config(
            Starlette(routes=routes),
            host="127.0.0.1",
            port=0,
            lifespan="off",
            log_level="warning",
            ws_max_size=1 << 26,
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


class Receipts:
    """What a client has received: the worker goes on only after the client's receipt of the last piece.

    So a stream that anybody on the way holds back comes to no end, and breaks off after `WITHIN` seconds.
    """

    def __init__(self) -> None:
        self._given = threading.Semaphore(0)

    def give(self) -> None:
        """The client has the last piece."""
        self._given.release()

    async def wait(self) -> None:
        """Until there is a receipt for the last piece.

        :raises TimeoutError: there is none in time.
        """
        for _ in range(int(WITHIN / 0.005)):  # no thread waits, which would hold up the end of a test that fails
            if self._given.acquire(blocking=False):
                return
            await asyncio.sleep(0.005)
        raise TimeoutError("the client has not received what was sent")

    def forget(self) -> None:
        """Drop receipts that nobody has waited for."""
        while self._given.acquire(blocking=False):
            pass
