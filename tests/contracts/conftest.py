"""A store of each kind, for the suites of the task stores' contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from task_stores import BACKENDS, Opener


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS.keys())
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    from twisted.internet import reactor

    return request.param(tmp_path, reactor)


@pytest_twisted.async_yield_fixture
async def store(opener: Opener) -> AsyncIterator[Any]:
    opened = await opener()
    yield opened
    await opened.close()
