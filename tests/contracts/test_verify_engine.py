"""What `verify_plugin` finds in engines that break their contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from ngpu.plugin import Factory
from ngpu.testing import FakeEngine, verify_plugin


class Plain(FakeEngine):
    def info(self) -> Any:
        return super().info()


class Endless(FakeEngine):
    async def close(self) -> None:
        await Deferred()


class Hanging(FakeEngine):
    async def start(self, name: str) -> None:
        await Deferred()


class Deaf(FakeEngine):
    async def logs(self, name: str, tail: int, follow: bool) -> AsyncIterator[bytes]:
        yield b"as if nothing had happened"


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        (Plain, "info must be a coroutine function"),
        (Endless, "close must end"),
        (Hanging, "once closed, start must raise EngineUnreachable"),
        (Deaf, "once closed, logs must raise EngineUnreachable"),
    ],
)
def test_what_an_engine_may_break(engine: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        verify_plugin(Factory("engine", "mine", "Mine.", lambda options, context: engine(context.clock)))


def test_the_fake_engine_keeps_it() -> None:
    verify_plugin(Factory("engine", "mine", "Mine.", lambda options, context: FakeEngine(context.clock)))
