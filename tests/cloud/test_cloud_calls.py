"""The routes of the published client's calls, without a socket: what a client that goes away leaves behind."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from cloud_rig import Documents, House, Workspaces, account, cloud_settings, done
from twisted.internet.defer import CancelledError, Deferred

from ngpu.cloud.accounts import Accounts
from ngpu.cloud.passwords import matches, sent_for
from ngpu.http.call import Call
from ngpu.http.cloud import ROOT, CloudCalls
from ngpu.http.reply import Reply
from ngpu.settings import ScryptHash
from ngpu.tenancy import Tenancy


class Request:
    """What a route reads of a request."""

    def __init__(self, token: str, body: Any) -> None:
        self.head = SimpleNamespace(named={b"token": [token.encode()]})
        self.args: dict[bytes, list[bytes]] = {}
        self.method = b"POST"
        self.peer_ip = "192.0.2.1"
        self.body = self
        self._body = json.dumps(body).encode()

    async def read(self, limit: int) -> bytes:
        return self._body


class HeldWorkspaces(Workspaces):
    """Creating takes until ``release`` fires."""

    def __init__(self) -> None:
        super().__init__()
        self.release: Deferred[None] = Deferred()

    async def create(self, block: Any) -> None:
        await self.release
        await super().create(block)


async def check(sent: str, kept: ScryptHash) -> bool:
    return matches(sent, kept)


def test_a_workspace_is_made_to_the_end_though_its_client_has_gone() -> None:
    """Half of one would be a record without a workspace, or one that its customer cannot see."""
    workspaces = HeldWorkspaces()
    house = House(workspaces=workspaces)
    accounts = Accounts(cloud_settings(account("ann@example.org", "x")), Documents(), lambda: house.now, check)
    done(accounts.open())
    token = done(accounts.login("ann@example.org", sent_for("x"), "192.0.2.1"))
    calls = CloudCalls(accounts, house.counter)
    (create,) = [route for _, address, route in calls.routes() if address == ROOT + "/cloud/workspace/create"]
    order = {"workspace_name": "w", "image_id": house.image(), "product_id": house.product()}
    results: list[Any] = []
    request: Any = Request(token, order)
    calling = Deferred.fromCoroutine(create(Call(request, Tenancy(()), ())))
    calling.addBoth(results.append)
    calling.cancel()
    assert [failure.type for failure in results] == [CancelledError]
    assert workspaces.blocks == {}
    workspaces.release.callback(None)
    (made,) = house.counter.workspaces("ann@example.org", None)
    assert workspaces.has(made["id"])
    request = Request(token, {**order, "workspace_name": "v"})
    reply: Reply = done(create(Call(request, Tenancy(()), ())))
    assert reply.status == 200
    assert isinstance(reply.document, dict)
    assert workspaces.has(reply.document["result"]["workspace_id"])
