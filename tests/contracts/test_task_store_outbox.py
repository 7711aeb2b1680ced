"""What every `ITaskStore` does as an outbox of webhooks, and as a counter of rates. See `test_task_store`."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from task_stores import DONE, HERE, Opener, sample
from twisted.internet.defer import ensureDeferred, gatherResults

from ngpu.limits import Pace, Rate
from ngpu.model import BytesBody, TaskStatus
from ngpu.outbox import Backlog, Webhook

EMPTY = BytesBody()
URL = "https://receiver.example/hook?a=1"


async def cancelled(store: Any, task_id: str, at: float = 1001.0, **fields: Any) -> None:
    await store.add(sample(task_id, webhook=URL, **fields), EMPTY)
    assert await store.cancel(task_id, at) is TaskStatus.QUEUED


async def take(
    store: Any, now: float = 1500.0, until: float = 1530.0, room: int = 100, most: int = 100, **busy: int
) -> Any:
    return list(await store.take_webhooks(now, until, room, most, busy))


class TestOutbox:
    @pytest.mark.parametrize("how", ["finish", "fail", "cancel", "cancel a running one", "expire", "purge", "add"])
    @pytest_twisted.ensureDeferred
    async def test_every_end_of_a_task_comes_into_it(self, store: Any, how: str) -> None:
        ended = {"status": TaskStatus.FAILED, "ended_at": 1001.0, "outcome": DONE} if how == "add" else {}
        await store.add(sample(webhook=URL, **ended), EMPTY)
        if how != "add":
            assert await take(store) == []
        match how:
            case "finish" | "fail":
                await store.claim("w", HERE, 1001.0)
                assert await store.finish("t", 1, DONE, 1001.0, (0, b"") if how == "finish" else None)
            case "cancel":
                await store.cancel("t", 1001.0)
            case "cancel a running one":
                await store.claim("w", HERE, 1001.0)
                await store.cancel("t", 1001.0)
            case "expire":
                await store.expire(2000.0)
            case "purge":
                await store.cancel_queued("w", 1001.0, 10)
        assert await store.webhooks() == {"w": Backlog(1, 0)}
        assert await take(store, 1000.0) == []
        assert await take(store, 2000.0) == [Webhook("w", "t", 0, 1)]
        assert (await store.get("t")).webhook == URL

    @pytest_twisted.ensureDeferred
    async def test_nothing_else_does(self, store: Any) -> None:
        await store.add(sample("none"), EMPTY)
        await store.cancel("none", 1001.0)
        await store.add(sample("t", webhook=URL), EMPTY)
        task = await store.claim("w", HERE, 1001.0)
        await store.requeue("t", task.attempt)
        assert not await store.finish("t", task.attempt, DONE, 1002.0, None)
        assert await store.webhooks() == {}
        assert await take(store) == []

    @pytest_twisted.ensureDeferred
    async def test_an_end_comes_once(self, store: Any) -> None:
        await cancelled(store, "t")
        (webhook,) = await take(store)
        await store.webhook_delivered(webhook)
        await store.cancel("t", 1600.0)
        assert not await store.finish("t", 0, DONE, 1600.0, None)
        assert await store.webhooks() == {}

    @pytest_twisted.ensureDeferred
    async def test_one_under_way_is_not_given_out_until_its_time_is_over(self, store: Any) -> None:
        await cancelled(store, "t")
        assert await take(store, 1500.0, 1530.0) == [Webhook("w", "t", 0, 1)]
        assert await take(store, 1529.9) == []
        assert await take(store, 1530.0, 1560.0) == [Webhook("w", "t", 0, 2)]

    @pytest_twisted.ensureDeferred
    async def test_one_that_failed_is_due_when_it_is_said(self, store: Any) -> None:
        await cancelled(store, "t")
        (webhook,) = await take(store)
        assert await store.webhook_failed(webhook, 1700.0)
        assert await take(store, 1699.9) == []
        assert await take(store, 1700.0) == [Webhook("w", "t", 0, 2)]

    @pytest_twisted.ensureDeferred
    async def test_who_was_overtaken_by_a_later_try_decides_nothing(self, store: Any) -> None:
        await cancelled(store, "t")
        (first,) = await take(store, 1500.0, 1530.0)
        (second,) = await take(store, 1530.0, 1560.0)
        assert not await store.webhook_failed(first, 9e9)
        assert not await store.webhook_failed(first, None)
        assert await store.webhook_failed(second, 1561.0)
        assert await take(store, 1561.0) == [Webhook("w", "t", 0, 3)]
        await store.webhook_delivered(first)  # it was, whoever else is at it
        assert await take(store, 9e9) == []
        assert not await store.webhook_failed(second, 1.0)

    @pytest_twisted.ensureDeferred
    async def test_one_that_is_given_up_is_counted_and_never_due(self, store: Any) -> None:
        await cancelled(store, "t")
        await cancelled(store, "u")
        await cancelled(store, "foreign", workspace="v")
        given_up = next(webhook for webhook in await take(store) if webhook.task_id == "t")
        assert await store.webhook_failed(given_up, None)
        assert not await store.webhook_failed(given_up, 1.0)
        assert await store.webhooks() == {"w": Backlog(1, 1), "v": Backlog(1, 0)}
        assert sorted(webhook.task_id for webhook in await take(store, 9e9)) == ["foreign", "u"]

    @pytest_twisted.ensureDeferred
    async def test_a_retried_task_has_another_end(self, store: Any) -> None:
        await cancelled(store, "t")
        (first,) = await take(store)
        await store.retry("t", 1600.0, 2600.0, 1600.0)
        assert await store.webhooks() == {}
        assert not await store.webhook_failed(first, 1.0)
        await store.cancel("t", 1700.0)
        assert await take(store, 1700.0, 1730.0) == [Webhook("w", "t", 1, 1)]
        await store.webhook_delivered(first)
        (second,) = await take(store, 1730.0)
        assert first.id != second.id
        assert await store.webhooks() == {"w": Backlog(1, 0)}

    @pytest_twisted.ensureDeferred
    async def test_a_task_is_not_purged_while_its_webhook_is_pending(self, store: Any) -> None:
        await cancelled(store, "t")
        await cancelled(store, "u")
        assert await store.purge({}, 9e9) == 0
        taken = {webhook.task_id: webhook for webhook in await take(store)}
        await store.webhook_delivered(taken["t"])
        assert await store.purge({}, 9e9) == 1
        assert await store.get("t") is None
        await store.webhook_failed(taken["u"], None)
        assert await store.purge({}, 9e9) == 1
        assert await store.webhooks() == {}

    @pytest_twisted.ensureDeferred
    async def test_no_workspace_has_more_under_way_than_it_may(self, store: Any) -> None:
        for number in range(5):
            await cancelled(store, f"w{number}", 1001.0 + number)
            await cancelled(store, f"v{number}", 1010.0 + number, workspace="v")
        first = await take(store, most=2)
        assert [webhook.task_id for webhook in first] == ["w0", "v0", "w1", "v1"]
        assert [webhook.task_id for webhook in await take(store, most=3, w=2, v=3)] == ["w2"]
        assert [webhook.task_id for webhook in await take(store, room=3)] == ["w3", "v2", "w4"]
        assert await take(store, most=1, v=1) == []
        assert await take(store, room=0) == []

    @pytest_twisted.ensureDeferred
    async def test_who_has_fewer_under_way_comes_first(self, store: Any) -> None:
        """However long others have waited: the places of those whose receivers hang would be theirs for ever."""
        for number in range(3):
            await cancelled(store, f"w{number}", 1001.0 + number)
        await cancelled(store, "v0", 1400.0, workspace="v")
        await cancelled(store, "u0", 1401.0, workspace="u")
        assert [webhook.task_id for webhook in await take(store, room=1, most=4, w=3)] == ["v0"]
        assert [webhook.task_id for webhook in await take(store, room=2, most=4, w=1, u=2)] == ["w0", "w1"]
        assert [webhook.task_id for webhook in await take(store, room=2, most=4, w=1, u=1)] == ["w2", "u0"]

    @pytest_twisted.ensureDeferred
    async def test_at_once_nobody_gets_the_same(self, store: Any) -> None:
        for number in range(20):
            await cancelled(store, f"t{number}")
        taken = await gatherResults([ensureDeferred(take(store, room=3)) for _ in range(10)])
        ids = [webhook.task_id for some in taken for webhook in some]
        assert sorted(ids) == sorted(f"t{number}" for number in range(20))

    @pytest_twisted.ensureDeferred
    async def test_it_outlives_a_restart(self, opener: Opener) -> None:
        store = await opener()
        for name in ("a", "b", "c"):
            await cancelled(store, name)
        taken = {webhook.task_id: webhook for webhook in await take(store)}
        await store.webhook_failed(taken["a"], None)
        await store.webhook_failed(taken["b"], 1700.0)
        await store.close()
        store = await opener()
        assert await store.webhooks() == {"w": Backlog(2, 1)}
        assert await take(store, 1530.0, 1800.0) == [Webhook("w", "c", 0, 2)]
        assert await take(store, 1700.0, 1800.0) == [Webhook("w", "b", 0, 2)]
        await store.close()


class TestPace:
    RATE = Rate(2.0, 3)

    async def ask(self, store: Any, now: float, rate: Rate = RATE, workspace: str = "w") -> Pace:
        return await store.pace(workspace, rate, now)

    @pytest_twisted.ensureDeferred
    async def test_a_burst_and_then_one_at_a_time(self, store: Any) -> None:
        assert [await self.ask(store, 1000.0) for _ in range(4)] == [
            Pace(0.0, 2, 0.5),
            Pace(0.0, 1, 1.0),
            Pace(0.0, 0, 1.5),
            Pace(0.5, 0, 1.5),
        ]
        assert (await self.ask(store, 1000.25)).wait == 0.25
        assert await self.ask(store, 1000.5) == Pace(0.0, 0, 1.5)
        assert (await self.ask(store, 1000.5)).wait == 0.5
        assert await self.ask(store, 1100.0) == Pace(0.0, 2, 0.5)

    @pytest_twisted.ensureDeferred
    async def test_each_workspace_has_its_own(self, store: Any) -> None:
        one = Rate(0.01, 1)
        assert (await self.ask(store, 1000.0, one)).wait == 0.0
        assert (await self.ask(store, 1000.0, one)).wait == 100.0
        assert (await self.ask(store, 1000.0, one, "v")).wait == 0.0

    @pytest_twisted.ensureDeferred
    async def test_a_clock_that_jumps_back_and_another_rate_hold_nobody_up_for_long(self, store: Any) -> None:
        for _ in range(3):
            await self.ask(store, 1000.0)
        assert (await self.ask(store, 500.0)).wait == 0.5
        assert (await self.ask(store, 500.5)).wait == 0.0
        assert (await self.ask(store, 500.5, Rate(100.0, 1))).wait == pytest.approx(0.01)
