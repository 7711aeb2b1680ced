"""Deliveries over real sockets: to addresses that were looked at, a bounded number at once, past a store that fails."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network
from random import Random
from typing import Any

import pytest
import pytest_twisted
from raw_worker import Peer, RawWorker, Script
from task_stores import sample
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ngpu import vetted as vetted_room
from ngpu.egress import Egress
from ngpu.errors import StoreUnavailable
from ngpu.fetch import make_fetcher
from ngpu.metrics import Metrics
from ngpu.model import BytesBody
from ngpu.outbox import Backlog
from ngpu.settings import Workspace
from ngpu.testing.store import MemoryTaskStore
from ngpu.vetted import vetted
from ngpu.webhooks.delivery import MOST, MOST_EACH, TRIES_WITHOUT, Webhooks

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Rig:
    """Webhooks over a store in memory, and hosts whose addresses a test says, one list a look-up.

    :ivar heads: what receivers got.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.store = MemoryTaskStore()
        self.addresses: dict[str, list[list[str]]] = {}
        self.heads: list[bytes] = []
        self.workers: list[RawWorker] = []
        self.metrics = Metrics({"w": "w-1", "v": "v-2"})
        workspaces = {name: Workspace.model_validate({"id": name, "ports": {80: 80}}) for name in "wv"}
        self.egress = Egress([ip_network("127.0.0.1/32")], self._resolve)
        self.fetcher = make_fetcher(reactor, connect=vetted(reactor, self.egress, "webhook", True))
        self.webhooks = Webhooks(
            self.store, self.fetcher, workspaces, reactor, Random(1), self.metrics, lambda: 12345.6
        )

    async def _resolve(self, host: str) -> Sequence[str]:
        found = self.addresses[host]
        return found.pop(0) if len(found) > 1 else found[0]

    def serve(self, script: Script) -> int:
        self.workers.append(RawWorker(self.reactor, script))
        return self.workers[-1].port

    def takes(self) -> int:
        """The port of a receiver that takes what comes."""

        async def script(peer: Peer) -> None:
            self.heads.append(await peer.request())
            peer.write(OK)

        return self.serve(script)

    async def ended(self, task_id: str, webhook: str, **fields: Any) -> None:
        await self.store.add(sample(task_id, webhook=webhook, **fields), BytesBody())
        await self.store.cancel(task_id, 1.0)

    async def until(self, true: Any, within: float = 10.0) -> None:
        deadline = self.reactor.seconds() + within
        while not true():
            assert self.reactor.seconds() < deadline, "not in time"
            await deferLater(self.reactor, 0.01)

    def count(self, result: str, workspace: str = "w-1") -> float:
        return float(self.metrics.webhooks.labels(workspace, result)._value.get())


@pytest_twisted.async_yield_fixture
async def rig() -> AsyncIterator[Rig]:
    from twisted.internet import reactor

    made = Rig(reactor)
    yield made
    await made.webhooks.stop()
    await made.fetcher.close()
    for worker in made.workers:
        await worker.stop()


@pytest_twisted.ensureDeferred
async def test_a_name_that_leads_elsewhere_after_it_was_looked_at_gets_nothing(rig: Rig) -> None:
    """DNS rebinding: public at the submission, and an address of the gateway's own network at the delivery."""
    rig.egress = Egress([], rig._resolve)
    rig.fetcher = rig.webhooks._fetcher = make_fetcher(
        rig.reactor, connect=vetted(rig.reactor, rig.egress, "webhook", True)
    )
    port = rig.takes()
    rig.addresses["evil.example"] = [["93.184.216.34"], ["127.0.0.1"]]
    await rig.egress.check_webhook(f"https://evil.example:{port}/", "webhook")
    await rig.ended("t", f"https://evil.example:{port}/")
    await rig.webhooks.look()
    await rig.until(lambda: rig.count("failed") == 1)
    assert rig.workers[0].peers == []


@pytest_twisted.ensureDeferred
async def test_its_time_is_that_of_the_wall_clock(rig: Rig) -> None:
    """Receivers compare it with theirs; the reactor's, which nobody sets, may be hours behind after a pause."""
    rig.addresses["hook.example"] = [["127.0.0.1"]]
    await rig.ended("t", f"http://hook.example:{rig.takes()}/")
    await rig.webhooks.look()
    await rig.until(lambda: rig.count("delivered") == 1)
    assert b"\r\nwebhook-timestamp: 12345\r\n" in rig.heads[0].lower()


@pytest_twisted.ensureDeferred
async def test_who_is_connected_to_is_who_was_looked_at(rig: Rig) -> None:
    """One look-up a delivery; a second one, which another answer waits for, is never made."""
    port = rig.takes()
    rig.addresses["hook.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    await rig.ended("t", f"http://hook.example:{port}/a?b=c")
    await rig.webhooks.look()
    await rig.until(lambda: rig.count("delivered") == 1)
    assert rig.heads[0].startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert b"host: hook.example:%d\r\n" % port in rig.heads[0].lower()
    assert rig.addresses["hook.example"] == [["10.0.0.1"]]


@pytest_twisted.ensureDeferred
async def test_a_host_of_several_addresses_of_which_one_is_closed_gets_nothing(rig: Rig) -> None:
    port = rig.takes()
    rig.addresses["hook.example"] = [["127.0.0.1", "10.0.0.1"]]
    await rig.ended("t", f"http://hook.example:{port}/")
    await rig.webhooks.look()
    await rig.until(lambda: rig.count("failed") == 1)
    assert rig.workers[0].peers == []


@pytest_twisted.ensureDeferred
async def test_a_host_one_address_of_which_does_not_answer_is_reached_at_the_next(rig: Rig) -> None:
    rig.egress._allow = [ip_network("127.0.0.0/8")]  # type: ignore[assignment]
    port = rig.takes()
    rig.addresses["hook.example"] = [["127.0.0.77", "127.0.0.1"]]
    await rig.ended("t", f"http://hook.example:{port}/")
    await rig.webhooks.look()
    await rig.until(lambda: rig.count("delivered") == 1)


@pytest_twisted.ensureDeferred
async def test_a_host_one_address_of_which_is_silent_is_reached_at_the_next(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of IPv6 where a firewall drops it: its silence would last for as long as a receiver may take in all."""
    monkeypatch.setattr(vetted_room, "EACH", 0.3)
    rig.egress._allow = [ip_network("127.0.0.0/8")]  # type: ignore[assignment]
    port = rig.takes()
    with socket.socket() as silent, contextlib.ExitStack() as filling:
        silent.bind(("127.0.0.77", port))
        silent.listen(0)
        for _ in range(4):  # the kernel drops what is beyond its backlog, as such a firewall does
            full = filling.enter_context(socket.socket())
            full.setblocking(False)
            full.connect_ex(("127.0.0.77", port))
        rig.addresses["hook.example"] = [["127.0.0.77", "127.0.0.1"]]
        await rig.ended("t", f"http://hook.example:{port}/")
        await rig.webhooks.look()
        await rig.until(lambda: rig.count("delivered") == 1)


@pytest_twisted.ensureDeferred
async def test_only_so_many_at_once_in_all_and_of_one_workspace(rig: Rig) -> None:
    release: Deferred[None] = Deferred()
    open_now = most = 0

    async def script(peer: Peer) -> None:
        nonlocal open_now, most
        await peer.request()
        open_now += 1
        most = max(most, open_now)
        waiting: Deferred[None] = Deferred()
        release.addCallback(lambda _: waiting.callback(None))
        await waiting
        open_now -= 1
        peer.write(OK)

    rig.addresses["hook.example"] = [["127.0.0.1"]]
    port = rig.serve(script)
    names = [f"w{number}" for number in range(12)]
    rig.webhooks._workspaces = {name: Workspace.model_validate({"id": name, "ports": {80: 80}}) for name in names}
    few = MOST // MOST_EACH - 1
    for some, expected in ((names[:few], few * MOST_EACH), (names[few:], MOST)):
        for name in some:
            for number in range(6):
                await rig.ended(f"{name}.{number}", f"http://hook.example:{port}/", workspace=name)
        await rig.webhooks.look()
        await rig.until(lambda expected=expected: open_now == expected)
        busy = [webhook.workspace for webhook in rig.webhooks._under_way]
        assert max(busy.count(name) for name in names) == MOST_EACH and len(busy) == expected
    release.callback(None)
    await rig.until(lambda: rig.count("delivered", "former") == 72)
    assert most == MOST
    assert await rig.store.webhooks() == {}


@pytest_twisted.ensureDeferred
async def test_a_store_that_fails_when_it_is_delivered_delivers_it_again(rig: Rig) -> None:
    """At least once: what nobody could write down is due again when its lease is over."""
    port = rig.takes()
    rig.addresses["hook.example"] = [["127.0.0.1"]]
    await rig.ended("t", f"http://hook.example:{port}/")

    async def refuse(webhook: Any) -> None:
        raise StoreUnavailable("the disk is full")

    rig.store.webhook_delivered = refuse  # type: ignore[method-assign]
    await rig.webhooks.look()
    await rig.until(lambda: len(rig.heads) == 1 and not rig.webhooks._under_way)
    assert await rig.store.webhooks() == {"w": Backlog(1, 0)}
    (again,) = await rig.store.take_webhooks(rig.reactor.seconds() + 60, 9e9, 1, 1, {})
    assert (again.tries, again.id) == (2, "t.0")


@pytest_twisted.ensureDeferred
async def test_one_of_a_workspace_that_is_gone_is_given_up_after_some_tries(rig: Rig) -> None:
    """Not at once: where gateways are reloaded one after the other, one knows a new workspace before another does."""
    port = rig.takes()
    rig.addresses["hook.example"] = [["127.0.0.1"]]
    for name in ("gone", "new"):
        await rig.ended(name, f"http://hook.example:{port}/", workspace=name)
    for tries in range(1, TRIES_WITHOUT + 1):
        if tries == 3:
            made = Workspace.model_validate({"id": "new", "ports": {80: 80}})
            rig.webhooks._workspaces = {**rig.webhooks._workspaces, "new": made}
        taken = await rig.store.take_webhooks(9e9, 9e9, 2, 2, {})
        assert {each.tries for each in taken} == {tries}
        for each in taken:
            await rig.webhooks._deliver(each)
    assert await rig.store.webhooks() == {"gone": Backlog(0, 1)}
    assert rig.count("dead", "former") == 1 and len(rig.heads) == 1


@pytest_twisted.ensureDeferred
async def test_one_that_gives_way_to_another_process_begins_nothing_more(rig: Rig) -> None:
    """Its workspaces, and their secrets, are those of a configuration that may not hold any more."""
    arrived: Deferred[None] = Deferred()
    release: Deferred[None] = Deferred()

    async def script(peer: Peer) -> None:
        await peer.request()
        arrived.callback(None)
        await release
        peer.write(OK)

    rig.addresses["hook.example"] = [["127.0.0.1"]]
    port = rig.serve(script)
    await rig.ended("t", f"http://hook.example:{port}/")
    await rig.webhooks.look()
    await arrived
    rig.webhooks.retire()
    await rig.ended("u", f"http://hook.example:{port}/")
    release.callback(None)
    await rig.until(lambda: rig.count("delivered") == 1)
    await rig.webhooks.look()
    assert await rig.store.webhooks() == {"w": Backlog(1, 0)} and not rig.webhooks._under_way


@pytest_twisted.ensureDeferred
async def test_a_task_that_was_retried_meanwhile_tells_nothing_of_its_old_end(rig: Rig) -> None:
    port = rig.takes()
    rig.addresses["hook.example"] = [["127.0.0.1"]]
    await rig.ended("t", f"http://hook.example:{port}/")
    get = rig.store.get

    async def retried(task_id: str) -> Any:
        await rig.store.retry(task_id, 2.0, 9e9, 2.0)
        return await get(task_id)

    rig.store.get = retried  # type: ignore[method-assign]
    await rig.webhooks.look()
    await rig.until(lambda: not rig.webhooks._under_way)
    assert rig.heads == []
    assert await rig.store.webhooks() == {}


@pytest_twisted.ensureDeferred
async def test_a_stop_cuts_what_hangs_and_has_it_due_at_once(rig: Rig) -> None:
    arrived: Deferred[None] = Deferred()

    async def hang(peer: Peer) -> None:
        await peer.request()
        arrived.callback(None)
        await peer.until_gone()

    rig.addresses["hook.example"] = [["127.0.0.1"]]
    await rig.ended("t", f"http://hook.example:{rig.serve(hang)}/")
    await rig.webhooks.look()
    await arrived
    await rig.webhooks.stop()
    (again,) = await rig.store.take_webhooks(rig.reactor.seconds(), 9e9, 1, 1, {})
    assert again.tries == 2


@pytest_twisted.ensureDeferred
async def test_figures_follow_the_outbox(rig: Rig) -> None:
    rig.addresses["hook.example"] = [["127.0.0.1"]]
    await rig.ended("t", "http://hook.example:1/")
    await rig.ended("u", "http://hook.example:1/", workspace="v")
    taken = next(each for each in await rig.store.take_webhooks(9e8, 9e9, 2, 2, {}) if each.workspace == "w")
    await rig.store.webhook_failed(taken, None)
    await rig.webhooks._count()
    text = rig.metrics.exposition().decode()
    assert 'ngpu_webhooks_dead{workspace="w-1"} 1.0' in text
    assert 'ngpu_webhooks_pending{workspace="v-2"} 1.0' in text
    await rig.store.webhook_delivered(taken)
    rig.store._shelf.webhooks.clear()
    await rig.webhooks._count()
    assert "ngpu_webhooks_dead{" not in rig.metrics.exposition().decode()
