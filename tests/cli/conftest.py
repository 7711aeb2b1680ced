"""One gateway in front of one demo worker, for all tests of commands that a process of pytest runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from command_rig import CommandRig, running_rig
from leaks import FAILED


@pytest.fixture(scope="session")
def _gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandRig]:
    with running_rig(tmp_path_factory.mktemp("commands")) as rig:
        yield rig


@pytest.fixture
def rig(_gateway: CommandRig, request: pytest.FixtureRequest) -> Iterator[CommandRig]:
    """The gateway; its log is shown when a test has failed."""
    yield _gateway
    if request.node.stash.get(FAILED, False):
        print(_gateway.gateway.tail())
