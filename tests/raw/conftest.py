"""The tests of raw calls share `raw_rig`, those of clients a toy worker; a failed one shows its gateway's log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from leaks import FAILED
from processes import Gateway, running
from raw_rig import ID, OTHER, configuration, eventually, workspace
from toy_worker import ToyWorker


@pytest.fixture(autouse=True)
def shown_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """Show the gateway's log when a test with a rig has failed."""
    yield
    rig = request.node.funcargs.get("rig")
    if rig is not None and request.node.stash.get(FAILED, False):
        print(rig.gateway.tail())


@pytest.fixture(scope="module")
def toy() -> Iterator[ToyWorker]:
    """Behind `gateway`."""
    with ToyWorker() as started:
        yield started


@pytest.fixture
def worker(toy: ToyWorker) -> ToyWorker:
    """The same, with nothing left of the test before."""
    toy.fresh()
    return toy


@pytest.fixture(scope="module")
def gateway(toy: ToyWorker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Of two workspaces, `ID`, and `OTHER` whose key may stand in the query."""
    blocks = [workspace(ID, toy.port), workspace(OTHER, toy.port, raw={"key_in_query": True})]
    with running(tmp_path_factory.mktemp("clients")) as processes:
        started = processes.start_gateway(configuration(*blocks))
        url, headers = f"{started.url}/proxy/healthz", {"Authorization": f"Bearer {ID}"}
        eventually(lambda: requests.get(url, headers=headers, timeout=5).ok, "a replica that is up")
        yield started
