"""The contract of container engines, as far as it can be tried without an engine."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

from twisted.internet.task import Clock

from ngpu.containers import ContainerSpec, IContainerEngine
from ngpu.errors import EngineUnreachable
from ngpu.testing.contract import Contract, raised

_SPEC = ContainerSpec("ngpu-test-a", "registry.test/x@sha256:" + "0" * 64)


def verify_engine(contract: Contract) -> None:
    """Calls are coroutine functions, ``logs`` an asynchronous iterator; a closed engine says so, and never hangs."""
    clock = Clock()
    engine = contract.make(contract.context(clock))
    for name in IContainerEngine.names():
        if name != "logs" and not inspect.iscoroutinefunction(getattr(engine, name)):
            contract.broken(f"{name} must be a coroutine function")
    for _ in range(2):
        if (result := contract.result(_closed(engine), clock)) is not True:
            contract.broken("close must end, and may be called twice", getattr(result, "value", None))
    for name, call in _calls(engine):
        result = contract.result(call(), clock)
        if not raised(result, EngineUnreachable):
            contract.broken(f"once closed, {name} must raise EngineUnreachable", getattr(result, "value", None))


async def _closed(engine: Any) -> bool:
    await engine.close()
    return True


def _calls(engine: Any) -> list[tuple[str, Callable[[], Any]]]:
    """One of each."""

    async def archive() -> AsyncIterator[bytes]:
        yield b""

    def nothing(share: float) -> None:
        """Progress that nobody looks at."""

    return [
        ("info", lambda: engine.info()),
        ("containers", lambda: engine.containers("test")),
        ("resolve", lambda: engine.resolve("registry.test/x:1", None)),
        ("image", lambda: engine.image(_SPEC.image)),
        ("pull", lambda: engine.pull(_SPEC.image, None, nothing)),
        ("load", lambda: engine.load(archive(), None, nothing)),
        ("create", lambda: engine.create(_SPEC)),
        ("start", lambda: engine.start(_SPEC.name)),
        ("restart", lambda: engine.restart(_SPEC.name, 1.0)),
        ("remove", lambda: engine.remove(_SPEC.name, 1.0)),
        ("logs", lambda: _first(engine.logs(_SPEC.name, 10, False))),
    ]


async def _first(pieces: AsyncIterator[bytes]) -> bytes:
    return await anext(pieces)
