"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_twisted
from server_rig import Served


@pytest_twisted.async_yield_fixture
async def served() -> AsyncIterator[Served]:
    """A site on 127.0.0.1 with limits as they are, but for a short linger."""
    one = Served()
    yield one
    await one.stop()
