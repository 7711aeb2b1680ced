"""Our own calls about tasks that are there: cancel one, try one again, drop all that wait (wire contract §8)."""

from __future__ import annotations

from ngpu.allowance import Allowances
from ngpu.backlog import Backlog
from ngpu.gateway import Gateway
from ngpu.http.access_log import annotate
from ngpu.http.call import Call
from ngpu.http.reading import TASK_ID
from ngpu.http.reply import Reply, limit_fields
from ngpu.http.wishing import ttl_of
from ngpu.wire.replies import success, task_ids


class Queueing:
    """The routes; each takes a `Call` and gives a `Reply`."""

    def __init__(self, gateway: Gateway, backlog: Backlog, allowances: Allowances) -> None:
        self._gateway = gateway
        self._backlog = backlog
        self._allowances = allowances

    async def cancel_task(self, call: Call) -> Reply:
        """End a task that is queued or running."""
        access = call.access()
        task = await self._gateway.cancel(call.needed(*TASK_ID), access)
        annotate(call.request, task_id=task.id, workspace=access.workspace.label)
        return Reply({**success("cancelled"), **task_ids(task.id), "status": str(task.status)})

    async def retry_task(self, call: Call) -> Reply:
        """Let a task that failed, expired or was cancelled run again."""
        access = call.access()
        annotate(call.request, workspace=access.workspace.label)
        task_id, ttl = call.needed(*TASK_ID), ttl_of(call, access.workspace)
        standing = await self._allowances.take(access.workspace, known=True)
        task = await self._backlog.retry(task_id, access, ttl)
        annotate(call.request, task_id=task.id)
        reply = {**success("accepted; the task waits in the queue again"), **task_ids(task.id)}
        return Reply({**reply, "status": str(task.status)}, headers=limit_fields(standing))

    async def purge_queue(self, call: Call) -> Reply:
        """Cancel all queued tasks of the caller's workspace."""
        access = call.access()
        annotate(call.request, workspace=access.workspace.label)
        return Reply({**success("cancelled"), "result_size": await self._backlog.purge(access.workspace)})
