"""Two real gateways on one Redis: what is made through one of them is served by the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from api_rig import Rig, configuration, eventually, key_hash, rig_of, workspace
from redis_server import RedisServer, block

OF_THE_FILE = "of-the-file"


def admin(rig: Rig, method: str, path: str, **more: object) -> requests.Response:
    headers = {"Authorization": f"Bearer {rig.token}"}
    return requests.request(method, f"{rig.gateway.admin}/api/v1/workspaces{path}", headers=headers, timeout=30, **more)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


def test_a_workspace_is_made_on_one_and_served_by_both(
    server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = block(server)

    def make(ports: list[int]) -> dict[str, object]:
        return configuration(workspace(OF_THE_FILE, *ports, keys=[key_hash("file")]), store=store)

    with rig_of(tmp_path_factory.mktemp("a"), 1, make) as a, rig_of(tmp_path_factory.mktemp("b"), 1, make) as b:
        assert admin(a, "POST", "", json=workspace("w1", a.worker.port)).status_code == 201
        began = time.monotonic()
        eventually(lambda: b.client("w1").send("/x").status_code == 200, "the other one serves it", 5.0)
        print(f"\nserved by the other one after {(time.monotonic() - began) * 1000:.0f} ms")
        with ThreadPoolExecutor(8) as pool:
            made = [
                pool.submit(admin, rig, "POST", "", json=workspace(f"x{number}", a.worker.port, keys=[key_hash("k")]))
                for number, rig in enumerate([a, b] * 4)
            ]
            codes = sorted(each.result().status_code for each in made)
        assert codes == [201] + [400] * 7, "one key opens one workspace"
        assert admin(b, "DELETE", "/w1").status_code == 200
        eventually(lambda: a.client("w1").send("/x").status_code == 401, "it opens nothing", 5.0)
        assert admin(a, "GET", "/w1").status_code == 404
