"""Calls of the admin API whose replies are held against its document."""

from __future__ import annotations

import re
from typing import Any

import requests
from described import Described
from processes import Gateway


class Admin:
    """Calls the admin API, and lets the document judge every reply."""

    def __init__(self, gateway: Gateway, described: Described) -> None:
        self.gateway = gateway
        self.described = described
        self.token = (gateway.config_file.parent / "var/admin.token").read_text().strip()

    def ask(self, method: str, path: str, status: int, name: str = "", **more: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        url = self.gateway.admin + re.sub(r"\{\w+\}", name, path)
        reply = requests.request(method, url, headers=headers, timeout=30, **more)
        assert reply.status_code == status, f"{reply.status_code}: {reply.text[:500]}"
        self.described.check(method, path, reply)
        body: dict[str, Any] = reply.json()
        return body
