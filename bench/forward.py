"""Calls a second through ``Forwarder.send``, beside stock treq over Twisted's Agent, to the same trivial worker.

``python bench/forward.py [seconds]`` starts the worker (asyncio and httptools, 1 KB replies) as a process of its own,
runs each client in turn, three rounds of each, with 32 calls at once, and prints calls and microseconds of processor
time per call.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httptools

BODY = b'{"prompt": "a cat"}'
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: x\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
AT_ONCE = 32


class Worker(asyncio.Protocol):
    """Answers every request with the same kilobyte."""

    def connection_made(self, transport: Any) -> None:
        """asyncio: connected."""
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """llhttp: the whole request is there."""
        self._transport.write(REPLY)


async def serve() -> None:
    """Listen on a free port, which goes to stdout, until stdin is closed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Worker, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


class Sink:
    """Keeps what it gets, as the gateway's sinks do."""

    def start(self, head: Any) -> None:
        """A reply begins."""
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        """Some of it."""
        self.data += data


async def measure(reactor: Any, port: int, seconds: float) -> None:
    """Both clients in turn."""
    from treq.client import HTTPClient
    from twisted.web.client import Agent, HTTPConnectionPool

    from ngpu.forward import make_forwarder
    from ngpu.model import BytesBody, UpstreamRequest
    from ngpu.upstream.pool import Pool

    pool = Pool(reactor)
    forwarder = make_forwarder(reactor, pool)
    request = UpstreamRequest("POST", "/work", 8080, ((b"Content-Type", b"application/json"), (b"X-A", b"1")))

    async def ours() -> None:
        sink = Sink()
        await forwarder.send("127.0.0.1", port, request, BytesBody(BODY), sink, 30)
        assert len(sink.data) == 1024

    stock_pool = HTTPConnectionPool(reactor)
    stock_pool.maxPersistentPerHost = AT_ONCE
    client = HTTPClient(Agent(reactor, pool=stock_pool))

    async def stock() -> None:
        response = await client.post(
            f"http://127.0.0.1:{port}/work",
            data=BODY,
            headers={"Content-Type": "application/json", "X-A": "1"},
            timeout=30,
            reactor=reactor,
            allow_redirects=False,
            unbuffered=True,
        )
        assert len(await response.content()) == 1024

    for _ in range(3):
        for name, call in (("ngpu", ours), ("stock treq", stock)):
            print(f"{name:>12}: {await rate(reactor, call, seconds)}", flush=True)
    await pool.close()
    await stock_pool.closeCachedConnections()


async def rate(reactor: Any, call: Callable[[], Awaitable[None]], seconds: float) -> str:
    """Run it AT_ONCE times side by side for that long."""
    from twisted.internet.defer import Deferred, gatherResults

    count, end = 0, reactor.seconds() + seconds
    wall, cpu = time.perf_counter(), time.process_time()

    async def repeat() -> None:
        nonlocal count
        while reactor.seconds() < end:
            await call()
            count += 1

    await gatherResults([Deferred.fromCoroutine(repeat()) for _ in range(AT_ONCE)])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return f"{count / wall:7.0f} calls/s, {cpu / count * 1e6:6.0f} us of processor time a call"


def main() -> None:
    """The command."""
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
        return
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    seconds = float(sys.argv[1]) if sys.argv[1:] else 3.0
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        port = int(worker.stdout.readline())
        react(lambda reactor: Deferred.fromCoroutine(measure(reactor, port, seconds)))


if __name__ == "__main__":
    main()
