"""What workers answer, as docs/openapi.yaml says that it is passed on: each status, and bodies of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from described import Described
from processes import Gateway, running
from scripted_worker import ScriptedWorker, script

ID, NODE = "367614711220405248", "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
LIMITED = "367614711220405249"


@pytest.fixture(scope="module")
def worker() -> Iterator[ScriptedWorker]:
    worker = ScriptedWorker().start()
    yield worker
    worker.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, worker: ScriptedWorker) -> Iterator[Gateway]:
    block = {
        "id": ID,
        "ports": {"8080": 7860},
        "upstream": [{"node": NODE, "ports": {"8080": worker.port}}],
        "health": {"interval": "200ms", "timeout": "2s"},
        "rate": {"per_second": 1000},
    }
    configuration = {
        "nodes": [{"address": NODE, "host": "127.0.0.1"}],
        "workspaces": [block, {**block, "id": LIMITED, "rate": {"per_second": 0.001, "burst": 1}}],
        "apps": {"act": {"adapter": "passthrough", "workspace": ID, "path": "act"}, "getImage": {"query": True}},
    }
    with running(tmp_path_factory.mktemp("workers")) as processes:
        yield processes.start_gateway(configuration)


def submitted(gateway: Gateway, url: str, data: Any, key: str = ID, mode: str = "Sync") -> requests.Response:
    return requests.post(
        f"{gateway.url}/user/schedulingTask",
        params={"paramUrl": url, "taskMode": mode},
        json={"data": data},
        headers={"Authorization": key},
        timeout=60,
    )


@pytest.mark.parametrize("data", ["x", {"a": 1}], ids=["string", "object"])
@pytest.mark.parametrize(
    "status", [201, 302, 400, 401, 403, 404, 405, 409, 410, 413, 418, 422, 429, 451, 500, 501, 502, 503, 504, 507]
)
def test_a_workers_status(gateway: Gateway, described: Described, status: int, data: Any) -> None:
    reply = submitted(gateway, script("act", status=status, body=b'{"a":1}'), data)
    assert reply.status_code == (status if status >= 400 else 200 if status < 300 else 502)
    described.check("POST", "/user/schedulingTask", reply)
    asked = {"params": {"taskID": reply.json()["taskID"]}, "timeout": 60}
    for path in ("/user/queryTask", "/user/getDetailed", "/user/getTask"):
        described.check("GET", path, requests.get(gateway.url + path, **asked))
    described.check("GET", "/user/{name}", requests.get(f"{gateway.url}/user/getImage", **asked))


@pytest.mark.parametrize("data", ["x", {"a": 1}], ids=["string", "object"])
@pytest.mark.parametrize("body", [b"hello", b'{"a":NaN}', b"\xff", b"", b"[1]", b'"s"', b"5", b"null", b"true"])
def test_a_workers_body(gateway: Gateway, described: Described, body: bytes, data: Any) -> None:
    reply = submitted(gateway, script("act", body=body), data)
    described.check("POST", "/user/schedulingTask", reply)
    asked = {"params": {"taskID": reply.json()["taskID"]}, "timeout": 60}
    described.check("GET", "/user/queryTask", requests.get(f"{gateway.url}/user/queryTask", **asked))


def test_statuses_of_ours_have_their_fields(gateway: Gateway) -> None:
    """Which the same ones of workers do not have."""
    assert "WWW-Authenticate" in submitted(gateway, "act", "x", key="nobody").headers
    assert submitted(gateway, "act", "x", key=LIMITED).status_code == 200
    over = submitted(gateway, "act", "x", key=LIMITED)
    assert over.status_code == 429 and int(over.headers["Retry-After"]) > 0
    assert requests.post(f"{gateway.url}/user/getImage", json={}, timeout=60).headers["Allow"] == "GET, HEAD"


@pytest.fixture(scope="module")
def described() -> Described:
    return Described()
