"""The tests of raw calls share `raw_rig`; a failed one shows its gateway's log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from leaks import FAILED


@pytest.fixture(autouse=True)
def shown_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """Show the gateway's log when a test with a rig has failed."""
    yield
    rig = request.node.funcargs.get("rig")
    if rig is not None and request.node.stash.get(FAILED, False):
        print(rig.gateway.tail())
