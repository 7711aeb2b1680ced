"""A forwarder over real sockets, scripted workers and a sink that keeps what it gets."""

from __future__ import annotations

from typing import Any

from raw_worker import RawWorker, Script
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ngpu.forward import Forwarder, make_forwarder
from ngpu.model import Body, BytesBody, ReplyHead, UpstreamRequest
from ngpu.upstream.pool import Pool

EMPTY = BytesBody()
Fields = tuple[tuple[bytes, bytes], ...]


class Kept:
    """A sink that keeps everything; `on_write` decides what a write returns."""

    def __init__(self, on_write: Any = None) -> None:
        self.heads: list[ReplyHead] = []
        self.data = bytearray()
        self._on_write = on_write

    def start(self, head: ReplyHead) -> None:
        self.heads.append(head)
        self.data.clear()

    def write(self, data: bytes) -> Any:
        self.data += data
        return self._on_write(data) if self._on_write else None


class Rig:
    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.pool = Pool(reactor)
        self.forwarder: Forwarder = make_forwarder(reactor, self.pool)
        self._workers: list[RawWorker] = []

    def worker(self, script: Script, interface: str = "127.0.0.1", port: int = 0) -> RawWorker:
        worker = RawWorker(self.reactor, script, interface, port)
        self._workers.append(worker)
        return worker

    def send(
        self,
        worker: RawWorker,
        method: str = "GET",
        target: str = "/",
        body: Body | bytes = EMPTY,
        sink: Any = None,
        timeout: float = 10.0,
        fields: Fields = (),
    ) -> Deferred[ReplyHead]:
        return Deferred.fromCoroutine(
            self.forwarder.send(
                worker.host,
                worker.port,
                UpstreamRequest(method, target, 8080, fields),
                BytesBody(body) if isinstance(body, bytes) else body,
                Kept() if sink is None else sink,
                timeout,
            )
        )

    async def sleep(self, seconds: float) -> None:
        await deferLater(self.reactor, seconds)

    async def stop(self) -> None:
        await self.pool.close()
        for worker in self._workers:
            await worker.stop()
