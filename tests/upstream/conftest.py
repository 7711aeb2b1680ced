"""Fixtures of the client side's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_twisted
from upstream_rig import Rig


@pytest_twisted.async_yield_fixture
async def rig() -> AsyncIterator[Rig]:
    """A forwarder over real sockets, and workers that end with the test."""
    from twisted.internet import reactor

    one = Rig(reactor)
    yield one
    await one.stop()
