"""docs/openapi.yaml says what the published command-line client gets, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from cloud_rig import account
from described import Described
from processes import Gateway, find_free_port, running

ROOT = "/ngpu/api/v1"
NODE = {"address": "0xA1", "host": "127.0.0.1", "gpus": {"type": "RTX 3090", "count": 1, "memory": "24GiB"}}
IMAGE = {"image_name": "n", "wget_url": "http://127.0.0.1:9/x.tar", "start_cmd": "docker run --gpus all -p 80:80 x"}


class User:
    """Calls the gateway with a token, and lets the document judge every reply."""

    def __init__(self, gateway: Gateway, described: Described) -> None:
        self.gateway = gateway
        self.described = described
        sent = {"email": "a@b", "password": "4a8a08f09d37b73795649038408b5f33"}
        self.token = self.ask("POST", "/user/login", token="", json=sent)["token"]

    def ask(
        self, method: str, path: str, status: int = 200, name: str = "x", token: str | None = None, **more: Any
    ) -> Any:
        """``result`` of a call whose reply must have this status and be as described."""
        shown = self.token if token is None else token
        headers = {"Token": shown} if shown else {}
        url = self.gateway.url + ROOT + path.replace("{name}", name)
        reply = requests.request(method, url, headers=headers, timeout=30, **more)
        assert reply.status_code == status, reply.text
        self.described.check(method, ROOT + path, reply)
        return reply.json()["result"]


@pytest.fixture(scope="module")
def described() -> Described:
    return Described()


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, described: Described) -> Iterator[User]:
    node = {**NODE, "engine": f"tcp://127.0.0.1:{find_free_port()}"}
    config = {
        "nodes": [node],
        "egress": {"allow": ["127.0.0.0/8"]},
        "cloud": {"accounts": [account("a@b", "c").model_dump()]},
    }
    with running(tmp_path_factory.mktemp("openapi")) as processes:
        yield User(processes.start_gateway(config), described)


def test_every_call_answers_as_described(user: User, described: Described) -> None:
    group_id = user.ask("POST", "/cloud/workspace/group/create", json={"workspace_group_name": "g"})[
        "workspace_group_id"
    ]
    image_id = user.ask("POST", "/cloud/image/create", json=IMAGE)["image_id"]
    (product,) = user.ask("GET", "/cloud/product/list")
    order = {"workspace_name": "w", "image_id": image_id, "product_id": product["id"], "workspace_group_id": group_id}
    workspace_id = user.ask("POST", "/cloud/workspace/create", json=order)["workspace_id"]
    described.validate_as(IMAGE, "ImageOrder")
    described.validate_as(order, "WorkspaceOrder")
    assert user.ask("GET", "/cloud/image/list") and user.ask("GET", "/cloud/workspace/list")
    assert user.ask("GET", "/cloud/workspace/list", params={"id": workspace_id})
    for path in ("list", "selector"):
        assert user.ask("GET", f"/cloud/workspace/group/{path}")
    user.ask("POST", "/cloud/workspace/create", 409, json=order)
    user.ask("GET", "/cloud/workspace/delete/{name}", name=workspace_id)
    user.ask("GET", "/cloud/workspace/delete/{name}", 404, name=workspace_id)
    user.ask("GET", "/cloud/workspace/list", 404, params={"id": workspace_id})
    user.ask("POST", "/cloud/workspace/create", 404, json={**order, "image_id": "1"})
    asked = {path for method, path in described.operations if path.startswith(ROOT)}
    assert len(asked) == 10


def test_every_call_refuses_as_described(user: User, described: Described) -> None:
    for (method, path), told in described.operations.items():
        if told["tags"] == ["cloud"]:
            short = path.removeprefix(ROOT)
            if short != "/user/login":
                user.ask(method, short, 401, token="")
                user.ask(method, short, 401, token="wrong")
            if method == "POST":
                user.ask(method, short, 400, data="{")
                user.ask(method, short, 413, data="x" * 70_000)
    for status in [*[401] * 10, 429]:
        user.ask("POST", "/user/login", status, token="", json={"email": "b@b", "password": "x"})
