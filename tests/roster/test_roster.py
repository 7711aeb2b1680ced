"""Workspaces that come, change and go while calls run: the next call finds them so, and nothing is left behind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from gateway_rig import begun, done
from roster_rig import Hall, copy
from task_stores import sample
from twisted.internet.defer import Deferred

from ngpu.errors import DialFailed, NoReplica, ReplicaRemoved, Unauthorized
from ngpu.model import BytesBody, Placement, TaskStatus, UpstreamRequest
from ngpu.outbox import Backlog
from ngpu.testing.forwarder import FakeReply
from ngpu.waiting import Handle

ID = "w1"
OK = FakeReply(pieces=(b"ok",))


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def hangs() -> FakeReply:
    return FakeReply(wait=Deferred())


class TestComing:
    def test_a_new_one_is_served_at_once(self, hall: Hall) -> None:
        hall.start()
        with pytest.raises(Unauthorized):
            hall.submission()
        hall.forwarder.answers[18080] = OK
        hall.put(ID, 18080)
        assert hall.call().value.task.status is TaskStatus.FINISHED
        task_id = hall.submit()
        assert hall.task(task_id).status is TaskStatus.FINISHED

    def test_what_waits_for_it_already_is_found(self, make_hall: Callable[..., Hall]) -> None:
        first = make_hall()
        first.put(ID, 18080)
        task_id = first.submit()
        second = make_hall({18080: OK}, shelf=first.shelf)
        second.start()
        second.put(ID, 18080)
        second.pass_time(2)
        assert second.task(task_id).status is TaskStatus.FINISHED


class TestChanging:
    def test_keys_are_revoked_at_once(self, hall: Hall) -> None:
        hall.put(ID, keys=[digest("old"), digest("both")])
        hall.put(ID, keys=[digest("new"), digest("both")])
        for key in ("new", "both"):
            assert hall.roster.tenancy.open(key).workspace.id == ID
        for key in ("old", ID):
            with pytest.raises(Unauthorized):
                hall.roster.tenancy.open(key)
        hall.put(ID)
        assert hall.roster.tenancy.open(ID)

    def test_replicas_that_are_not_named_any_more_get_no_new_calls(self, hall: Hall) -> None:
        hall.forwarder.answers |= {18080: OK, 18081: OK}
        hall.put(ID, 18080)
        hall.forwarder.answers[18080] = hangs()
        running = hall.call()
        hall.put(ID, 18081)
        assert hall.call().value.task.status is TaskStatus.FINISHED
        assert [call.port for call in hall.forwarder.calls if call.request.method == "POST"] == [18080, 18081]
        assert not running.over, "it goes on"

    def test_those_that_stay_keep_their_standing_and_are_not_asked_anew(self, hall: Hall) -> None:
        hall.forwarder.answers |= {18080: OK, 18081: OK}
        hall.put(ID, 18080)
        before = next(iter(hall.roster.lines[ID].pool.members.values()))
        asked = len(hall.forwarder.calls)
        hall.put(ID, 18080, 18081, slots=2, queue={"limit": 5})
        assert next(iter(hall.roster.lines[ID].pool.members.values())) is before
        assert [call.port for call in hall.forwarder.calls[asked:]] == [18081]
        assert hall.roster.lines[ID].pool.slots == 4

    def test_copies_of_the_fleet_stay(self, hall: Hall) -> None:
        hall.put(ID)
        hall.serving.add(ID, copy("w-1"))
        hall.put(ID, name="w", slots=3)
        assert list(hall.roster.lines[ID].pool.members) == ["w-1"]

    def test_a_new_policy_is_used_and_one_that_is_the_same_is_kept(self, hall: Hall) -> None:
        workspace = hall.put(ID)

        class Counting:
            asked = 0

            def select(self, replicas: Any, request: Any) -> Any:
                self.asked += 1
                return replicas[0]

        same, other = Counting(), Counting()
        hall.forwarder.answers[18080] = OK
        hall.roster.put(workspace, same)
        hall.put(ID, 18080)
        hall.call()
        changed = workspace.model_copy(
            update={"selection": workspace.selection.model_copy(update={"policy": "round_robin"})}
        )
        hall.roster.put(changed.model_copy(update={"upstream": hall.roster.workspaces[ID].upstream}), other)
        hall.call()
        assert (same.asked, other.asked) == (0, 1)

    def test_a_changed_interval_and_path_of_health_checks_count_from_now_on(self, hall: Hall) -> None:
        hall.forwarder.answers[18080] = OK
        hall.put(ID, 18080, health={"interval": "100s"})
        hall.put(ID, 18080, health={"interval": "2s", "path": "/alive"})
        assert [call.request.target for call in hall.forwarder.calls] == ["/", "/alive"]
        hall.pass_time(4)
        assert len(hall.forwarder.calls) == 4

    def test_another_name_is_another_label(self, hall: Hall) -> None:
        hall.forwarder.answers[18080] = OK
        before = hall.put(ID, 18080)
        hall.call()
        assert before.label in hall.figures()
        after = hall.put(ID, 18080, name="other")
        hall.call()
        assert before.label not in hall.figures() and after.label in hall.figures()

    def test_a_port_that_older_copies_do_not_have_costs_them_no_rest(self, hall: Hall) -> None:
        hall.forwarder.answers |= {18080: OK, 18081: OK}
        hall.put(ID)
        hall.serving.add(ID, copy("w-1"))
        hall.put(ID, ports={9090: 9090})
        lost = hall.call(request=UpstreamRequest("POST", "/", 9090), access=hall.roster.tenancy.open(ID))
        hall.clock.advance(61)
        assert "without port 9090" in str(lost.value.task.outcome.reason)
        assert hall.roster.lines[ID].pool.members["w-1"].resting_until == 0
        assert hall.call().value.task.status is TaskStatus.FINISHED


class TestGoing:
    def test_its_credentials_open_nothing(self, hall: Hall) -> None:
        hall.put(ID)
        late = hall.submission()
        hall.roster.remove(ID)
        with pytest.raises(Unauthorized):
            hall.submission()
        for work in (hall.gateway.submit(late), hall.gateway.call(late, Handle())):
            assert isinstance(begun(work).error, Unauthorized)
        assert hall.shelf.records == {}

    def test_who_waits_is_told_who_runs_goes_on_and_what_is_queued_fails(self, hall: Hall) -> None:
        wait: Deferred[None] = Deferred()
        hall.forwarder.answers[18080] = OK
        hall.start()
        hall.put(ID, 18080)
        hall.forwarder.answers[18080] = FakeReply(wait=wait)
        running = hall.submit()
        waiting = hall.call()
        queued = [hall.submit() for _ in range(5)]
        watched = begun(hall.backlog.wait(hall.task(hall.submit()), 50))
        hall.roster.remove(ID)
        assert isinstance(waiting.error, ReplicaRemoved)
        done(hall.dispatcher.clear(ID))
        for task_id in (*queued, watched.value.id):
            outcome = hall.task(task_id).outcome
            assert outcome is not None and (outcome.status, outcome.code) == (TaskStatus.FAILED, 410)
            assert "its workspace was removed" in outcome.reason
        assert hall.task(running).status is TaskStatus.RUNNING
        wait.callback(None)
        assert hall.task(running).status is TaskStatus.FINISHED

    def test_nothing_of_its_webhooks_is_shown_under_its_name_any_more(self, hall: Hall) -> None:
        hall.put(ID)
        label = hall.roster.workspaces[ID].label
        hall.metrics.webhooks.labels(label, "delivered").inc()
        hall.metrics.show_webhooks({ID: Backlog(2, 1)})
        assert hall.metrics.exposition().decode().count(f'webhooks_pending{{workspace="{label}"}} 2.0') == 1
        hall.roster.remove(ID)
        assert "webhook" not in "".join(
            line for line in hall.metrics.exposition().decode().splitlines() if label in line
        )
        hall.metrics.show_webhooks({ID: Backlog(2, 1)})
        assert 'ngpu_webhooks_pending{workspace="former"} 2.0' in hall.metrics.exposition().decode()

    def test_its_queue_ends_by_itself_once_a_store_is_back(self, hall: Hall) -> None:
        hall.start()
        hall.put(ID)
        queued = [hall.submit(), hall.submit()]
        hall.store.refusing = {"claim"}
        hall.roster.remove(ID)
        hall.pass_time(3)
        assert hall.task(queued[0]).status is TaskStatus.QUEUED
        hall.store.refusing = {"finish"}
        hall.pass_time(3)
        hall.store.refusing = set()
        hall.pass_time(3)
        assert [hall.task(each).status for each in queued] == [TaskStatus.FAILED] * 2

    @pytest.mark.parametrize("held", ["add", "claim", "requeue"])
    def test_a_task_that_is_on_its_way_through_the_store_ends_too(self, hall: Hall, held: str) -> None:
        hall.start()
        hall.forwarder.answers[18080] = OK
        hall.put(ID, 18080)
        if held == "requeue":
            hall.forwarder.answers[18080] = DialFailed("refused")
        hall.store.holding = {held}
        begun(hall.gateway.submit(hall.submission()))
        hall.roster.remove(ID)
        hall.store.release()
        hall.pass_time(3)
        statuses = [record.task.status for record in hall.shelf.records.values()]
        assert statuses == [TaskStatus.FINISHED if held == "claim" else TaskStatus.FAILED]

    def test_a_task_that_ran_and_must_go_elsewhere_ends_too(self, hall: Hall) -> None:
        """Its call breaks after the removal, and its line has nothing for it any more."""
        cut: Deferred[None] = Deferred()
        hall.start()
        hall.forwarder.answers[18080] = OK
        hall.put(ID, 18080, retry="idempotent")
        hall.forwarder.answers[18080] = FakeReply(wait=cut)
        task_id = hall.submit()
        hall.roster.remove(ID)
        cut.errback(DialFailed("refused"))
        hall.pass_time(3)
        assert hall.task(task_id).status is TaskStatus.FAILED

    def test_it_may_come_back_at_once_and_old_calls_do_not_count(self, hall: Hall) -> None:
        wait: Deferred[None] = Deferred()
        hall.forwarder.answers[18080] = OK
        hall.start()
        hall.put(ID, 18080)
        hall.forwarder.answers[18080] = FakeReply(wait=wait)
        before = hall.call()
        hall.roster.remove(ID)
        hall.forwarder.answers[18080] = OK
        hall.put(ID, 18080)
        assert hall.roster.leaving == {}
        assert hall.call().value.task.status is TaskStatus.FINISHED
        assert [member.in_flight for member in hall.roster.lines[ID].pool.members.values()] == [0]
        wait.callback(None)
        assert before.value.task.status is TaskStatus.FINISHED

    def test_nothing_of_it_is_shown_or_checked_any_more(self, hall: Hall) -> None:
        hall.forwarder.answers[18080] = OK
        hall.start()
        label = hall.put(ID, 18080).label
        hall.submit()
        assert label in hall.figures()
        hall.roster.remove(ID)
        asked = len(hall.forwarder.calls)
        hall.pass_time(30)
        assert label not in hall.figures() and len(hall.forwarder.calls) == asked

    def test_a_scrape_in_the_middle_of_a_removal_brings_nothing_back(self, hall: Hall) -> None:
        label = hall.put(ID).label
        hall.store.holding = {"queued"}
        scrape = begun(hall.scrape())
        hall.roster.remove(ID)
        hall.store.release()
        assert label not in scrape.value.decode()

    def test_its_ended_tasks_are_kept_as_long_as_it_said(self, hall: Hall) -> None:
        hall.forwarder.answers[18080] = OK
        hall.start()
        hall.put(ID, 18080, retention="90s")
        task_id = hall.submit()
        hall.roster.remove(ID)
        hall.pass_time(60)
        assert hall.task(task_id)
        hall.pass_time(120)
        assert hall.shelf.records == {}


class TestServing:
    def test_a_copy_serves_once_it_is_up_and_its_figures_go_with_it(self, hall: Hall) -> None:
        hall.put(ID)
        waiting = hall.submit()
        hall.serving.add(ID, copy("w-1"))
        health = hall.serving.health(ID, "w-1")
        assert health is not None and health[0].value == "down" and "refused" in health[1]
        hall.forwarder.answers[18080] = OK
        hall.pass_time(11)
        assert hall.task(waiting).placement.replica == "w-1"
        assert 'replica="w-1"' in hall.figures()
        assert done(hall.serving.drain(ID, "w-1")) is None
        hall.serving.remove(ID, "w-1")
        assert hall.serving.health(ID, "w-1") is None
        assert 'replica="w-1"' not in hall.figures()

    def test_a_drain_waits_for_what_is_in_flight(self, hall: Hall) -> None:
        wait: Deferred[None] = Deferred()
        hall.forwarder.answers[18080] = OK
        hall.put(ID)
        hall.serving.add(ID, copy("w-1"))
        hall.forwarder.answers[18080] = FakeReply(wait=wait)
        running = hall.call()
        drained = begun(hall.serving.drain(ID, "w-1"))
        assert hall.serving.in_flight(ID, "w-1") == 1 and not drained.over
        wait.callback(None)
        assert drained.over and running.over and hall.serving.in_flight(ID, "w-1") == 0

    def test_copies_of_a_removed_workspace_are_drained_until_they_are_removed(self, hall: Hall) -> None:
        wait: Deferred[None] = Deferred()
        hall.forwarder.answers[18080] = OK
        hall.put(ID)
        hall.serving.add(ID, copy("w-1"))
        hall.forwarder.answers[18080] = FakeReply(wait=wait)
        running = hall.call()
        hall.roster.remove(ID)
        drained = begun(hall.serving.drain(ID, "w-1"))
        assert not drained.over and hall.serving.health(ID, "w-1") is not None
        wait.callback(None)
        assert drained.over and running.value.task.status is TaskStatus.FINISHED
        hall.serving.remove(ID, "w-1")
        assert hall.serving.health(ID, "w-1") is None
        hall.put("w2")
        hall.roster.remove("w2")
        assert hall.roster.leaving == {}

    def test_a_copy_is_taken_over_by_a_workspace_that_comes_back(self, hall: Hall) -> None:
        hall.forwarder.answers[18080] = OK
        hall.put(ID)
        hall.serving.add(ID, copy("w-1"))
        hall.roster.remove(ID)
        hall.put(ID)
        hall.serving.add(ID, copy("w-1"))
        assert hall.call().value.task.placement.replica == "w-1"

    @pytest.mark.parametrize("gone", ["replica", "workspace"])
    def test_a_job_whose_replica_is_removed_before_it_is_back_ends(
        self, make_hall: Callable[..., Hall], gone: str
    ) -> None:
        """A conversation of an earlier process waits for its replica, which never comes."""

        class Slow:
            deadline = 3600.0

        hall = make_hall(adapters={"app": Slow()})
        hall.put(ID)
        hall.serving.add(ID, copy("w-1"))
        job = sample("job", workspace=ID, status=TaskStatus.RUNNING, attempt=1, started_at=hall.clock.seconds())
        done(hall.store.add(replace(job, app="app", checkpoint="{}", placement=Placement("w-1")), BytesBody()))
        hall.start()
        drained = begun(hall.serving.drain(ID, "w-1"))
        assert hall.task("job").status is TaskStatus.RUNNING and not drained.over
        if gone == "replica":
            hall.serving.remove(ID, "w-1")
        else:
            hall.roster.remove(ID)
        assert hall.task("job").status is TaskStatus.FAILED and drained.over

    def test_what_is_not_there_changes_nothing(self, hall: Hall) -> None:
        hall.put(ID)
        hall.serving.add("other", copy("w-1", workspace="other"))
        hall.serving.remove(ID, "w-1")
        hall.serving.remove("other", "w-1")
        assert done(hall.serving.drain(ID, "w-1")) is None
        assert hall.serving.health("other", "w-1") is None and hall.serving.in_flight("other", "w-1") == 0

    def test_a_workspace_that_has_nothing_says_so(self, hall: Hall) -> None:
        hall.put(ID)
        waiting = hall.call()
        hall.clock.advance(10)
        assert isinstance(waiting.error, NoReplica) and "it has none" in str(waiting.error)
