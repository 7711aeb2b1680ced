"""The accounts and the counter together, as they are made of the configuration and opened with the store."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from twisted.internet.threads import deferToThreadPool

from ngpu.adapter import IUrlCheck
from ngpu.cloud.accounts import Accounts
from ngpu.cloud.catalog import ALL, Catalog
from ngpu.cloud.counter import Counter, IWorkspaces
from ngpu.cloud.passwords import matches
from ngpu.following import Following
from ngpu.settings import ScryptHash, Settings
from ngpu.storing import IStore


@dataclass(frozen=True)
class Desk:
    """What the published client's calls are served from."""

    accounts: Accounts
    counter: Counter
    _following: Following

    async def open(self) -> None:
        """Read what was kept; to be called once the store is open and the workspaces are there.

        :raises StoreUnavailable: the store cannot read or write.
        """
        await self.accounts.open()
        await self.counter.open()
        self._following.start()

    def close(self) -> None:
        """Follow what other gateways change no more."""
        self._following.stop()


def make_desk(settings: Settings, store: IStore, workspaces: IWorkspaces, urls: IUrlCheck, reactor: Any) -> Desk | None:
    """The desk; ``None`` where the configuration has no accounts."""
    if not settings.cloud.accounts:
        return None

    async def check(sent: str, kept: ScryptHash) -> bool:
        return await deferToThreadPool(reactor, reactor.getThreadPool(), matches, sent, kept)

    counter = Counter(
        Catalog(store.documents, store.exclusively),
        workspaces,
        urls,
        nodes=settings.nodes,
        mounts=settings.fleet.mounts,
        clock=reactor.seconds,
        zone=settings.zone,
    )
    accounts = Accounts(settings.cloud, store.documents, reactor.seconds, check, store.exclusively)

    async def follow(collections: Collection[str]) -> None:
        await counter.follow(collections)
        await accounts.open()

    return Desk(accounts, counter, Following(store.news, sorted(ALL), follow, reactor))
