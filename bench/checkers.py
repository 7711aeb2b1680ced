"""How many addresses a second a gate admits: from its cache, shared questions, and over sockets to an indexer.

``python bench/checkers.py``; everything runs in this process on loopback, the indexer too, so that the last figure is
a lower bound.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import Site

from ngpu.addresses import is_address
from ngpu.discovery import discover
from ngpu.fetch import make_fetcher
from ngpu.gates import Gate
from ngpu.interfaces import PluginContext
from ngpu.settings import loads

ADDRESS = "bc1pp8vyhh2ma0ntzjwr26xxrn5r0w296yu68wdwle5rrhgtv3a2lgkqtyayus"


class Indexer(Resource):
    """An OPI where everybody has one."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        """One balance."""
        result = {"overall_balance": "1" + "0" * 18, "available_balance": "0", "block_height": 1}
        return json.dumps({"error": None, "result": result}).encode()


async def measured(name: str, calls: int, once: Callable[[], Awaitable[object]], together: int = 1) -> None:
    """Run ``once`` so many times and print how many a second that was."""
    begun = time.perf_counter()
    for _ in range(calls // together):
        if together == 1:
            await once()
        else:
            await gatherResults([Deferred.fromCoroutine(once()) for _ in range(together)])  # type: ignore[arg-type]
    print(f"{name:<40} {calls / (time.perf_counter() - begun):>10,.0f} a second")


async def run(reactor: Any) -> None:
    """Measure."""
    port = reactor.listenTCP(0, Site(Indexer()), interface="127.0.0.1")
    fetcher = make_fetcher(reactor)
    plugins, context = discover([]), PluginContext(reactor, Random(1), ".", fetcher)

    def gate(cache: str) -> Gate:
        text = f"gates: {{g: {{checker: opi, tickers: [AINN], cache: {cache}}}}}"
        settings = loads(text, "bench", Path("/")).settings.gates["g"]
        checker = plugins.make("checker", "opi", {"url": f"http://127.0.0.1:{port.getHost().port}"}, context)
        return Gate(settings, checker, reactor, is_address)

    warm, cold = gate("1d"), gate("0")
    await warm.admit(ADDRESS)
    await measured("the same address, warm cache", 20_000, lambda: warm.admit(ADDRESS))
    await measured("the same address, 64 at once, no cache", 16_000, lambda: cold.admit(ADDRESS), 64)
    await measured("over a socket, one after another", 1_000, lambda: cold.admit(ADDRESS))
    await fetcher.close()
    await port.stopListening()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))
