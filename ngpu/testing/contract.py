"""What every contract is checked with: a fresh instance for each clause, and sentences that name what broke."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from random import Random
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ngpu.interfaces import IPluginFactory, PluginContext
from ngpu.testing.making import SEED, make_plugin, plugin_context

TICK = 0.25
PATIENCE = 60.0
"""Seconds of the test's clock that an answer may take."""


class Contract:
    """A plugin under test.

    :param options: with which an instance can be made.
    :param plugins: those that it may be built out of.
    :param folder: that relative paths of its options are taken from.
    """

    def __init__(
        self, factory: IPluginFactory, options: Mapping[str, Any], plugins: Iterable[IPluginFactory], folder: str
    ) -> None:
        self.factory = factory
        self.options = options
        self._plugins = tuple(plugins)
        self._folder = folder

    def broken(self, clause: str, cause: BaseException | None = None) -> NoReturn:
        """Say which clause does not hold.

        :raises AssertionError: always.
        """
        why = f" ({type(cause).__name__}: {cause})" if cause is not None else ""
        raise AssertionError(f"{self.factory.family} {self.factory.name}: {clause}{why}") from cause

    def context(self, clock: Clock | None = None, fetcher: Any = None, seed: int = SEED) -> PluginContext:
        """What an instance gets."""
        return plugin_context(clock, Random(seed), fetcher, self._folder, self._plugins)

    def make(self, context: PluginContext | None = None) -> Any:
        """A fresh instance."""
        return make_plugin(self.factory, self.options, context or self.context())

    def result(self, work: Awaitable[Any], clock: Clock, within: float = PATIENCE) -> Any:
        """What a coroutine returns, or the Failure of what it raises; ``None`` while it waits.

        :param within: seconds for which the clock runs meanwhile.
        """
        results: list[Any] = []
        running = begun(work).addBoth(results.append)
        until = clock.seconds() + within
        while not results and clock.seconds() < until:
            clock.advance(TICK)
        if not results:
            running.cancel()
            return None
        return results[0]


def begun(work: Awaitable[Any]) -> Deferred[Any]:
    """A Deferred of what was returned by an async method."""
    return work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)  # type: ignore[arg-type]


def raised(result: Any, *kinds: type[BaseException]) -> bool:
    """Whether a result is the Failure of one of these."""
    return isinstance(result, Failure) and result.check(*kinds) is not None
