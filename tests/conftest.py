"""What all tests share: `no_leaks` for every test, `free_port`, `processes` and `bed` for those that ask."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from begin_first import in_order
from docker_bed import Bed, bed_or_skip, docker_bed
from forked import fork_server
from leaks import FAILED, no_leaks, pytest_runtest_makereport
from processes import Processes, find_free_port, running
from redis_server import stop_shared
from swarm_bed import docker_swarm

__all__ = ["no_leaks", "pytest_runtest_makereport"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where files run side by side, the long ones begin first: none of them is left to run alone in the end."""
    if hasattr(config, "workerinput"):
        items[:] = in_order(items)


def _freeze() -> None:
    """What is there now stays: the collections between tests need not look at it again."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    """What was imported stays."""
    _freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
    """What a file of tests leaves behind belongs to all of them, or is imported."""
    ran = yield
    if nextitem is None or nextitem.path != item.path:
        _freeze()
    return ran


def pytest_sessionfinish() -> None:
    """The Redis of the whole run, if a test has asked for it, and what starts gateways."""
    stop_shared()
    fork_server.stop()


@pytest.fixture
def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    return find_free_port()


@pytest.fixture
def processes(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Processes]:
    """Starts gateways and workers, ends them with the test, and shows their logs when it has failed."""
    with running(tmp_path) as started:
        yield started
        if request.node.stash.get(FAILED, False):
            print(*started.logs(), sep="\n")


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """Three Docker engines with mutual TLS and a registry, for all tests; whoever harms one sees to its recovery."""
    bed_or_skip()
    with docker_bed(3) as started:
        yield started


@pytest.fixture(scope="session")
def swarm_bed() -> Iterator[Bed]:
    """A Swarm of three machines with two GPUs each (their engines say so), and a registry."""
    bed_or_skip()
    with docker_swarm() as started:
        yield started
