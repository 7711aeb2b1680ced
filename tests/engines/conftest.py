"""Labs for the tests of engines beyond their contract."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_twisted
from docker_bed import Bed
from swarm_bed import SwarmLab


@pytest_twisted.async_yield_fixture
async def machines(swarm_bed: Bed) -> AsyncIterator[SwarmLab]:
    """All machines of the Swarm."""
    from twisted.internet import reactor

    opened = SwarmLab(swarm_bed, "unix", reactor, constraints=[])
    yield opened
    await opened.end()
