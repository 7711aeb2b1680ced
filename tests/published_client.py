"""A stand-in for the published command-line client: what it sends, how it sends it, and what it reads of the replies.

It takes HTTP 200 alone for success, looks at nothing but ``result`` then, and prints whatever else comes.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

import requests

WITHIN = 30.0


class ClientStopped(Exception):
    """What the client prints before it ends."""

    def __init__(self, reply: requests.Response) -> None:
        super().__init__(f"{reply.status_code}: {reply.text}")
        self.reply = reply


class PublishedClient:
    """One user of it.

    :param host: of the gateway, as a URL.
    """

    def __init__(self, host: str, email: str = "admin@admin.com", password: str = "111111") -> None:
        self.host = host
        self.email = email
        self.password = password
        self._session = requests.Session()
        self._session.trust_env = False
        self._token: str | None = None

    def login(self) -> str:
        """A token; the real one fetches a new one for each command."""
        sent = {"email": self.email, "password": hashlib.md5(self.password.encode()).hexdigest()}
        reply = self._session.post(f"{self.host}/ngpu/api/v1/user/login", json=sent, timeout=30)
        if reply.status_code != 200:
            raise ClientStopped(reply)
        self._token = reply.json()["result"]["token"]
        return self._token

    def headers(self, labelled: bool = False) -> dict[str, str]:
        """``labelled``: the token's holder says ``application/json``, whatever it sends."""
        token = self._token or self.login()
        return {"Token": token, **({"Content-Type": "application/json"} if labelled else {})}

    def image_create(self, name: str, wget_url: str, start: str, docker_image_id: str, **more: Any) -> str:
        sent = {
            "image_name": name,
            "type": 1,
            "wget_url": wget_url,
            "note": more.pop("note", None),
            "action": 1,
            "start_cmd": start,
            "stop_cmd": "",
            "port_mapping": more.pop("ports", None),
            "exception": 1,
            "docker_image_id": docker_image_id,
            "file_size": 0,
            "file_path": "",
            **more,
        }
        image_id: str = self._post("cloud/image/create", sent)["image_id"]
        return image_id

    def workspace_create(self, name: str, image_id: str, product_id: Any, **more: Any) -> str:
        workspace_id: str = self._post("cloud/workspace/create", self.order(name, image_id, product_id, **more))[
            "workspace_id"
        ]
        return workspace_id

    @staticmethod
    def order(name: str, image_id: str, product_id: Any, **more: Any) -> dict[str, Any]:
        return {
            "workspace_name": name,
            "area": "*",
            "duration": 1,
            "duration_unit": "week",
            "public_net": 1,
            "num": 1,
            "image_id": image_id,
            "product_id": product_id,
            "is_group": False,
            "workspace_group_id": "",
            **more,
        }

    def group_create(self, name: str) -> str:
        group_id: str = self._post("cloud/workspace/group/create", {"workspace_group_name": name})["workspace_group_id"]
        return group_id

    def listed(self, what: str) -> list[dict[str, Any]]:
        """``image``, ``product``, ``workspace/group`` and so on."""
        found: list[dict[str, Any]] = self._result(self.get(f"cloud/{what}/list"))
        return found

    def group_selector(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._result(self.get("cloud/workspace/group/selector"))
        return found

    def dispense_status(self, workspace_id: str | None, labelled: bool = False) -> tuple[int, str, str]:
        """The state of a workspace, its id and its name: of the first in the list, unseen. The id goes in the body."""
        reply = self.get("cloud/workspace/list", data={"id": workspace_id}, labelled=labelled)
        first = self._result(reply)[0]
        return first["docker_state"], first["id"], first["workspace_name"]

    def wait_ready(self, workspace_id: str, left_over: dict[str, Any]) -> dict[str, Any]:
        """Ask until it is ready. The fields of the call before go along in the body, labelled as JSON."""
        deadline = time.monotonic() + WITHIN
        while True:
            reply = self.get(f"cloud/workspace/list?id={workspace_id}", data=left_over, labelled=True)
            if reply.status_code == 200:
                row: dict[str, Any] = reply.json()["result"][0]
                if row["docker_state"] == 4 and len(row["node_list"]) > 0 and row["node_list"][0]["rStatus"] == 1:
                    return row
            assert time.monotonic() < deadline, reply.text
            time.sleep(0.2)

    def workspace_delete(self, workspace_id: str) -> Any:
        return self._result(self.get(f"cloud/workspace/delete/{workspace_id}"))

    def get(self, path: str, data: Any = None, labelled: bool = False) -> requests.Response:
        url = f"{self.host}/ngpu/api/v1/{path}"
        return self._session.get(url, headers=self.headers(labelled), data=data, timeout=30)

    def _post(self, path: str, sent: dict[str, Any]) -> dict[str, Any]:
        url = f"{self.host}/ngpu/api/v1/{path}"
        found: dict[str, Any] = self._result(self._session.post(url, json=sent, headers=self.headers(True), timeout=30))
        return found

    @staticmethod
    def _result(reply: requests.Response) -> Any:
        if reply.status_code != 200:
            raise ClientStopped(reply)
        return reply.json()["result"]
