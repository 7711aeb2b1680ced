"""The load generator: keep-alive connections that each send the next request when the last one is answered.

``python bench/load.py URL --connections 32 --seconds 5 --header 'Name: value' --body FILE`` prints one JSON object:
requests a second, latencies in milliseconds, and how many replies were no 200. It stays below the protocol level that
asyncio's streams cost, so that it is not what is measured; ``bench/gateway.py`` measures its ceiling each time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fixed_worker import message_end


class Caller(asyncio.Protocol):
    """One connection; ``latencies`` takes seconds, ``other`` the first bytes of replies that are no 200."""

    def __init__(self, request: bytes, latencies: list[float], other: list[bytes]) -> None:
        self.request = request
        self.latencies = latencies
        self.other = other
        self.data = bytearray()
        self.sent = 0.0
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        """Send one."""
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Take the reply, send the next."""
        self.data += data
        end = message_end(self.data)
        if end < 0:
            return
        if self.data.startswith(b"HTTP/1.1 200"):
            self.latencies.append(time.perf_counter() - self.sent)
        else:
            self.other.append(bytes(self.data[: min(end, 300)]))
        del self.data[:end]
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        """It is over."""
        if not self.lost.done():
            self.lost.set_result(None)


async def load(url: str, request: bytes, connections: int, warm_up: float, seconds: float) -> dict[str, Any]:
    """Run the load; what is answered during the warm-up does not count."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    other: list[bytes] = []
    lost = 0
    ending = False

    async def keep_calling() -> None:
        nonlocal lost
        while not ending:
            transport, caller = await loop.create_connection(
                lambda: Caller(request, latencies, other), parts.hostname, parts.port
            )
            try:
                await caller.lost
            finally:
                transport.abort()
            lost += 1

    callers = [asyncio.ensure_future(keep_calling()) for _ in range(connections)]
    await asyncio.sleep(warm_up)
    latencies.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    took, counted = time.perf_counter() - began, sorted(latencies)
    ending = True
    broken = [caller for caller in callers if caller.done() and not caller.cancelled()]
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)

    def percentile(part: float) -> float:
        return round(counted[min(len(counted) - 1, int(len(counted) * part))] * 1000, 3) if counted else 0.0

    return {
        "requests": len(counted),
        "per_second": round(len(counted) / took, 1),
        "p50_ms": percentile(0.5),
        "p99_ms": percentile(0.99),
        "not_200": len(other),
        "lost_connections": lost + len(broken),
        "sample": other[0].decode("latin-1") if other else "",
    }


def main() -> None:
    """Read the command line, print the result."""
    parser = argparse.ArgumentParser(description="Load one URL with POST requests.")
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds (1)")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds (5)")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--body", type=Path, required=True)
    options = parser.parse_args()
    parts = urlsplit(options.url)
    body = options.body.read_bytes()
    target = parts.path + ("?" + parts.query if parts.query else "")
    head = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}", *options.header]
    request = "\r\n".join([*head, "", ""]).encode() + body
    print(json.dumps(asyncio.run(load(options.url, request, options.connections, options.warm_up, options.seconds))))


if __name__ == "__main__":
    main()
