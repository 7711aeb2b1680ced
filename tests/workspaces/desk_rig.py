"""The use cases of workspaces over a hall, as `assembly` joins them; several of them over one store where asked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from gateway_rig import done
from roster_rig import Hall
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ngpu.adapter import IUrlCheck
from ngpu.errors import BadRequest, BadSettings, Unauthorized
from ngpu.following import Following
from ngpu.interfaces import IDocuments
from ngpu.settings import Loaded, loads, lone_workspace
from ngpu.sharing import ALONE
from ngpu.testing.documents import MemoryDocuments
from ngpu.testing.forwarder import FakeReply
from ngpu.testing.sharing import Hall as Meeting
from ngpu.workspaces import COLLECTION, Workspaces

FIXED, FIXED_KEY = "of-the-file", "the file's key"
CONFIGURATION: dict[str, Any] = {
    "nodes": [
        {"address": "0xAB01", "host": "10.0.0.1"},
        {"address": "0xAB02", "host": "10.0.0.2", "engine": "unix:///run/docker.sock"},
    ],
    "gates": {"ainn": {"checker": "static", "tickers": ["AINN"], "options": {"balances": {}}}},
    "fleet": {"mounts": ["/srv/models", "/data/"]},
    "workspaces": [
        {
            "id": FIXED,
            "ports": {8080: 7860},
            "keys": [hashlib.sha256(FIXED_KEY.encode()).hexdigest()],
            "upstream": [{"node": "0xAB01", "ports": {8080: 1}}],
        }
    ],
}
OK = FakeReply(pieces=(b"ok",))


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@implementer(IUrlCheck)
class NoPrivateHosts:
    """Refuses what a test's resolver would."""

    async def check(self, url: Any, name: str) -> None:
        if "10." in url or "localhost" in url:
            raise BadRequest(f"{name}: the host is not on the public internet, and not in egress.allow")


@implementer(IDocuments)
class HeldDocuments(MemoryDocuments):
    """Documents whose writes a test can hold."""

    held: Deferred[None] | None = None

    async def put(self, collection: str, key: str, document: Any) -> None:
        if self.held is not None:
            await self.held
        await super().put(collection, key, document)


class Desk:
    """The use cases over a hall, as `assembly` joins them."""

    def __init__(
        self,
        shelf: dict[str, dict[str, str]] | None = None,
        hall: Hall | None = None,
        meeting: Meeting | None = None,
        exclusively: Any = ALONE.exclusively,
        **configuration: Any,
    ) -> None:
        self.hall = hall or Hall()
        self.shared = None if meeting is None else meeting.join()
        say = (lambda collection: None) if meeting is None else (lambda each: meeting.speak(f"documents:{each}"))
        self.documents = HeldDocuments(shelf, say)
        text = yaml.safe_dump({**CONFIGURATION, **configuration})
        self.loaded: Loaded = loads(text, "ngpu.yaml", Path("/etc"))
        for workspace in self.loaded.settings.workspaces:
            self.hall.roster.put(workspace, self.hall.policy(workspace))

        def find(folders: Any) -> Any:
            return lambda family, name, options: self.hall.plugins.make(family, name, options, self.hall.context)

        self.workspaces = Workspaces(
            documents=self.documents,
            roster=self.hall.roster,
            fixed=self.loaded.given("workspaces"),
            read=lambda values: lone_workspace(values, self.loaded.settings, find),
            make_policy=self.hall.policy,
            urls=NoPrivateHosts(),
            mounts=self.loaded.settings.fleet.mounts,
            clear=self.hall.dispatcher.clear,
            exclusively=exclusively,
        )
        done(self.workspaces.load())
        self.hall.start()
        news = ALONE.news if self.shared is None else self.shared
        self.following = Following(news, (COLLECTION,), self.workspaces.follow, self.hall.clock)
        self.following.start()

    @property
    def kept(self) -> dict[str, Any]:
        return dict(done(self.documents.documents("workspaces")))

    def opens(self, credential: str) -> bool:
        try:
            self.hall.roster.tenancy.open(credential)
        except Unauthorized:
            return False
        return True

    def problems(self, settings: dict[str, Any]) -> dict[str, str]:
        """What is wrong with settings that are refused, and that nothing was changed by them."""
        before = (self.kept, [entry.id for entry in self.workspaces.entries()], dict(self.hall.roster.workspaces))
        with pytest.raises(BadSettings) as caught:
            done(self.workspaces.create(settings))
        after = (self.kept, [entry.id for entry in self.workspaces.entries()], dict(self.hall.roster.workspaces))
        assert before == after
        return dict(caught.value.problems)
