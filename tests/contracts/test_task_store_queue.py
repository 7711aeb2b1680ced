"""What every `ITaskStore` does with keys, priorities, retries, purges and quotas. See `test_task_store`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from task_stores import DONE, HERE, THERE, Opener, SlowBody, pattern, sample, whole
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from ngpu.errors import OverLimit, QueueFull
from ngpu.limits import Quota
from ngpu.model import CHUNK, BytesBody, Placement, Priority, Task, TaskStatus

EMPTY = BytesBody()
LOW, HIGH = Priority.LOW, Priority.HIGH
DAY = Quota(3, "2026-11-25", 600)


async def added(store: Any, task_id: str = "t", **fields: Any) -> Task:
    return await store.add(sample(task_id, **fields), EMPTY)


async def failed(store: Any, task_id: str = "t", **fields: Any) -> Task:
    """A task that ran and failed, with two pieces of a result."""
    await added(store, task_id, **fields)
    claimed = await store.claim("w", HERE, 1001.0)
    assert claimed.id == task_id
    await store.save_checkpoint(task_id, claimed.attempt, "{}")
    await store.write_result(task_id, claimed.attempt, 0, bytes(CHUNK))
    outcome = replace(DONE, status=TaskStatus.FAILED, code=502, worker_status=500, size=CHUNK + 1)
    assert await store.finish(task_id, claimed.attempt, outcome, 1002.0, (1, b"!"))
    return await store.get(task_id)


async def claims(store: Any, count: int) -> list[str]:
    claimed = [await store.claim("w", HERE, 1500.0) for _ in range(count)]
    return [task.id for task in claimed if task is not None]


class TestIdempotencyKey:
    @pytest_twisted.ensureDeferred
    async def test_the_second_of_a_key_is_the_first(self, store: Any) -> None:
        first = await added(store, "a", idempotency_key="k", request_digest="d")
        assert await added(store, "b", idempotency_key="k", request_digest="other") == first
        assert await store.get("b") is None
        assert await store.queued("w") == 1
        assert await store.by_key("w", "k") == first

    @pytest_twisted.ensureDeferred
    async def test_a_key_is_one_workspaces_own(self, store: Any) -> None:
        await added(store, "a", idempotency_key="k")
        other = await added(store, "b", workspace="v", idempotency_key="k")
        assert other.id == "b"
        assert (await store.by_key("v", "k")).id == "b"
        assert await store.by_key("w", "K") is None
        assert await store.by_key("nobody", "k") is None

    @pytest_twisted.ensureDeferred
    async def test_no_key_is_no_key(self, store: Any) -> None:
        assert [(await added(store, name)).id for name in ("a", "b")] == ["a", "b"]
        assert await store.by_key("w", "") is None

    @pytest.mark.parametrize("size", [3, CHUNK + 3])
    @pytest_twisted.ensureDeferred
    async def test_it_is_found_as_it_is_now_and_past_every_limit(self, store: Any, size: int) -> None:
        await store.add(sample("a", idempotency_key="k"), EMPTY, 1, replace_limit(1))
        await store.claim("w", HERE, 1001.0)
        await store.finish("a", 1, DONE, 1002.0, (0, b""))
        await store.add(sample("waits"), EMPTY)
        task = sample("b", idempotency_key="k", request_size=size)
        found = await store.add(task, BytesBody(pattern(size)), 1, replace_limit(1))
        assert (found.id, found.status) == ("a", TaskStatus.FINISHED)
        assert await store.used("w", DAY.window) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_large_one_that_is_known_is_not_read(self, store: Any) -> None:
        await added(store, "a", idempotency_key="k")
        body = SlowBody([bytes(CHUNK)] * 3, 3 * CHUNK)
        assert (await store.add(sample("b", idempotency_key="k", request_size=3 * CHUNK), body)).id == "a"
        assert body.given == []

    @pytest.mark.parametrize("size", [3, CHUNK + 3])
    @pytest_twisted.ensureDeferred
    async def test_of_many_at_once_one_is_kept(self, store: Any, size: int) -> None:
        def add(number: int) -> Deferred[Task]:
            task = sample(f"t{number}", idempotency_key="k", request_size=size)
            return ensureDeferred(store.add(task, BytesBody(pattern(size)), 1, replace_limit(1)))

        stored = await gatherResults([add(number) for number in range(20)])
        assert len({task.id for task in stored}) == 1
        assert await store.queued("w") == 1
        assert await store.used("w", DAY.window) == 1
        assert await whole(store.request_body(stored[0])) == pattern(size)
        for number in range(20):
            assert (await store.get(f"t{number}") is None) == (f"t{number}" != stored[0].id)

    @pytest_twisted.ensureDeferred
    async def test_one_that_comes_while_another_is_read_is_the_one(self, store: Any) -> None:
        async def overtake(index: int) -> None:
            if index == 2:
                await added(store, "quick", idempotency_key="k")

        body = SlowBody([bytes(CHUNK)] * 3, 3 * CHUNK, overtake)
        slow = sample("slow", idempotency_key="k", request_size=3 * CHUNK)
        assert (await store.add(slow, body)).id == "quick"
        assert await store.get("slow") is None
        again = await store.add(sample("slow", request_size=CHUNK + 1), BytesBody(pattern(CHUNK + 1)))
        assert await whole(store.request_body(again)) == pattern(CHUNK + 1)

    @pytest_twisted.ensureDeferred
    async def test_it_is_kept_as_long_as_the_task(self, opener: Opener) -> None:
        store = await opener()
        await added(store, "a", idempotency_key="k")
        await store.cancel("a", 1001.0)
        await store.close()
        store = await opener()
        assert (await added(store, "b", idempotency_key="k")).id == "a"
        assert await store.purge({}, 1002.0) == 1
        assert await store.by_key("w", "k") is None
        assert (await added(store, "b", idempotency_key="k")).id == "b"
        await store.close()


def replace_limit(limit: int) -> Quota:
    return DAY._replace(limit=limit)


class TestPlace:
    @pytest_twisted.ensureDeferred
    async def test_the_lowest_place_is_next(self, store: Any) -> None:
        await added(store, "low", priority=LOW, place=1600.0)
        await added(store, "normal", place=1000.0)
        await added(store, "high", priority=HIGH, place=400.0)
        await added(store, "high too", priority=HIGH, place=400.0)
        assert await claims(store, 5) == ["high", "high too", "normal", "low"]

    @pytest_twisted.ensureDeferred
    async def test_who_waits_long_enough_is_not_overtaken(self, store: Any) -> None:
        await added(store, "low", priority=LOW, place=1600.0)
        await added(store, "later", place=1601.0)
        assert await claims(store, 2) == ["low", "later"]

    @pytest_twisted.ensureDeferred
    async def test_a_clock_that_jumps_back_changes_no_order(self, store: Any) -> None:
        """Of one workspace and priority, who came first is first, also while it runs and when it comes back."""
        assert (await added(store, "a", place=1000.0)).place == 1000.0
        claimed = await store.claim("w", HERE, 1500.0)
        b = await added(store, "b", place=500.0)
        assert b.place == 1000.0
        assert (await store.get("b")).place == 1000.0
        assert await store.requeue("a", claimed.attempt)
        assert [await store.queue_position(task) for task in (claimed, b)] == [1, 2]
        assert await claims(store, 2) == ["a", "b"]
        assert (await added(store, "other", workspace="v", place=7.0)).place == 7.0
        assert (await added(store, "high", priority=HIGH, place=8.0)).place == 8.0

    @pytest_twisted.ensureDeferred
    async def test_one_that_has_ended_holds_nobody_back(self, store: Any) -> None:
        await added(store, "a", place=9000.0)
        await store.cancel("a", 1001.0)
        assert (await added(store, "b", place=500.0)).place == 500.0

    @pytest_twisted.ensureDeferred
    async def test_positions_count_all_priorities(self, store: Any) -> None:
        low = await added(store, "low", priority=LOW, place=1600.0)
        normal = await added(store, "normal", place=1000.0)
        late = await added(store, "late", place=1700.0)
        high = await added(store, "high", priority=HIGH, place=400.0)
        assert [await store.queue_position(task) for task in (high, normal, low, late)] == [1, 2, 3, 4]
        await store.claim("w", HERE, 1500.0)
        assert [await store.queue_position(task) for task in (normal, low, late)] == [1, 2, 3]
        assert await store.queue_position(high) == 1, "it does not wait any more"
        assert await store.queue_position(sample("nobody")) == 1

    @pytest_twisted.ensureDeferred
    async def test_positions_in_a_long_queue_are_the_order_of_the_claims(self, store: Any) -> None:
        def add(number: int) -> Deferred[Task]:
            priority = Priority(number * 7 % 3)
            place = 1000.0 + number // 3 - 300.0 * (priority - 1)
            return ensureDeferred(added(store, f"t{number}", priority=priority, place=place))

        tasks = await gatherResults([add(number) for number in range(1500)])
        await gatherResults([ensureDeferred(store.cancel(f"t{n}", 1001.0)) for n in range(0, 1500, 4)])
        for number in (1, 5, 10):
            await store.retry(f"t{number * 4}", 1002.0, 2000.0, 1000.0)
        waiting = [task for n, task in enumerate(tasks) if n % 4 or n in (4, 20, 40)]
        assert await store.queued("w") == len(waiting)
        places = {task.id: await store.queue_position(task) for task in waiting[::50]}
        order = await claims(store, len(waiting))
        assert len(order) == len(waiting)
        assert places == {task_id: order.index(task_id) + 1 for task_id in places}


class TestRetry:
    @pytest_twisted.ensureDeferred
    async def test_it_waits_again_with_nothing_left_of_its_end(self, store: Any) -> None:
        before = await failed(store, direct=True, app="talker", btc_address="bc1q")
        assert await store.retry("t", 1003.0, 2500.0, 1003.0) is TaskStatus.FAILED
        task = await store.get("t")
        assert task == replace(
            before,
            status=TaskStatus.QUEUED,
            expires_at=2500.0,
            place=1003.0,
            retries=1,
            direct=False,
            checkpoint="",
            placement=Placement(),
            started_at=None,
            ended_at=None,
            outcome=None,
        )
        assert await store.queued("w") == 1
        assert await whole(store.result_body(task)) == b""

    @pytest_twisted.ensureDeferred
    async def test_its_request_is_what_it_was_and_its_next_attempt_has_the_next_number(self, store: Any) -> None:
        size = CHUNK + 7
        await store.add(sample(request_size=size), BytesBody(pattern(size)))
        claimed = await store.claim("w", HERE, 1001.0)
        await store.cancel("t", 1002.0)
        assert await store.retry("t", 1003.0, 2500.0, 1003.0) is TaskStatus.CANCELLED
        assert not await store.finish("t", claimed.attempt, DONE, 1004.0, (0, b"late"))
        again = await store.claim("w", THERE, 1005.0)
        assert again.attempt == claimed.attempt + 1
        assert not await store.finish("t", claimed.attempt, DONE, 1006.0, (0, b"late"))
        assert await whole(store.request_body(again)) == pattern(size)
        assert await store.finish("t", again.attempt, replace(DONE, size=3), 1007.0, (0, b"new"))
        assert await whole(store.result_body(await store.get("t"))) == b"new"

    @pytest_twisted.ensureDeferred
    async def test_of_two_at_once_one_does_it(self, store: Any) -> None:
        await failed(store)
        tries = [ensureDeferred(store.retry("t", 1003.0, 2500.0, 1003.0)) for _ in range(5)]
        assert await gatherResults(tries) == [TaskStatus.FAILED, *[TaskStatus.QUEUED] * 4]
        assert (await store.get("t")).retries == 1
        assert await store.queued("w") == 1

    @pytest_twisted.ensureDeferred
    async def test_what_has_not_failed_stays_as_it_is(self, store: Any) -> None:
        assert await store.retry("t", 1003.0, 2500.0, 1003.0) is None
        task = await added(store)
        assert await store.retry("t", 1003.0, 2500.0, 1003.0) is TaskStatus.QUEUED
        assert await store.get("t") == task
        task = await store.claim("w", HERE, 1001.0)
        assert await store.retry("t", 1003.0, 2500.0, 1003.0) is TaskStatus.RUNNING
        assert await store.get("t") == task
        await store.finish("t", 1, replace(DONE, size=1), 1002.0, (0, b"!"))
        task = await store.get("t")
        assert await store.retry("t", 1003.0, 2500.0, 1003.0) is TaskStatus.FINISHED
        assert await store.get("t") == task
        assert await whole(store.result_body(task)) == b"!"

    @pytest_twisted.ensureDeferred
    async def test_an_expired_one_has_a_new_time_to_live(self, store: Any) -> None:
        await added(store, expires_at=1500.0)
        await store.expire(1500.0)
        assert await store.retry("t", 1600.0, 1700.0, 1600.0) is TaskStatus.EXPIRED
        assert list(await store.expire(1699.0)) == []
        assert (await store.claim("w", HERE, 1699.0)).id == "t"

    @pytest_twisted.ensureDeferred
    async def test_it_comes_behind_those_of_its_priority(self, store: Any) -> None:
        old = await failed(store, "old", place=1000.0)
        first = await added(store, "first", place=1001.0)
        await store.retry("old", 1001.0, 2000.0, 1001.0)
        last = await added(store, "last", place=900.0)
        high = await added(store, "high", priority=HIGH, place=400.0)
        assert [await store.queue_position(task) for task in (high, first, old, last)] == [1, 2, 3, 4]
        assert await claims(store, 4) == ["high", "first", "old", "last"]

    @pytest_twisted.ensureDeferred
    async def test_limits_hold_for_it_too(self, store: Any) -> None:
        before = await failed(store)
        await added(store, "waits")
        with pytest.raises(QueueFull):
            await store.retry("t", 1003.0, 2500.0, 1003.0, 1, replace_limit(1))
        assert await store.used("w", DAY.window) == 0
        with pytest.raises(OverLimit):
            await store.retry("t", 1003.0, 2500.0, 1003.0, 2, replace_limit(0))
        assert await store.get("t") == before
        assert await store.retry("t", 1003.0, 2500.0, 1003.0, 2, replace_limit(1)) is TaskStatus.FAILED
        assert await store.used("w", DAY.window) == 1

    @pytest_twisted.ensureDeferred
    async def test_it_is_durable_and_its_key_is_still_its_own(self, opener: Opener) -> None:
        store = await opener()
        await failed(store, idempotency_key="k")
        await store.retry("t", 1003.0, 2500.0, 1003.0)
        task = await store.get("t")
        await store.close()
        store = await opener()
        assert await store.get("t") == task
        assert await store.by_key("w", "k") == task
        number = (await added(store, "next")).number
        assert number > task.number
        await store.close()


class TestCancelQueued:
    @pytest_twisted.ensureDeferred
    async def test_all_that_wait_and_nothing_else(self, store: Any) -> None:
        await added(store, "runs")
        await store.claim("w", HERE, 1001.0)
        await added(store, "foreign", workspace="v")
        task = await added(store, "b", place=2.0)
        await added(store, "a", priority=HIGH, place=1.0)
        assert sorted(await store.cancel_queued("w", 1005.0, 10)) == ["a", "b"]
        assert await store.get("b") == replace(task, status=TaskStatus.CANCELLED, ended_at=1005.0)
        assert [await store.queued(workspace) for workspace in ("w", "v")] == [0, 1]
        assert (await store.get("runs")).status is TaskStatus.RUNNING
        assert await store.claim("w", HERE, 1006.0) is None
        assert list(await store.cancel_queued("w", 1007.0, 10)) == []
        assert list(await store.cancel_queued("nobody", 1007.0, 10)) == []

    @pytest_twisted.ensureDeferred
    async def test_no_more_than_is_asked_for_the_next_first(self, store: Any) -> None:
        for place in (3.0, 4.0, 5.0):
            await added(store, f"t{place:.0f}", place=place)
        await added(store, "high", priority=HIGH, place=1.0)
        assert sorted(await store.cancel_queued("w", 1001.0, 2)) == ["high", "t3"]
        assert await store.queued("w") == 2
        assert list(await store.cancel_queued("w", 1001.0, 0)) == []

    @pytest_twisted.ensureDeferred
    async def test_in_bounded_numbers(self, store: Any) -> None:
        await gatherResults([ensureDeferred(added(store, f"t{number}")) for number in range(1200)])
        seen: list[str] = []
        while batch := await store.cancel_queued("w", 1001.0, 5000):
            assert len(batch) < 1200
            seen += batch
        assert sorted(seen) == sorted(f"t{number}" for number in range(1200))


class TestQuota:
    @pytest_twisted.ensureDeferred
    async def test_so_many_and_no_more(self, store: Any) -> None:
        for number in range(DAY.limit):
            assert await store.used("w", DAY.window) == number
            await store.add(sample(f"t{number}"), EMPTY, None, DAY)
        for size in (0, CHUNK + 1):
            body = SlowBody([bytes(CHUNK), b"x"], size)
            with pytest.raises(OverLimit) as caught:
                await store.add(sample("over", request_size=size), body if size else EMPTY, None, DAY)
            assert caught.value.retry_after == DAY.retry_after
            assert body.given == []
        assert await store.get("over") is None
        assert await store.used("w", DAY.window) == DAY.limit
        await store.add(sample("foreign", workspace="v"), EMPTY, None, DAY)
        assert await store.used("v", DAY.window) == 1

    @pytest_twisted.ensureDeferred
    async def test_at_once_neither(self, store: Any) -> None:
        async def attempt(number: int) -> bool:
            try:
                size = 0 if number % 2 else CHUNK + 1
                await store.add(sample(f"t{number}", request_size=size), BytesBody(bytes(size)), None, DAY)
            except OverLimit:
                return False
            return True

        taken = await gatherResults([ensureDeferred(attempt(number)) for number in range(20)])
        assert sum(taken) == DAY.limit == await store.used("w", DAY.window)

    @pytest_twisted.ensureDeferred
    async def test_what_is_refused_for_another_reason_is_not_counted(self, store: Any) -> None:
        await store.add(sample("a"), EMPTY, 1, DAY)
        with pytest.raises(QueueFull):
            await store.add(sample("b"), EMPTY, 1, DAY)
        assert await store.used("w", DAY.window) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_new_window_begins_at_none_and_the_count_outlives_a_restart(self, opener: Opener) -> None:
        store = await opener()
        await store.add(sample("a"), EMPTY, None, DAY)
        await store.add(sample("b"), EMPTY, None, DAY)
        await store.close()
        store = await opener()
        assert await store.used("w", DAY.window) == 2
        tomorrow = DAY._replace(window="2026-11-26")
        assert await store.used("w", tomorrow.window) == 0
        await store.add(sample("c"), EMPTY, None, tomorrow)
        assert [await store.used("w", each.window) for each in (DAY, tomorrow)] == [0, 1]
        await store.close()
