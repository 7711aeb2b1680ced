"""From the outbox to the receivers: a bounded number at once, each until it is delivered or given up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import FetchFailed, NotFound, StoreUnavailable
from ngpu.fetch import Fetcher
from ngpu.interfaces import ITaskStore
from ngpu.metrics import Metrics
from ngpu.model import Task
from ngpu.outbox import Webhook
from ngpu.settings import Workspace
from ngpu.waiting import echo
from ngpu.webhooks.message import message
from ngpu.webhooks.schedule import next_try

LOOK_EVERY, COUNT_EVERY = 1.0, 5.0
"""Seconds between looks for what is due, and between counts for the metrics."""

MOST, MOST_EACH = 32, 4
"""Deliveries under way at once, in all and of one workspace: a receiver that hangs holds no more than its own up."""

TRIES_WITHOUT = 5
"""Tries, within about seven minutes, after which one is given up whose workspace is not there: a gateway that has not
read the configuration of others yet does not know of a new one."""

TIMEOUT, LEASE = 15.0, 20.0
"""Seconds that a receiver has to answer, and after which a delivery of a dead gateway is due again."""


class Webhooks:
    """Delivers what the store's outbox holds.

    :param fetcher: one that connects to nothing that ``egress`` closes (see `ngpu.vetted`).
    :param workspaces: by id; read anew for each delivery.
    :param wall: seconds since the epoch as receivers have them: they refuse what is five minutes off. The clock that
        timers go by may be hours behind, of a machine that was paused.
    """

    log = Logger("ngpu.webhooks")

    def __init__(
        self,
        store: ITaskStore,
        fetcher: Fetcher,
        workspaces: Mapping[str, Workspace],
        clock: IReactorTime,
        rng: Random,
        metrics: Metrics,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._fetcher = fetcher
        self._workspaces = workspaces
        self._clock = clock
        self._wall = wall
        self._rng = rng
        self._metrics = metrics
        self._under_way: dict[Webhook, Deferred[None]] = {}
        self._looking: Deferred[None] | None = None
        self._stopping = False
        self._tickers = [self._ticker(self.look), self._ticker(self._count)]

    def start(self) -> None:
        """Begin to deliver, what an earlier process left included."""
        for ticker, seconds in zip(self._tickers, (LOOK_EVERY, COUNT_EVERY), strict=True):
            ticker.start(seconds)

    def retire(self) -> None:
        """Begin nothing more: another process, whose workspaces may be others, goes on."""
        self._stopping = True

    async def stop(self) -> None:
        """Cut what is under way; it is due at once at the next start."""
        self.retire()
        for ticker in self._tickers:
            if ticker.running:
                ticker.stop()
        if self._looking is not None:
            await echo(self._looking)
        under_way = list(self._under_way.values())
        over = DeferredList([echo(delivery) for delivery in under_way])
        for delivery in under_way:
            delivery.cancel()
        await over

    async def look(self) -> None:
        """Begin as many of the due deliveries as there is room for."""
        if self._looking is not None or self._stopping:
            return
        self._looking = Deferred()
        try:
            while len(self._under_way) < MOST and not self._stopping:
                now = self._clock.seconds()
                busy = Counter(webhook.workspace for webhook in self._under_way)
                room = MOST - len(self._under_way)
                taken = await self._store.take_webhooks(now, now + LEASE, room, MOST_EACH, busy)
                for webhook in taken:
                    self._begin(webhook)
                if not taken:
                    break
        finally:
            looking, self._looking = self._looking, None
            looking.callback(None)

    def _begin(self, webhook: Webhook) -> None:
        delivery = Deferred.fromCoroutine(self._deliver(webhook))
        if not delivery.called:
            self._under_way[webhook] = delivery
        delivery.addErrback(self._stumbled, webhook)
        delivery.addBoth(self._over, webhook)

    def _over(self, result: None, webhook: Webhook) -> None:
        if self._under_way.pop(webhook, None) is not None and not self._stopping:
            self._clock.callLater(0, self._look_again)  # there is room again

    def _look_again(self) -> None:
        Deferred.fromCoroutine(self.look()).addErrback(self._tell)

    async def _deliver(self, webhook: Webhook) -> None:
        try:
            await self._try(webhook)
        except NotFound:  # it was retried or purged: there is nothing to tell any more
            await self._store.webhook_delivered(webhook)
        except CancelledError:
            await self._store.webhook_failed(webhook, self._clock.seconds())
            raise

    async def _try(self, webhook: Webhook) -> None:
        task = await self._store.get(webhook.task_id)
        if task is None or not task.status.ended or task.retries != webhook.end:
            raise NotFound("the task has not ended so any more")
        workspace = self._workspaces.get(webhook.workspace)
        if workspace is None:
            again = webhook.tries < TRIES_WITHOUT
            due_at = next_try(webhook.tries, None, None, self._clock.seconds(), self._rng) if again else None
            await self._failed(webhook, task, due_at, "there is no such workspace")
            return
        result = self._store.result_body(task) if task.outcome is not None and task.outcome.worker_status else None
        request = await message(webhook, task, result, workspace.webhook_secret, self._wall())
        status: int | None = None
        retry_after: float | None = None
        try:
            reply = await self._fetcher.tell(request, TIMEOUT)
            status, retry_after, why = reply.status, reply.retry_after, f"HTTP {reply.status}"
        except FetchFailed as error:
            why = str(error)
        if status is not None and 200 <= status < 300:
            await self._store.webhook_delivered(webhook)
            self._note(webhook, "delivered")
            return
        due_at = next_try(webhook.tries, status, retry_after, self._clock.seconds(), self._rng)
        await self._failed(webhook, task, due_at, why)

    async def _failed(self, webhook: Webhook, task: Task, due_at: float | None, why: str) -> None:
        told = {"task_id": task.id, "host": urlsplit(task.webhook).hostname, "tries": webhook.tries, "why": why}
        if due_at is None:
            self._note(webhook, "dead")
            self.log.error(
                "the webhook of {task_id} to {host} is given up after {tries} tries: {why}",
                journal="webhook_dead",
                workspace=self._metrics.label(webhook.workspace),
                **told,
            )
        else:
            self._note(webhook, "failed")
            self.log.warn("the webhook of {task_id} to {host} failed, try {tries}: {why}", **told)
        await self._store.webhook_failed(webhook, due_at)

    async def _count(self) -> None:
        backlogs = await self._store.webhooks()
        self._metrics.show_webhooks(backlogs)

    def _note(self, webhook: Webhook, result: str) -> None:
        self._metrics.webhooks.labels(self._metrics.label(webhook.workspace), result).inc()

    def _stumbled(self, failure: Failure, webhook: Webhook) -> None:
        """Whatever went wrong, it is due again when its lease is over."""
        if not failure.check(CancelledError, StoreUnavailable):
            self.log.failure("the webhook of {task_id} stumbled", failure=failure, task_id=webhook.task_id)

    def _tell(self, failure: Failure) -> None:
        if failure.check(StoreUnavailable):
            self.log.error("{error}", error=failure.getErrorMessage())
        else:
            self.log.failure("the outbox stumbled", failure=failure)

    def _ticker(self, work: object) -> LoopingCall:
        def tick() -> Deferred[None]:
            return Deferred.fromCoroutine(work()).addErrback(self._tell)  # type: ignore[operator]

        ticker = LoopingCall(tick)
        ticker.clock = self._clock
        return ticker
