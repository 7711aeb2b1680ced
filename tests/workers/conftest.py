"""Apps end to end: a gateway process, stand-ins of workers behind it, and a client like the published ones."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "api"))

from apps_rig import Apps
from leaks import FAILED


@pytest.fixture
def apps(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Apps]:
    """Starts workers and a gateway, and ends them with the test."""
    with Apps.begun(tmp_path) as begun:
        yield begun
        if request.node.stash.get(FAILED, False) and begun.started:
            print(begun.gateway.tail())
