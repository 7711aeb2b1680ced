"""All stores give the same answers to whatever is asked of them, in any order, and as a plain model of it says.

One in Redis does so too over a connection that is cut at any call: before it, before its answer, or with a copy of it
that arrives when nobody waits for it any more.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import redis_server
from cutting_proxy import AFTER, BEFORE, LATE, CuttingProxy
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from task_stores import BACKENDS, DONE, HERE, THERE, Opener, pattern, sample, whole
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from ngpu.errors import NgpuError
from ngpu.limits import Quota
from ngpu.listing import TaskQuery
from ngpu.model import CHUNK, BytesBody, Placement, Priority, Task, TaskStatus
from ngpu.outbox import Webhook
from ngpu.stores.redis import RedisOptions, RedisTaskStore, address_of

workspaces = st.sampled_from(["w", "v"])
ids = st.sampled_from([f"t{number}" for number in range(12)])
attempts = st.integers(0, 4)
moments = st.integers(0, 12).map(float)
places = st.sampled_from([HERE, THERE, Placement()])
sizes = st.sampled_from([0, 5, CHUNK, CHUNK + 5])
nodes = st.none() | st.sampled_from([HERE.node_address, "ab02", "0xFF", ""])
collections = st.sampled_from(["a", "b"])
keys = st.sampled_from(["0123", "key", "\u4f60", ""])
priorities = st.sampled_from(Priority)
quotas = st.none() | st.builds(Quota, st.integers(0, 3), st.sampled_from(["2026-11-25", "2026-11-26"]), st.just(60))
addresses = st.none() | st.sampled_from(["bc1q", "", "\ud800"])


class SameAnswers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        from twisted.internet import reactor

        self._reactor = reactor
        self._folder = tempfile.TemporaryDirectory()
        self._openers = self.openers(Path(self._folder.name), reactor)
        self._stores = [self._wait(opener) for opener in self._openers]
        self._known: dict[str, Task] = {}
        self._documents: dict[str, dict[str, dict[str, int]]] = {"a": {}, "b": {}}
        self._webhooks: list[Webhook] = []

    def _kept_documents(self) -> list[Any]:
        """Of the stores that keep some."""
        return [store.documents for store in self._stores if hasattr(store, "documents")]

    def openers(self, folder: Path, reactor: Any) -> list[Opener]:
        """All there are on this machine."""
        there = {name for name in BACKENDS if name != "redis" or redis_server.is_installed()}
        return [backend(folder, reactor) for name, backend in BACKENDS.items() if name in there]

    def _wait(self, call: Callable[..., Any], *args: Any) -> Any:
        """Hypothesis drives from a thread of its own, the stores live on the reactor's."""
        return blockingCallFromThread(self._reactor, lambda: ensureDeferred(call(*args)))

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """Ask all stores; the answer, or the kind of refusal, must be the same."""
        answers = []
        for store in self._stores:
            try:
                answers.append(self._wait(question, store))
            except NgpuError as error:
                answers.append(type(error))
        assert answers[1:] == answers[:-1]
        return answers[0]

    @rule(
        task_id=ids,
        workspace=workspaces,
        status=st.sampled_from([TaskStatus.QUEUED, TaskStatus.QUEUED, TaskStatus.RUNNING]),
        at=moments,
        life=moments,
        address=addresses,
        place=places,
        size=sizes,
        limit=st.none() | st.integers(0, 4),
        priority=priorities,
        counts_as=moments,
        key=st.sampled_from(["", "", "k", "l"]),
        webhook=st.sampled_from(["", "https://a.example/"]),
        quota=quotas,
    )
    def add(
        self,
        task_id: str,
        workspace: str,
        status: TaskStatus,
        at: float,
        life: float,
        address: str | None,
        place: Placement,
        size: int,
        limit: int | None,
        priority: Priority,
        counts_as: float,
        key: str,
        webhook: str,
        quota: Quota | None,
    ) -> None:
        task = sample(
            task_id,
            workspace=workspace,
            status=status,
            submitted_at=at,
            expires_at=at + life,
            btc_address=address or "",
            placement=place if status is TaskStatus.RUNNING else Placement(),
            request_size=size,
            priority=priority,
            place=counts_as,
            idempotency_key=key,
            webhook=webhook,
        )
        stored = self.ask(lambda store: store.add(task, BytesBody(pattern(size)), limit, quota))
        if isinstance(stored, Task):
            self._known[stored.id] = stored

    @rule(task_id=ids, now=moments, life=moments, limit=st.none() | st.integers(0, 4), quota=quotas)
    def retry(self, task_id: str, now: float, life: float, limit: int | None, quota: Quota | None) -> None:
        self.ask(lambda store: store.retry(task_id, now, now + life, now, limit, quota))

    @rule(workspace=workspaces, now=moments, most=st.integers(0, 4))
    def cancel_queued(self, workspace: str, now: float, most: int) -> None:
        async def cancelled(store: Any) -> list[str]:
            return sorted(await store.cancel_queued(workspace, now, most))

        self.ask(cancelled)

    @rule(
        now=moments,
        lease=moments,
        room=st.integers(0, 3),
        most=st.integers(0, 3),
        busy=st.dictionaries(workspaces, st.integers(0, 2)),
    )
    def take_webhooks(self, now: float, lease: float, room: int, most: int, busy: dict[str, int]) -> None:
        self._webhooks += self.ask(lambda store: store.take_webhooks(now, now + lease, room, most, busy))

    @precondition(lambda self: self._webhooks)
    @rule(index=st.integers(0, 5), due_at=st.none() | moments, delivered=st.booleans())
    def end_a_delivery(self, index: int, due_at: float | None, delivered: bool) -> None:
        webhook = self._webhooks[-1 - index % len(self._webhooks)]
        if delivered:
            self.ask(lambda store: store.webhook_delivered(webhook))
        else:
            self.ask(lambda store: store.webhook_failed(webhook, due_at))

    @rule(workspace=workspaces, place=places, now=moments)
    def claim(self, workspace: str, place: Placement, now: float) -> None:
        self.ask(lambda store: store.claim(workspace, place, now))

    @rule(task_id=ids, attempt=attempts, place=places)
    def reattempt(self, task_id: str, attempt: int, place: Placement) -> None:
        self.ask(lambda store: store.reattempt(task_id, attempt, place))

    @rule(task_id=ids, attempt=attempts)
    def requeue(self, task_id: str, attempt: int) -> None:
        self.ask(lambda store: store.requeue(task_id, attempt))

    @rule(task_id=ids, attempt=attempts, checkpoint=st.sampled_from(["", '{"job":"7"}']))
    def save_checkpoint(self, task_id: str, attempt: int, checkpoint: str) -> None:
        self.ask(lambda store: store.save_checkpoint(task_id, attempt, checkpoint))

    @rule(task_id=ids, attempt=attempts, filler=st.binary(min_size=1, max_size=1))
    def write_result(self, task_id: str, attempt: int, filler: bytes) -> None:
        self.ask(lambda store: store.write_result(task_id, attempt, 0, filler * CHUNK))

    @rule(task_id=ids, attempt=attempts, now=moments, tail=st.binary(max_size=5))
    def finish(self, task_id: str, attempt: int, now: float, tail: bytes) -> None:
        """After a first piece, if the attempt is the current one."""

        async def whole_result(store: Any) -> bool:
            await store.write_result(task_id, attempt, 0, pattern(CHUNK))
            outcome = replace(DONE, size=CHUNK + len(tail))
            done: bool = await store.finish(task_id, attempt, outcome, now, (1, tail))
            return done

        self.ask(whole_result)

    @rule(task_id=ids, attempt=attempts, now=moments)
    def fail(self, task_id: str, attempt: int, now: float) -> None:
        outcome = replace(DONE, status=TaskStatus.FAILED, code=502)
        self.ask(lambda store: store.finish(task_id, attempt, outcome, now, None))

    @rule(task_id=ids, now=moments)
    def cancel(self, task_id: str, now: float) -> None:
        self.ask(lambda store: store.cancel(task_id, now))

    @rule(now=moments)
    def expire(self, now: float) -> None:
        async def expired(store: Any) -> list[tuple[str, str]]:
            return sorted(await store.expire(now))

        self.ask(expired)

    @rule(before=moments, otherwise=moments)
    def purge(self, before: float, otherwise: float) -> None:
        self.ask(lambda store: store.purge({"v": before}, otherwise))

    @rule(
        workspace=workspaces,
        node=nodes,
        address=addresses,
        start=st.none() | moments,
        end=st.none() | moments,
        limit=st.integers(1, 4),
    )
    def page_through(
        self, workspace: str, node: str | None, address: str | None, start: float | None, end: float | None, limit: int
    ) -> None:
        async def pages(store: Any) -> list[tuple[str, ...]]:
            query = TaskQuery(workspace, node, address, start, end, limit)
            shown = [await store.list(query)]
            while shown[-1].next_cursor and len(shown) < 20:
                shown.append(await store.list(replace(query, cursor=shown[-1].next_cursor)))
            return [page.ids for page in shown]

        self.ask(pages)

    @precondition(lambda self: self._known)
    @rule(task_id=ids)
    def read(self, task_id: str) -> None:
        """The bodies by the record of now, and by one from before that may have been purged since."""

        async def bodies(store: Any) -> list[Any]:
            task = await store.get(task_id)
            return [] if task is None else [await whole(store.request_body(task)), await whole(store.result_body(task))]

        self.ask(bodies)
        if known := self._known.get(task_id):
            self.ask(lambda store: whole(store.request_body(known)))
            self.ask(lambda store: store.queue_position(known))

    @rule(collection=collections, key=keys, value=st.integers(0, 3))
    def put(self, collection: str, key: str, value: int) -> None:
        self._documents[collection][key] = {"value": value}
        for documents in self._kept_documents():
            self._wait(documents.put, collection, key, {"value": value})

    @rule(collection=collections, key=keys)
    def delete(self, collection: str, key: str) -> None:
        was_there = self._documents[collection].pop(key, None) is not None
        for documents in self._kept_documents():
            assert self._wait(documents.delete, collection, key) is was_there

    @rule(collection=collections)
    def read_documents(self, collection: str) -> None:
        wanted = sorted(self._documents[collection].items())
        for documents in self._kept_documents():
            assert list(self._wait(documents.documents, collection).items()) == wanted

    @rule()
    def open_again(self) -> None:
        for index, opener in enumerate(self._openers):
            self._wait(self._stores[index].close)
            self._stores[index] = self._wait(opener)
        self.take_over()

    def take_over(self) -> None:
        async def orphans(store: Any) -> list[Task]:
            return sorted(await store.orphans(), key=lambda task: task.id)

        self.ask(orphans)

    @invariant()
    def records_are_the_same(self) -> None:
        async def everything(store: Any) -> list[Any]:
            tasks = [await store.get(f"t{number}") for number in range(12)]
            positions = [await store.queue_position(task) for task in tasks if task is not None]
            used = [await store.used(w, f"2026-11-2{day}") for w in "vw" for day in (5, 6)]
            keys = [await store.by_key(w, key) for w in "vw" for key in ("k", "l")]
            queued = [await store.queued(w) for w in "vw"]
            return [*tasks, *queued, await store.queues(), *positions, *used, *keys, await store.webhooks()]

        self.ask(everything)

    def teardown(self) -> None:
        for store in self._stores:
            self._wait(store.close)
        self._folder.cleanup()


class SameAnswersOverBadConnections(SameAnswers):
    """The store in memory, and one in Redis behind a proxy that cuts."""

    def openers(self, folder: Path, reactor: Any) -> list[Opener]:
        self._proxy = CuttingProxy(reactor, redis_server.shared().port)
        self._wait(self._proxy.start)
        url, options = f"redis://127.0.0.1:{self._proxy.port}", RedisOptions(prefix=secrets.token_hex(4))

        async def opened() -> RedisTaskStore:
            store = RedisTaskStore(address_of(url), reactor, options)
            await store.open()
            return store

        return [BACKENDS["memory"](folder, reactor), opened]

    @rule(plan=st.lists(st.sampled_from([BEFORE, AFTER, LATE]), min_size=1, max_size=3))
    def cut(self, plan: list[str]) -> None:
        """What becomes of the next calls."""
        self._proxy.plan = plan

    @rule()
    def deliver(self) -> None:
        """What was held back arrives now."""
        blockingCallFromThread(self._reactor, self._proxy.deliver)

    def teardown(self) -> None:
        self._proxy.plan = []
        super().teardown()
        self._wait(self._proxy.stop)


@pytest.mark.parametrize(("machine", "examples"), [(SameAnswers, 15), (SameAnswersOverBadConnections, 8)])
@pytest_twisted.ensureDeferred
async def test_the_same_answers_in_any_order(machine: type[SameAnswers], examples: int) -> None:
    if machine is not SameAnswers:
        redis_server.needs_redis()
    bounds = settings(
        max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    await deferToThread(run_state_machine_as_test, machine, settings=bounds)
