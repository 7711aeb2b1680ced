"""The rooms behind the published client's calls without sockets: stores and workspaces in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ngpu.cloud.passwords import sent_for
from ngpu.cloud.standing import Standing
from ngpu.errors import BadRequest, Conflict, NotFound
from ngpu.settings import Account, Cloud
from ngpu.testing.documents import MemoryDocuments

T = TypeVar("T")
SALT = bytes(range(8))


def done(work: Awaitable[T]) -> T:
    """The result of a coroutine that has nothing to wait for."""
    results: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(results.append)
    assert results, "it still waits"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def account(email: str, password: str) -> Account:
    """An account whose password is cheap to check."""
    digest = hashlib.scrypt(sent_for(password).encode(), salt=SALT, n=1024, r=8, p=1, dklen=32)
    return Account(email=email, password=f"scrypt$1024$8$1${SALT.hex()}${digest.hex()}")


def cloud_settings(*accounts: Account, **more: Any) -> Cloud:
    return Cloud.model_validate({"accounts": accounts, **more})


class Documents(MemoryDocuments):
    """Documents that a test looks into: ``kept`` is collection → key → JSON."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, str]] = {}
        super().__init__(self.kept)


class Workspaces:
    """The gateway's workspaces, as far as the counter knows them."""

    def __init__(self) -> None:
        self.blocks: dict[str, Mapping[str, Any]] = {}
        self.standings: dict[str, Standing] = {}
        self.refusing = ""

    def has(self, workspace_id: str) -> bool:
        return workspace_id in self.blocks

    async def create(self, block: Mapping[str, Any]) -> None:
        if self.refusing:
            raise BadRequest(self.refusing)
        if block["id"] in self.blocks:
            raise Conflict("there is one of that id")
        self.blocks[block["id"]] = block

    async def delete(self, workspace_id: str) -> None:
        if self.blocks.pop(workspace_id, None) is None:
            raise NotFound("no such workspace")

    def standing(self, workspace_id: str) -> Standing:
        return self.standings.get(workspace_id, Standing())
