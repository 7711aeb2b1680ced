"""Requests that come again and tasks that are tried again, over a store and a clock that do as a test says."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_rig import House, begun, done, once
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from ngpu.errors import CallCut, Conflict, Forbidden, QueueFull, StoreUnavailable
from ngpu.model import Outcome, TaskStatus
from ngpu.submission import Submission, Wishes
from ngpu.tenancy import Access
from ngpu.testing.forwarder import FakeReply


def keyed(house: House, key: str = "k", digest: str = "d", **fields: Any) -> Submission:
    return house.submission(wishes=Wishes(key=key), digest=digest, **fields)


class TestKeys:
    def test_two_at_once_are_one_task(self) -> None:
        """Neither finds the other when it looks first; the store decides."""
        house = House(up=False)
        house.store.holding.add("by_key")
        first, second = (begun(house.backlog.submit(keyed(house))) for _ in range(2))
        house.store.release()
        assert first.value.id == second.value.id
        assert len(house.tasks) == 1
        counted = house.metrics.counted(house.metrics.accepted, house.workspace.label)
        assert [each.value for each in counted if each.name.endswith("_total")] == [1]

    def test_two_different_ones_at_once_are_one_task_and_a_refusal(self) -> None:
        house = House(up=False)
        house.store.holding.add("by_key")
        first, second = (begun(house.backlog.submit(keyed(house, digest=each))) for each in "ab")
        house.store.release()
        assert first.value.request_digest == "a"
        assert isinstance(second.error, Conflict)
        assert len(house.tasks) == 1

    def test_a_known_one_is_not_asked_for_its_address_again(self) -> None:
        house = House(up=False)
        first = done(house.backlog.submit(keyed(house)))

        class Closed:
            async def admit(self, address: str) -> None:
                raise Forbidden("it holds nothing any more")

        house.gates["g"] = Closed()  # type: ignore[assignment]
        gated = house.workspace.model_copy(update={"gate": "g"})
        again = keyed(house, access=Access(gated, "key"), btc_address="bc1q")
        assert done(house.backlog.submit(again)).id == first.id
        new = keyed(house, key="l", access=Access(gated, "key"), btc_address="bc1q")
        assert isinstance(begun(house.backlog.submit(new)).error, Forbidden)
        done(house.gateway.cancel(first.id, Access(gated)))
        assert isinstance(begun(house.backlog.retry(first.id, Access(gated), None)).value.status, TaskStatus)

    def test_a_store_that_fails_leaves_the_key_free(self) -> None:
        house = House(up=False)
        house.store.refusing.add("add")
        assert isinstance(begun(house.backlog.submit(keyed(house))).error, StoreUnavailable)
        house.store.refusing.clear()
        assert done(house.backlog.submit(keyed(house))).status is TaskStatus.QUEUED

    @pytest.mark.parametrize("up", [True, False])  # a task that begins at once, one for the queue
    def test_tasks_that_the_store_refuses_are_counted_and_told_of_once_a_second(self, up: bool) -> None:
        """A store that answers and does not write would be seen by nobody, where nothing runs that comes to its end."""
        house = House({18080: FakeReply()}, up=up)
        house.store.refusing.add("add")
        with capturedLogs() as events:
            for seconds in (0, 0, 1):
                house.pass_time(seconds)
                assert isinstance(begun(house.gateway.submit(house.submission())).error, StoreUnavailable)
        told = [each["times"] for each in events if each.get("journal") == "store_unavailable"]
        assert told == [1, 2]
        assert b"ngpu_store_errors_total 3.0" in house.metrics.exposition()


class TestFollow:
    def test_it_waits_for_the_end(self) -> None:
        answer: Deferred[None] = Deferred()
        house = House({18080: FakeReply(wait=answer)})
        task = done(house.backlog.submit(keyed(house)))
        following = begun(house.backlog.follow(task))
        house.pass_time(30)
        assert not following.over
        answer.callback(None)
        assert following.value.status is TaskStatus.FINISHED

    def test_in_the_queue_no_longer_than_its_timeout(self) -> None:
        house = House(up=False)
        task = done(house.backlog.submit(house.submission(wishes=Wishes(timeout=7.0, key="k"))))
        following = begun(house.backlog.follow(task))
        house.pass_time(6.5)
        assert not following.over
        house.pass_time(1.0)
        assert following.value.status is TaskStatus.QUEUED

    def test_what_is_not_heard_of_is_seen(self) -> None:
        """Another gateway may have done it."""
        house = House(up=False)
        task = done(house.backlog.submit(keyed(house)))
        following = begun(house.backlog.follow(task))
        done(house.store.inner.claim(task.workspace, task.placement, house.clock.seconds()))
        done(house.store.inner.finish(task.id, 1, Outcome(TaskStatus.FINISHED), house.clock.seconds(), None))
        house.pass_time(6.0)
        assert following.value.status is TaskStatus.FINISHED

    def test_who_leaves_leaves_nothing(self) -> None:
        house = House(up=False)
        task = done(house.backlog.submit(keyed(house)))
        following = begun(house.backlog.follow(task))
        following.deferred.cancel()
        assert house.clock.getDelayedCalls() == []
        assert house.task(task.id).status is TaskStatus.QUEUED


class TestRetry:
    def test_a_late_end_of_the_first_run_changes_nothing(self) -> None:
        """It is written down only once the task was cancelled and tried again: the record is the second run's."""
        house = House({18080: once(FakeReply(), FakeReply(204))})
        house.store.holding.add("finish")
        task_id, access = house.submit(), house.submission().access
        assert house.task(task_id).status is TaskStatus.RUNNING
        done(house.gateway.cancel(task_id, access))
        done(house.backlog.retry(task_id, access, None))
        house.store.release()
        house.pass_time(5)
        task = house.task(task_id)
        assert (task.status, task.attempt, task.retries) == (TaskStatus.FINISHED, 2, 1)
        assert task.outcome is not None and task.outcome.worker_status == 204
        house.assert_at_rest()

    def test_its_time_to_live_begins_anew(self) -> None:
        house = House(up=False, queue={"ttl": "60s"})
        task_id = house.submit()
        access = house.submission().access
        done(house.gateway.cancel(task_id, access))
        house.pass_time(100, 10)
        assert done(house.backlog.retry(task_id, access, None)).expires_at == house.clock.seconds() + 60
        done(house.gateway.cancel(task_id, access))
        assert done(house.backlog.retry(task_id, access, 5.0)).expires_at == house.clock.seconds() + 5

    def test_a_full_queue_refuses_it(self) -> None:
        house = House(up=False, queue={"limit": 1})
        first = house.submit()
        access = house.submission().access
        done(house.gateway.cancel(first, access))
        house.submit()
        assert isinstance(begun(house.backlog.retry(first, access, None)).error, QueueFull)
        assert house.task(first).status is TaskStatus.CANCELLED

    def test_a_client_that_leaves_has_it_done_nevertheless(self) -> None:
        house = House({18080: once(CallCut("cut"), FakeReply())}, retry="never")
        task_id = house.submit()
        assert house.task(task_id).status is TaskStatus.FAILED
        house.store.holding.add("retry")
        retrying = begun(house.backlog.retry(task_id, house.submission().access, None))
        retrying.deferred.cancel()
        house.store.release()
        house.pass_time(1)
        assert house.task(task_id).status is TaskStatus.FINISHED


class TestPurge:
    def test_no_more_than_waited_when_it_began(self) -> None:
        """However fast new ones come, it comes to an end."""
        house = House(up=False)
        for _ in range(250):
            house.submit()
        cancel = house.store.inner.cancel_queued

        async def with_newcomers(*args: Any) -> Any:
            ids = await cancel(*args)
            for _ in ids:
                house.submit()
            return ids

        house.store.inner.cancel_queued = with_newcomers  # type: ignore[method-assign]
        assert done(house.backlog.purge(house.workspace)) == 250
        assert sum(task.status is TaskStatus.QUEUED for task in house.tasks) == 250

    def test_those_who_wait_are_told(self) -> None:
        house = House(up=False)
        waiting = begun(house.submit_and_wait(30))
        following = begun(house.backlog.follow(done(house.backlog.submit(keyed(house)))))
        assert done(house.backlog.purge(house.workspace)) == 2
        assert waiting.value.status is following.value.status is TaskStatus.CANCELLED


@pytest.mark.parametrize(("ttl", "wished", "patience"), [("1d", None, 60.0), ("1d", 2.0, 2.0), ("5s", None, 60.0)])
def test_how_long_a_client_stands_in_the_line(ttl: str, wished: float | None, patience: float) -> None:
    house = House({18080: FakeReply(wait=Deferred())}, queue={"ttl": ttl}, timeout="60s")
    house.call()
    waiting = house.call(wishes=Wishes(ttl=wished))
    house.pass_time(patience - 1)
    assert not waiting.over
    house.pass_time(2)
    assert waiting.over
