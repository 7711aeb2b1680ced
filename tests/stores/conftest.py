"""What tests of stores share: `start`, for servers of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_server import RedisServer, Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Redis servers that are this test's own, and ends them with it."""
    servers: list[RedisServer] = []

    def begun(*settings: str, port: int | None = None, sentinel: str = "") -> RedisServer:
        servers.append(RedisServer(tmp_path / f"redis{len(servers)}", *settings, port=port, sentinel=sentinel))
        return servers[-1].start()

    yield begun
    for server in reversed(servers):  # a sentinel before the master that it would replace
        server.stop()
