"""What every `ITaskStore` does. A new store is entered in `task_stores.BACKENDS`; nothing here changes for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from task_stores import DONE, HERE, THERE, Opener, SlowBody, pattern, sample, whole
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from zope.interface.verify import verifyObject

from ngpu.errors import BadRequest, Conflict, NotFound, QueueFull, StoreUnavailable
from ngpu.interfaces import ITaskStore
from ngpu.limits import Rate
from ngpu.listing import TaskQuery
from ngpu.model import CHUNK, BytesBody, Placement, Task, TaskStatus
from ngpu.outbox import Webhook

EMPTY = BytesBody()
AT_ONCE = 250
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5]


async def added(store: Any, task_id: str = "t", **fields: Any) -> Task:
    return await store.add(sample(task_id, **fields), EMPTY)


async def running(store: Any, task_id: str = "t", **fields: Any) -> Task:
    await added(store, task_id, **fields)
    claimed = await store.claim("w", HERE, 1001.0)
    assert claimed.id == task_id
    return claimed


async def ended(store: Any, task_id: str, at: float, data: bytes = b"", **fields: Any) -> Task:
    task = await added(store, task_id, status=TaskStatus.RUNNING, attempt=1, **fields)
    assert await store.finish(task.id, 1, replace(DONE, size=len(data)), at, (0, data))
    return await store.get(task.id)


async def write(store: Any, task_id: str, attempt: int, data: bytes) -> tuple[int, bytes]:
    """Write all of a result but its last piece, which is handed back for `finish`."""
    pieces = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)] or [b""]
    for index, piece in enumerate(pieces[:-1]):
        await store.write_result(task_id, attempt, index, piece)
    return len(pieces) - 1, pieces[-1]


@pytest_twisted.ensureDeferred
async def test_it_is_a_task_store(store: Any) -> None:
    assert verifyObject(ITaskStore, store)


class TestAdd:
    @pytest_twisted.ensureDeferred
    async def test_the_record_is_what_was_added_and_its_number(self, store: Any) -> None:
        task = sample(btc_address="bc1q", client_ip="::1", user_key="k", request_url="/user/x?y=\u4f60")
        stored = await store.add(task, EMPTY)
        assert stored == replace(task, number=stored.number)
        assert stored.number > 0
        assert await store.get("t") == stored

    @pytest_twisted.ensureDeferred
    async def test_numbers_grow(self, store: Any) -> None:
        numbers = [(await added(store, f"t{n}")).number for n in range(5)]
        assert numbers == sorted(set(numbers))

    @pytest_twisted.ensureDeferred
    async def test_a_task_may_be_running_already(self, store: Any) -> None:
        await added(store, status=TaskStatus.RUNNING, attempt=1, placement=HERE, started_at=1000.0)
        assert await store.queued("w") == 0
        assert await store.claim("w", THERE, 1001.0) is None
        assert await store.finish("t", 1, DONE, 1002.0, None)

    @pytest.mark.parametrize("size", SIZES)
    @pytest_twisted.ensureDeferred
    async def test_the_request_comes_back_more_than_once(self, store: Any, size: int) -> None:
        data = pattern(size)
        task = await store.add(sample(request_size=size), BytesBody(data))
        assert await whole(store.request_body(task)) == data
        assert await whole(store.request_body(task)) == data

    @pytest_twisted.ensureDeferred
    async def test_a_request_may_come_in_pieces_of_any_size(self, store: Any) -> None:
        data = pattern(CHUNK + 100_000)
        pieces = [data[start : start + 10_007] for start in range(0, len(data), 10_007)]
        task = await store.add(sample(request_size=len(data)), SlowBody(pieces, len(data)))
        assert await whole(store.request_body(task)) == data

    @pytest_twisted.ensureDeferred
    async def test_the_queue_limit_counts_the_workspaces_waiting_tasks(self, store: Any) -> None:
        await store.add(sample("other", workspace="v"), EMPTY, 1)
        await store.add(sample("a"), EMPTY, 2)
        await store.add(sample("b"), EMPTY, 2)
        with pytest.raises(QueueFull) as caught:
            await store.add(sample("c"), EMPTY, 2)
        assert caught.value.retry_after > 0
        assert await store.get("c") is None
        assert await store.queued("w") == 2
        await store.claim("w", HERE, 1001.0)
        await store.add(sample("c"), EMPTY, 2)

    @pytest_twisted.ensureDeferred
    async def test_adds_at_once_never_pass_the_limit(self, store: Any) -> None:
        async def attempt(number: int) -> bool:
            try:
                await store.add(sample(f"t{number}"), EMPTY, 7)
            except QueueFull:
                return False
            return True

        taken = await gatherResults([ensureDeferred(attempt(number)) for number in range(50)])
        assert sum(taken) == 7
        assert await store.queued("w") == 7

    @pytest_twisted.ensureDeferred
    async def test_a_queue_that_fills_during_an_upload_refuses_it(self, store: Any) -> None:
        async def fill(index: int) -> None:
            if index == 3:
                await store.add(sample("quick"), EMPTY, 1)

        body = SlowBody([bytes(CHUNK)] * 4, 4 * CHUNK, fill)
        with pytest.raises(QueueFull):
            await store.add(sample("slow", request_size=4 * CHUNK), body, 1)
        assert await store.get("slow") is None
        assert await store.queued("w") == 1

    @pytest_twisted.ensureDeferred
    async def test_a_full_queue_refuses_a_large_request_before_it_is_read(self, store: Any) -> None:
        body = SlowBody([bytes(CHUNK)] * 4, 4 * CHUNK)
        await store.add(sample("quick"), EMPTY, 1)
        with pytest.raises(QueueFull):
            await store.add(sample("slow", request_size=4 * CHUNK), body, 1)
        assert body.given == []

    @pytest.mark.parametrize("size", [3, CHUNK + 3])
    @pytest_twisted.ensureDeferred
    async def test_an_id_is_taken_once(self, store: Any, size: int) -> None:
        first = await store.add(sample(request_size=3), BytesBody(b"one"))
        with pytest.raises(Conflict):
            await store.add(sample(request_size=size), BytesBody(bytes(size)))
        assert await whole(store.request_body(first)) == b"one"
        assert await store.queued("w") == 1

    @pytest.mark.parametrize("pieces", [1, 3])
    @pytest_twisted.ensureDeferred
    async def test_a_body_that_breaks_off_leaves_nothing(self, store: Any, pieces: int) -> None:
        async def break_off(index: int) -> None:
            if index == pieces - 1:
                raise ConnectionError("gone")

        body = SlowBody([bytes(CHUNK)] * pieces, pieces * CHUNK, break_off)
        with pytest.raises(ConnectionError):
            await store.add(sample(request_size=body.length), body)
        assert await store.get("t") is None
        data = pattern(body.length)
        again = await store.add(sample(request_size=body.length), BytesBody(data))
        assert await whole(store.request_body(again)) == data

    @pytest_twisted.ensureDeferred
    async def test_an_upload_that_is_cancelled_leaves_nothing(self, store: Any) -> None:
        reached: Deferred[None] = Deferred()

        async def stall(index: int) -> None:
            if index == 2:
                reached.callback(None)
                await Deferred()

        size = 3 * CHUNK
        adding = ensureDeferred(store.add(sample(request_size=size), SlowBody([bytes(CHUNK)] * 3, size, stall)))
        adding.addErrback(lambda failure: None)
        await reached
        assert await store.get("t") is None
        adding.cancel()
        assert await store.get("t") is None
        again = await store.add(sample(request_size=size), BytesBody(pattern(size)))
        assert await whole(store.request_body(again)) == pattern(size)

    @pytest_twisted.ensureDeferred
    async def test_cancelling_the_wait_for_a_write_harms_nothing(self, store: Any) -> None:
        for number in range(50):
            adding = ensureDeferred(store.add(sample(f"t{number:02}"), EMPTY))
            adding.addErrback(lambda failure: None)
            adding.cancel()
        await added(store, "last")
        assert await store.get("last") is not None


class TestClaim:
    @pytest_twisted.ensureDeferred
    async def test_the_oldest_of_the_workspace_runs_where_it_was_placed(self, store: Any) -> None:
        await added(store, "other", workspace="v")
        first = await added(store, "a", submitted_at=1002.0)
        await added(store, "b", submitted_at=1001.0)
        claimed = await store.claim("w", HERE, 1003.5)
        assert claimed == replace(first, status=TaskStatus.RUNNING, attempt=1, placement=HERE, started_at=1003.5)
        assert await store.get("a") == claimed
        assert (await store.claim("w", HERE, 1003.5)).id == "b"
        assert await store.claim("w", HERE, 1003.5) is None

    @pytest_twisted.ensureDeferred
    async def test_an_expired_one_is_passed_over(self, store: Any) -> None:
        await added(store, "late", expires_at=1500.0)
        await added(store, "in time", expires_at=1500.5)
        assert (await store.claim("w", HERE, 1500.0)).id == "in time"
        assert await store.claim("w", HERE, 1500.0) is None
        assert (await store.get("late")).status is TaskStatus.QUEUED

    @pytest_twisted.ensureDeferred
    async def test_claims_at_once_hand_out_each_task_once(self, store: Any) -> None:
        await gatherResults([ensureDeferred(added(store, f"t{number}")) for number in range(100)])
        claims = [ensureDeferred(store.claim("w", HERE, 1001.0)) for _ in range(200)]
        claimed = [task.id for task in await gatherResults(claims) if task is not None]
        assert Counter(claimed) == Counter(f"t{number}" for number in range(100))


class TestAttempts:
    @pytest_twisted.ensureDeferred
    async def test_another_attempt_has_the_next_number_and_place(self, store: Any) -> None:
        task = await running(store)
        assert await store.reattempt("t", 1, THERE) == 2
        assert await store.get("t") == replace(task, attempt=2, placement=THERE)
        assert await store.reattempt("t", 2, HERE) == 3

    @pytest_twisted.ensureDeferred
    async def test_a_requeued_task_is_where_it_was(self, store: Any) -> None:
        for task_id in ("a", "b", "c"):
            await added(store, task_id)
        before = await store.get("b")
        await store.claim("w", HERE, 1001.0)
        task = await store.claim("w", HERE, 1001.0)
        assert await store.requeue("b", task.attempt)
        assert await store.get("b") == replace(before, attempt=1)
        assert await store.queue_position(before) == 1
        assert await store.queued("w") == 2
        again = await store.claim("w", THERE, 1002.0)
        assert (again.id, again.attempt) == ("b", 2)

    async def fence(self, store: Any, how: str) -> int:
        """Take task "t" from its runner in some way; the attempt that runner still believes in."""
        if how == "no such task":
            return 1
        task = await running(store)
        await store.write_result("t", 1, 0, pattern(CHUNK))
        match how:
            case "reattempted":
                assert await store.reattempt("t", 1, THERE) == 2
            case "requeued":
                assert await store.requeue("t", 1)
            case "claimed again":
                assert await store.requeue("t", 1)
                assert (await store.claim("w", THERE, 1002.0)).attempt == 2
            case "finished":
                assert await store.finish("t", 1, replace(DONE, size=CHUNK + 1), 1003.0, (1, b"!"))
            case "cancelled":
                assert await store.cancel("t", 1003.0) is TaskStatus.RUNNING
            case "not begun":
                return 2
        return task.attempt

    @pytest.mark.parametrize("call", ["finish", "finish without a result", "requeue", "reattempt", "write_result"])
    @pytest.mark.parametrize(
        "how",
        ["reattempted", "requeued", "claimed again", "finished", "cancelled", "not begun", "no such task"],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_fenced_attempt_changes_nothing(self, store: Any, how: str, call: str) -> None:
        attempt = await self.fence(store, how)
        before = await store.get("t")
        match call:
            case "finish":
                assert await store.finish("t", attempt, DONE, 1009.0, (0, b"stale")) is False
            case "finish without a result":
                assert await store.finish("t", attempt, DONE, 1009.0, None) is False
            case "requeue":
                assert await store.requeue("t", attempt) is False
            case "reattempt":
                assert await store.reattempt("t", attempt, HERE) is None
            case "write_result":
                await store.write_result("t", attempt, 0, b"stale")
        assert await store.get("t") == before
        if how == "finished":
            assert await whole(store.result_body(before)) == pattern(CHUNK) + b"!"
        if how == "reattempted":
            # what the new attempt writes is all there is in the end
            assert await store.finish("t", 2, replace(DONE, size=3), 1010.0, (0, b"new"))
            assert await whole(store.result_body(await store.get("t"))) == b"new"


class TestCheckpoint:
    @pytest_twisted.ensureDeferred
    async def test_it_is_kept_across_a_restart(self, opener: Opener) -> None:
        store = await opener()
        task = await running(store, app="talker")
        assert task.checkpoint == ""
        assert await store.save_checkpoint("t", task.attempt, '{"job":"7"}')
        assert await store.save_checkpoint("t", task.attempt, '{"job":"8"}')
        await store.close()
        store = await opener()
        (orphan,) = await store.orphans()
        assert orphan == replace(task, checkpoint='{"job":"8"}', attempt=task.attempt + 1)
        await store.close()

    @pytest_twisted.ensureDeferred
    async def test_an_older_attempt_keeps_nothing(self, store: Any) -> None:
        task = await running(store)
        fence = await store.reattempt("t", task.attempt, THERE)
        assert not await store.save_checkpoint("t", task.attempt, "old")
        assert (await store.get("t")).checkpoint == ""
        assert await store.save_checkpoint("t", fence, "new")

    @pytest_twisted.ensureDeferred
    async def test_only_a_running_task_has_one_to_keep(self, store: Any) -> None:
        await added(store, "queued")
        await ended(store, "over", 1002.0)
        for task_id, attempt in (("queued", 0), ("over", 1), ("nobody", 1)):
            assert not await store.save_checkpoint(task_id, attempt, "x")

    @pytest_twisted.ensureDeferred
    async def test_another_attempt_and_the_queue_forget_it(self, store: Any) -> None:
        """It speaks of a job on a replica that the task is no longer on."""
        task = await running(store)
        await store.save_checkpoint("t", task.attempt, "x")
        fence = await store.reattempt("t", task.attempt, THERE)
        assert (await store.get("t")).checkpoint == ""
        await store.save_checkpoint("t", fence, "y")
        assert await store.requeue("t", fence)
        assert (await store.get("t")).checkpoint == ""


class TestFinish:
    @pytest_twisted.ensureDeferred
    async def test_it_ends_the_task_with_its_outcome(self, store: Any) -> None:
        task = await running(store)
        outcome = replace(DONE, status=TaskStatus.FAILED, code=502, reason="\u574f", worker_status=500, text=False)
        assert await store.finish("t", 1, outcome, 1004.25, None)
        assert await store.get("t") == replace(task, status=TaskStatus.FAILED, outcome=outcome, ended_at=1004.25)

    @pytest.mark.parametrize("size", SIZES)
    @pytest_twisted.ensureDeferred
    async def test_the_result_comes_back_more_than_once(self, store: Any, size: int) -> None:
        await running(store)
        data = pattern(size)
        assert await store.finish("t", 1, replace(DONE, size=size), 1002.0, await write(store, "t", 1, data))
        task = await store.get("t")
        assert await whole(store.result_body(task)) == data
        assert await whole(store.result_body(task)) == data

    @pytest.mark.parametrize("how", ["reattempt", "requeue"])
    @pytest_twisted.ensureDeferred
    async def test_attempts_never_mix(self, store: Any, how: str) -> None:
        """Pieces of an attempt that was given up, also more of them than the next one writes, are gone."""
        await running(store)
        await write(store, "t", 1, b"x" * (4 * CHUNK))
        if how == "reattempt":
            await store.reattempt("t", 1, THERE)
        else:
            await store.requeue("t", 1)
            await store.claim("w", THERE, 1002.0)
        data = pattern(2 * CHUNK + 7)
        assert await store.finish("t", 2, replace(DONE, size=len(data)), 1003.0, await write(store, "t", 2, data))
        assert await whole(store.result_body(await store.get("t"))) == data

    @pytest_twisted.ensureDeferred
    async def test_a_piece_written_again_replaces_the_first(self, store: Any) -> None:
        await running(store)
        await store.write_result("t", 1, 0, bytes(CHUNK))
        await store.write_result("t", 1, 0, pattern(CHUNK))
        await store.finish("t", 1, replace(DONE, size=CHUNK + 1), 1002.0, (1, b"!"))
        assert await whole(store.result_body(await store.get("t"))) == pattern(CHUNK) + b"!"

    @pytest_twisted.ensureDeferred
    async def test_no_result_after_some_was_written(self, store: Any) -> None:
        await running(store)
        await write(store, "t", 1, bytes(3 * CHUNK))
        assert await store.finish("t", 1, replace(DONE, status=TaskStatus.FAILED, code=502), 1002.0, None)
        assert await whole(store.result_body(await store.get("t"))) == b""


class TestCancel:
    @pytest_twisted.ensureDeferred
    async def test_a_waiting_task(self, store: Any) -> None:
        task = await added(store)
        assert await store.cancel("t", 1005.0) is TaskStatus.QUEUED
        assert await store.get("t") == replace(task, status=TaskStatus.CANCELLED, ended_at=1005.0)
        assert await store.queued("w") == 0
        assert await store.claim("w", HERE, 1001.0) is None

    @pytest_twisted.ensureDeferred
    async def test_a_running_task(self, store: Any) -> None:
        task = await running(store)
        assert await store.cancel("t", 1005.0) is TaskStatus.RUNNING
        assert await store.get("t") == replace(task, status=TaskStatus.CANCELLED, ended_at=1005.0)

    @pytest_twisted.ensureDeferred
    async def test_an_ended_task_stays_as_it_is(self, store: Any) -> None:
        task = await ended(store, "t", 1002.0, b"result")
        assert await store.cancel("t", 1005.0) is TaskStatus.FINISHED
        assert await store.get("t") == task
        assert await whole(store.result_body(task)) == b"result"

    @pytest.mark.parametrize("task_id", ["", "t", "\ud800", "a\0b"])
    @pytest_twisted.ensureDeferred
    async def test_no_such_task(self, store: Any, task_id: str) -> None:
        assert await store.cancel(task_id, 1005.0) is None
        assert await store.get(task_id) is None


class TestExpire:
    @pytest_twisted.ensureDeferred
    async def test_waiting_tasks_whose_time_has_come(self, store: Any) -> None:
        await running(store, "runs", expires_at=1500.0)
        task = await added(store, "due", expires_at=1500.0)
        await added(store, "due too", workspace="v", expires_at=1400.0)
        await added(store, "not yet", expires_at=1500.5)
        assert sorted(await store.expire(1500.0)) == [("v", "due too"), ("w", "due")]
        assert await store.get("due") == replace(task, status=TaskStatus.EXPIRED, ended_at=1500.0)
        assert (await store.get("runs")).status is TaskStatus.RUNNING
        assert await store.queued("w") == 1
        assert list(await store.expire(1500.0)) == []

    @pytest_twisted.ensureDeferred
    async def test_in_bounded_numbers_until_none_is_left(self, store: Any) -> None:
        await gatherResults([ensureDeferred(added(store, f"t{number}")) for number in range(1200)])
        seen: list[str] = []
        while batch := await store.expire(3000.0):
            assert len(batch) < 1200
            seen += [task_id for _, task_id in batch]
        assert Counter(seen) == Counter(f"t{number}" for number in range(1200))


class TestPurge:
    async def purge(self, store: Any, ended_before: dict[str, float], otherwise: float) -> int:
        total = 0
        while count := await store.purge(ended_before, otherwise):
            total += count
        return total

    @pytest_twisted.ensureDeferred
    async def test_each_workspace_has_its_own_time(self, store: Any) -> None:
        for workspace in ("v", "w", "x"):
            await ended(store, f"{workspace} old", 1100.0, workspace=workspace)
            await ended(store, f"{workspace} new", 1200.0, workspace=workspace)
        await added(store, "waits")
        await added(store, "runs", status=TaskStatus.RUNNING)
        assert await self.purge(store, {"v": 1200.0, "w": 1100.0, "nobody": 9e9}, 1200.5) == 3
        left = [task_id for w in ("v", "w", "x") for task_id in (await store.list(TaskQuery(w))).ids]
        assert left == ["v new", "w old", "w new", "waits", "runs"]

    @pytest_twisted.ensureDeferred
    async def test_bodies_go_too(self, store: Any) -> None:
        size = CHUNK + 5
        task = await store.add(sample(request_size=size), BytesBody(pattern(size)))
        await store.claim("w", HERE, 1001.0)
        await store.finish("t", 1, replace(DONE, size=3), 1002.0, (0, b"abc"))
        task = await store.get("t")
        request, result = store.request_body(task), store.result_body(task)
        half_read = request.chunks()
        assert await anext(half_read) == pattern(size)[:CHUNK]
        assert await self.purge(store, {}, 1003.0) == 1
        assert await store.get("t") is None
        for reading in (half_read, request.chunks(), result.chunks()):
            with pytest.raises(NotFound):
                await anext(reading)

    @pytest_twisted.ensureDeferred
    async def test_in_bounded_numbers_until_none_is_left(self, store: Any) -> None:
        await gatherResults([ensureDeferred(ended(store, f"t{number}", 1001.0, b"x")) for number in range(600)])
        assert 0 < await store.purge({"w": 1001.5}, 0.0) < 600
        await self.purge(store, {"w": 1001.5}, 0.0)
        assert (await store.list(TaskQuery("w"))).ids == ()

    @pytest_twisted.ensureDeferred
    async def test_nothing_to_purge(self, store: Any) -> None:
        await added(store)
        assert await store.purge({}, 9e9) == 0


class TestList:
    async def ids(self, store: Any, **conditions: Any) -> tuple[str, ...]:
        return (await store.list(TaskQuery("w", **conditions))).ids

    @pytest_twisted.ensureDeferred
    async def test_by_time_then_number_and_this_workspace_only(self, store: Any) -> None:
        await added(store, "second", submitted_at=1002.0)
        await added(store, "third", submitted_at=1002.0)
        await added(store, "first", submitted_at=1001.0)
        await added(store, "foreign", workspace="v")
        assert await self.ids(store) == ("first", "second", "third")
        assert (await store.list(TaskQuery("nobody"))).ids == ()

    @pytest_twisted.ensureDeferred
    async def test_start_and_end_are_inclusive(self, store: Any) -> None:
        for second in range(5):
            await added(store, f"t{second}", submitted_at=1000.0 + second)
        assert await self.ids(store, start=1001.0, end=1003.0) == ("t1", "t2", "t3")
        assert await self.ids(store, start=1003.5) == ("t4",)
        assert await self.ids(store, end=1000.0) == ("t0",)

    @pytest.mark.parametrize("spelling", ["0xAB01", "ab01", "0XAb01", " AB01 "])
    @pytest_twisted.ensureDeferred
    async def test_by_node_in_any_spelling(self, store: Any, spelling: str) -> None:
        await running(store, "here")
        await added(store, "elsewhere", status=TaskStatus.RUNNING, attempt=1, placement=THERE)
        await added(store, "waits")
        assert await self.ids(store, node=spelling) == ("here",)

    @pytest_twisted.ensureDeferred
    async def test_by_node_follows_the_attempts(self, store: Any) -> None:
        await running(store)
        await store.reattempt("t", 1, THERE)
        assert await self.ids(store, node=HERE.node_address) == ()
        assert await self.ids(store, node=THERE.node_address) == ("t",)
        await store.requeue("t", 2)
        assert await self.ids(store, node=THERE.node_address) == ()

    @pytest_twisted.ensureDeferred
    async def test_by_address(self, store: Any) -> None:
        await added(store, "a", btc_address="bc1qA")
        await added(store, "b", btc_address="bc1qa")
        await added(store, "odd", btc_address="\ud800")
        assert await self.ids(store, btc_address="bc1qA") == ("a",)
        assert await self.ids(store, btc_address="\ud800") == ("odd",)
        assert await self.ids(store, btc_address="bc1") == ()

    @pytest_twisted.ensureDeferred
    async def test_no_node_and_no_address_are_nobodys(self, store: Any) -> None:
        await added(store)
        assert await self.ids(store, node="") == ()
        assert await self.ids(store, btc_address="") == ()

    @pytest_twisted.ensureDeferred
    async def test_all_conditions_together(self, store: Any) -> None:
        for number in range(8):
            placement = HERE if number & 1 else THERE
            await added(
                store,
                f"t{number}",
                status=TaskStatus.RUNNING,
                placement=placement,
                btc_address="x" if number & 2 else "y",
                submitted_at=1000.0 + number,
            )
        assert await self.ids(store, node="AB01", btc_address="x", start=1004.0, end=1007.0) == ("t7",)

    @pytest.mark.parametrize("newest", [False, True])
    @pytest.mark.parametrize("conditions", [{}, {"node": "ab01"}, {"btc_address": "x"}, {"start": 1001.0, "end": 1005}])
    @pytest.mark.parametrize("limit", [1, 3, 100])
    @pytest_twisted.ensureDeferred
    async def test_pages_show_each_task_once(
        self, store: Any, conditions: dict[str, Any], limit: int, newest: bool
    ) -> None:
        for number in range(12):
            await added(
                store,
                f"t{number:02}",
                status=TaskStatus.RUNNING,
                placement=HERE,
                btc_address="x",
                submitted_at=1000.0 + number // 2,
            )
        everything = await self.ids(store, **conditions)
        if newest:
            everything, conditions = everything[::-1], {**conditions, "newest": True}
        pages = [await store.list(TaskQuery("w", limit=limit, **conditions))]
        while pages[-1].next_cursor:
            cursor = pages[-1].next_cursor
            assert len(pages) < 12
            pages.append(await store.list(TaskQuery("w", limit=limit, cursor=cursor, **conditions)))
        assert tuple(task_id for page in pages for task_id in page.ids) == everything
        assert all(len(page.ids) == limit for page in pages[:-1])
        assert pages[-1].ids

    @pytest_twisted.ensureDeferred
    async def test_a_cursor_needs_no_escaping_and_outlives_its_task(self, store: Any) -> None:
        for number in range(4):
            await ended(store, f"t{number}", 1002.0 + number, submitted_at=1000.123456 + number)
        cursor = (await store.list(TaskQuery("w", limit=2))).next_cursor
        assert cursor
        assert all(letter.isalnum() or letter in "-._~" for letter in cursor)
        assert await store.purge({}, 1003.5) == 2
        assert await self.ids(store, cursor=cursor) == ("t2", "t3")

    @pytest.mark.parametrize("cursor", ["", "x", "0", "===", "\u4f60", "\ud800", "AAAAAAAAAAAAAAAAAAAAA", "A" * 5000])
    @pytest_twisted.ensureDeferred
    async def test_a_cursor_that_nobody_gave(self, store: Any, cursor: str) -> None:
        with pytest.raises(BadRequest):
            await store.list(TaskQuery("w", cursor=cursor))


class TestQueue:
    @pytest_twisted.ensureDeferred
    async def test_places_and_length(self, store: Any) -> None:
        await added(store, "foreign", workspace="v")
        a, b, c = [await added(store, task_id) for task_id in ("a", "b", "c")]
        assert [await store.queue_position(task) for task in (a, b, c)] == [1, 2, 3]
        await store.cancel("b", 1001.0)
        assert [await store.queue_position(task) for task in (a, c)] == [1, 2]
        await store.claim("w", HERE, 1001.0)
        assert await store.queue_position(c) == 1
        assert await store.queued("w") == 1
        assert await store.queued("nobody") == 0

    @pytest_twisted.ensureDeferred
    async def test_a_long_queue_with_gaps(self, store: Any) -> None:
        """Places are right however the store counts, across whatever blocks it may count in."""
        tasks: list[Task] = []
        for first in range(0, 3000, AT_ONCE):  # all of them at once would wait for longer than a store may take
            adds = [added(store, f"t{n}", workspace="vw"[n % 3 == 0]) for n in range(first, first + AT_ONCE)]
            tasks += [task for task in await gatherResults(map(ensureDeferred, adds)) if task.workspace == "w"]
        tasks.sort(key=lambda task: task.number)
        for first in range(0, len(tasks), AT_ONCE):
            cancelled = [store.cancel(task.id, 1001.0) for task in tasks[first : first + AT_ONCE : 2]]
            await gatherResults(map(ensureDeferred, cancelled))
        waiting = tasks[1::2]
        assert await store.queued("w") == len(waiting)
        for place in (0, 1, 170, 171, 172, 341, 342, len(waiting) - 1):
            assert await store.queue_position(waiting[place]) == place + 1


class TestOrphans:
    @pytest_twisted.ensureDeferred
    async def test_the_running_tasks_of_one_that_is_gone_and_no_others(self, opener: Opener) -> None:
        store = await opener()
        assert list(await store.orphans()) == []
        first = await running(store, "a")
        second = await added(store, "b", workspace="v", status=TaskStatus.RUNNING, attempt=1, placement=Placement())
        await added(store, "waits")
        await ended(store, "done", 1002.0)
        assert list(await store.orphans()) == [], "it runs them itself"
        await store.close()
        store = await opener()
        taken = sorted(await store.orphans(), key=lambda task: task.id)
        assert taken == [replace(task, attempt=2) for task in (first, second)]
        assert [await store.get(task.id) for task in taken] == taken
        assert list(await store.orphans()) == [], "they are its own now"
        await store.close()

    @pytest_twisted.ensureDeferred
    async def test_what_runs_here_is_known_and_nothing_else(self, opener: Opener) -> None:
        store = await opener()
        assert list(await store.running()) == []
        await running(store, "before")
        await store.close()
        store = await opener()
        while not await store.orphans():
            pass
        await running(store, "a")
        await added(store, "b", workspace="v", status=TaskStatus.RUNNING, attempt=4, placement=Placement())
        await ended(store, "done", 1002.0)
        await store.reattempt("a", 1, HERE)
        await running(store, "back")
        await store.requeue("back", 1)
        await added(store, "waits")
        assert sorted(await store.running()) == [("a", 2), ("b", 4), ("before", 2)]
        await store.close()

    @pytest_twisted.ensureDeferred
    async def test_whoever_ran_one_before_is_fenced_off(self, opener: Opener) -> None:
        store = await opener()
        before = await running(store, "t")
        await store.write_result("t", before.attempt, 0, b"half of")
        await store.close()
        store = await opener()
        (task,) = await store.orphans()
        assert not await store.finish("t", before.attempt, DONE, 1002.0, None)
        assert not await store.save_checkpoint("t", before.attempt, "late")
        assert not await store.requeue("t", before.attempt)
        assert await store.finish("t", task.attempt, replace(DONE, size=3), 1003.0, (0, b"new"))
        assert await whole(store.result_body(await store.get("t"))) == b"new"
        await store.close()


class TestClose:
    @pytest_twisted.ensureDeferred
    async def test_another_one_finds_everything(self, opener: Opener) -> None:
        store = await opener()
        size = CHUNK + 9
        waiting = await store.add(sample("waits", request_size=size), BytesBody(pattern(size)))
        placed = await added(store, "runs", status=TaskStatus.RUNNING, attempt=3, placement=HERE)
        done = await ended(store, "done", 1002.0, b"result")
        await store.close()
        store = await opener()
        assert [await store.get(task.id) for task in (waiting, placed, done)] == [waiting, placed, done]
        assert list(await store.orphans()) == [replace(placed, attempt=4)]
        assert await store.queued("w") == 1
        assert await whole(store.request_body(waiting)) == pattern(size)
        assert await whole(store.result_body(done)) == b"result"
        assert (await added(store, "next")).number > done.number
        await store.close()

    @pytest_twisted.ensureDeferred
    async def test_what_was_begun_is_finished_first(self, opener: Opener) -> None:
        store = await opener()
        adds = [ensureDeferred(added(store, f"t{number}")) for number in range(200)]
        await store.close()
        await gatherResults(adds)
        store = await opener()
        assert await store.queued("w") == 200
        await store.close()

    @pytest_twisted.ensureDeferred
    async def test_nothing_works_afterwards(self, opener: Opener) -> None:
        store = await opener()
        task = await ended(store, "t", 1002.0, b"result")
        await store.close()
        await store.close()
        webhook = Webhook("w", "t", 0, 1)
        calls = [
            store.add(sample("u"), EMPTY),
            store.claim("w", HERE, 1.0),
            store.reattempt("t", 1, HERE),
            store.requeue("t", 1),
            store.write_result("t", 1, 0, b""),
            store.finish("t", 1, DONE, 1.0, None),
            store.cancel("t", 1.0),
            store.expire(1.0),
            store.orphans(),
            store.purge({}, 1.0),
            store.get("t"),
            store.list(TaskQuery("w")),
            store.queued("w"),
            store.queues(),
            store.queue_position(task),
            store.by_key("w", "k"),
            store.retry("t", 1.0, 2.0, 0.0),
            store.cancel_queued("w", 1.0, 1),
            store.take_webhooks(1.0, 2.0, 1, 1, {}),
            store.webhook_delivered(webhook),
            store.webhook_failed(webhook, 1.0),
            store.webhooks(),
            store.pace("w", Rate(1.0, 1), 1.0),
            store.used("w", "2026-11-25"),
            whole(store.result_body(task)),
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable):
                await call
