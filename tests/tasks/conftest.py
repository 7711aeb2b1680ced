"""Every house of a test is closed with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gateway_rig import closed_houses


@pytest.fixture(autouse=True)
def _close_houses() -> Iterator[None]:
    yield from closed_houses()
