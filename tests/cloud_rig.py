"""The rooms behind the published client's calls without sockets: stores and workspaces in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ngpu.cloud.asked import ImageAsked, WorkspaceAsked
from ngpu.cloud.catalog import Catalog
from ngpu.cloud.counter import Counter
from ngpu.cloud.passwords import sent_for
from ngpu.cloud.standing import Standing
from ngpu.egress import Egress
from ngpu.errors import BadRequest, Conflict, NotFound
from ngpu.settings import Account, Cloud, loads
from ngpu.sharing import ALONE, Exclusively
from ngpu.testing.documents import MemoryDocuments

T = TypeVar("T")
SALT = bytes(range(8))
NODES = """
nodes:
  - {address: "0xA1", host: a, engine: "tcp://a:2376", gpus: {type: RTX 3090, count: 2, memory: 24GiB}, labels: {area: eu}}
  - {address: "0xA2", host: b, engine: "tcp://b:2376", gpus: {type: RTX 3090, count: 4, memory: 24GiB}, memory: 64GiB}
  - {address: "0xA3", host: c, engine: "tcp://c:2376", gpus: {type: A100, count: 1, memory: 80GiB}, labels: {area: us}}
  - {address: "0xA4", host: d, engine: "tcp://d:2376"}
  - {address: "0xA5", host: e, gpus: {type: H100, count: 8}}
"""  # noqa: E501
ANN, BOB = "ann@example.org", "bob@example.org"
URL = "https://192.0.2.7/image.tar"
RUN = "docker run -itd --gpus all -p 8075:4040 -p 8076:4041 -e A=b e795e95b9616 python serve.py"


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

    async def look(self) -> None:
        """Nobody else makes any."""

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


def image(**more: Any) -> ImageAsked:
    given_ = {"image_name": "talker", "wget_url": URL, "start_cmd": RUN, "docker_image_id": "e795e95b9616", **more}
    return ImageAsked(**given_)


class House:
    """A counter; ``restart`` makes another one of what was kept."""

    def __init__(
        self,
        documents: Documents | None = None,
        workspaces: Workspaces | None = None,
        exclusively: Exclusively = ALONE.exclusively,
    ) -> None:
        self.documents = documents or Documents()
        self.workspaces = workspaces or Workspaces()
        self.now = 1_700_000_000.0
        settings = loads(NODES + "egress: {allow: [192.0.2.0/24]}", "f", Path("/")).settings
        self.counter = Counter(
            Catalog(self.documents, exclusively),
            self.workspaces,
            Egress(settings.egress.allow, self._resolve),
            nodes=settings.nodes,
            mounts=("/srv/models",),
            clock=self._tick,
            zone=ZoneInfo("UTC"),
        )
        done(self.counter.open())

    def _tick(self) -> float:
        self.now += 1
        return self.now

    async def _resolve(self, host: str) -> list[str]:
        raise OSError(host)

    def restart(self, exclusively: Exclusively = ALONE.exclusively) -> House:
        return House(self.documents, self.workspaces, exclusively)

    def image(self, account: str = ANN, **more: Any) -> str:
        return str(done(self.counter.create_image(account, image(**more)))["image_id"])

    def product(self, name: str = "RTX 3090 24G") -> str:
        return next(str(each["id"]) for each in self.counter.products() if each["product_name"] == name)

    def order(self, account: str = ANN, **more: Any) -> str:
        given_ = {"workspace_name": "w", "product_id": self.product(), **more}
        image_id = given_.pop("image_id", None) or self.image(account)
        asked = WorkspaceAsked(image_id=image_id, **given_)
        return str(done(self.counter.create_workspace(account, asked))["workspace_id"])

    def group(self, name: str = "g", account: str = ANN) -> str:
        return str(done(self.counter.create_group(account, name))["workspace_group_id"])
