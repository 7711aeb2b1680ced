"""What an upload does around the part of its body that went another way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from raw_worker import OK, Peer
from upstream_rig import Rig

PART = b"p" * 700_000


class Gives:
    """A body whose relay finds, with bytes in hand, that it cannot go on: it writes them, and the rest is read."""

    def __init__(self, rest: list[bytes]) -> None:
        self.rest = rest
        self.length = 3 + len(PART) + sum(map(len, rest))
        self._passed = False

    def relay(self, sink: Any, over: Any) -> Any:
        if self._passed:
            return None
        self._passed = True
        relay = SimpleNamespace(stopped=False, given=len(PART), stop=lambda: None)

        def end() -> None:
            sink.write(PART)
            over(relay)

        sink.reactor.callLater(0, end)
        return relay

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"own"
        for piece in self.rest:
            yield piece


@pytest.mark.parametrize("rest", [[], [b"r" * 1000] * 3])
@pytest_twisted.ensureDeferred
async def test_nothing_overtakes_what_a_relay_left_with_the_transport(rig: Rig, rest: list[bytes]) -> None:
    bodies: list[bytes] = []

    async def answers(peer: Peer) -> None:
        for _ in range(2):
            bodies.append((await peer.request()).partition(b"\r\n\r\n")[2])
            peer.write(OK)

    worker = rig.worker(answers)
    assert (await rig.send(worker, "PUT", body=Gives(rest))).status == 200  # type: ignore[arg-type]
    assert (await rig.send(worker, "PUT", body=b"next")).status == 200
    assert bodies == [b"own" + PART + b"".join(rest), b"next"]
