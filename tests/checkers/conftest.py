"""Fixtures of the checkers' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted
from brc20_sources import Checkers


@pytest_twisted.async_yield_fixture
async def checkers(tmp_path: Path) -> AsyncIterator[Checkers]:
    """Sources on real sockets, and checkers that ask them."""
    from twisted.internet import reactor

    made = Checkers(reactor, tmp_path)
    yield made
    await made.stop()
