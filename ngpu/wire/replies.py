"""Records of tasks as the partner contract spells them: the home of ``recordDursion``, ``taskID`` and state numbers.

Each function gives a document for `ngpu.wire.stream.render`; the bodies of requests and results stand in it unread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ngpu.listing import TaskPage
from ngpu.model import Body, BytesBody, DataForm, Outcome, Task, TaskStatus
from ngpu.wire.stream import Embedded, Spelling
from ngpu.wire.times import format_time

OK = 200
"""``result_code`` of a reply that succeeds: the number (wire contract §1)."""

STATES: Mapping[TaskStatus, int] = {
    TaskStatus.QUEUED: 1,
    TaskStatus.RUNNING: 2,
    TaskStatus.FINISHED: 3,
    TaskStatus.FAILED: -1,
    TaskStatus.EXPIRED: -1,
    TaskStatus.CANCELLED: 5,
}
"""Task states in records (wire contract §4), but for `AT_WORKER`."""

AT_WORKER = 4
"""The state of a running task whose worker has taken the job in, and is asked now and then how it stands."""

_UNSERVED = {
    TaskStatus.CANCELLED: Outcome(TaskStatus.CANCELLED, 409, "the task was cancelled"),
    TaskStatus.EXPIRED: Outcome(TaskStatus.EXPIRED, 504, "the task waited in the queue for longer than its ttl"),
}
"""How tasks ended that no worker took to their end."""

_WAITING = {
    TaskStatus.QUEUED: "accepted; the task waits in the queue",
    TaskStatus.RUNNING: "the task is running",
}


def success(msg: str = "success") -> dict[str, Any]:
    """The head of every reply that succeeds."""
    return {"result_code": OK, "msg": msg}


def failure(code: int, msg: str) -> dict[str, Any]:
    """The body of every reply that fails."""
    return {"result_code": code, "msg": msg}


def task_ids(task_id: str) -> dict[str, str]:
    """A task's id under each name that a published client reads."""
    return {"taskID": task_id, "taskId": task_id, "task_id": task_id}


def task_reply(task: Task, result: Body | None, queue: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The reply of queryTask, and of a submission whose result is there already.

    :param queue: ``queue_position`` and ``wait_estimate`` of a task that is queued.
    """
    outcome = outcome_of(task)
    head = _head(task, outcome)
    reply = {**head, **task_ids(task.id), "status": str(task.status)}
    if queue:
        reply |= queue
    if outcome is None:
        return {**reply, "result_size": 0, "data": {} if task.form is DataForm.OBJECT else ""}
    reply |= {"result_size": 1, "task_dursion": seconds_of(task)}
    if task.status is TaskStatus.FINISHED:
        reply |= _data(task, outcome, result or BytesBody())
        return reply
    told = {**head, "status": str(task.status), "worker_status": outcome.worker_status}
    return {**reply, "data": told if task.form is DataForm.OBJECT else json.dumps(told, ensure_ascii=False)}


def webhook_reply(task: Task, result: Body | None, most: int) -> dict[str, Any]:
    """What a webhook is told of an ended task: queryTask's reply, without the data of a result that is over ``most``.

    :param most: bytes.
    """
    if result is None or result.length <= most or task.status is not TaskStatus.FINISHED:
        return task_reply(task, result)
    reply = task_reply(task, BytesBody())
    reply.pop("data_encoding", None)
    left_out = (
        f"the result has {result.length} bytes, more than the {most} that a webhook carries: ask queryTask for it"
    )
    return {**reply, "data": {} if task.form is DataForm.OBJECT else "", "data_left_out": left_out}


def worker_refusal(task: Task, result: Body) -> dict[str, Any]:
    """The reply to a call that waited and whose worker answered with an error status: what it said, as ``data``."""
    outcome = task.outcome or Outcome(TaskStatus.FAILED)
    return {**_head(task, outcome), **task_ids(task.id), "status": str(task.status), **_data(task, outcome, result)}


def outcome_of(task: Task) -> Outcome | None:
    """How the task ended; ``None`` while it has not."""
    return task.outcome or _UNSERVED.get(task.status)


def _head(task: Task, outcome: Outcome | None) -> dict[str, Any]:
    if outcome is None:
        return success(_WAITING[task.status])
    return success() if task.status is TaskStatus.FINISHED else failure(outcome.code, outcome.reason)


def _data(task: Task, outcome: Outcome, result: Body) -> dict[str, Any]:
    """A worker's body in the form in which the request's data came."""
    if not outcome.text:
        return {"data_encoding": "base64", "data": Embedded(result, Spelling.BASE64)}
    as_json = task.form is DataForm.OBJECT and outcome.json
    return {"data": Embedded(result, Spelling.JSON if as_json else Spelling.TEXT)}


def seconds_of(task: Task) -> int:
    """How long the task ran at the worker, in whole seconds; 0 for one that never did."""
    if task.started_at is None or task.ended_at is None:
        return 0
    return max(0, round(task.ended_at - task.started_at))


def record(task: Task, request: Body, result: Body | None, zone: ZoneInfo) -> dict[str, Any]:
    """getDetailed's ``taskInfo``: every field of the document's sample, in its spelling."""
    whole = 0 if task.ended_at is None else max(0, round(task.ended_at - task.submitted_at))
    outcome = outcome_of(task)
    return {
        "id": task.number,
        "userkey": task.user_key,
        "btcaddress": task.btc_address,
        "workspaceid": task.workspace,
        "taskid": task.id,
        "requrl": task.request_url,
        "method": task.method,
        "userip": task.client_ip,
        "nodeip": task.placement.node_host,
        "nodeaddr": task.placement.node_address,
        "requesttime": format_time(task.submitted_at, zone),
        "responsetime": format_time(task.ended_at, zone),
        "request": Embedded(request, Spelling.TEXT if task.request_text else Spelling.BASE64),
        "state": AT_WORKER if task.status is TaskStatus.RUNNING and task.checkpoint else STATES[task.status],
        "response": _response(task, result),
        "recordDursion": whole,
        "videodursion": 0,
        "gpudursion": seconds_of(task),
        "watermarktime": "",
        "watermarkres": "",
        "status": str(task.status),
        "reason": "" if outcome is None else outcome.reason,
        "attempts": task.attempt,
        "retries": task.retries,
    }


def _response(task: Task, result: Body | None) -> Embedded | str:
    if task.outcome is None or result is None:
        return ""
    return Embedded(result, Spelling.TEXT if task.outcome.text else Spelling.BASE64)


def short_record(task: Task, request: Body, result: Body | None, zone: ZoneInfo, server: str) -> dict[str, Any]:
    """getTask's ``task``: the record less its running number, with the name of the workspace that served it."""
    fields = record(task, request, result, zone)
    del fields["id"]
    return {**fields, "servername": server}


def task_line(task: Task, name: str, now: float, zone: ZoneInfo) -> dict[str, Any]:
    """What operators are told of a task: all but its bodies, its credential's owner and its webhook's address.

    :param name: the workspace's, "" for none.
    """
    outcome = outcome_of(task)
    begun = task.started_at if task.started_at is not None else task.ended_at
    waited = (now if begun is None else begun) - task.submitted_at
    ran = 0.0 if task.started_at is None else (now if task.ended_at is None else task.ended_at) - task.started_at
    return {
        "id": task.id,
        "workspace": task.workspace,
        "workspace_name": name,
        "status": str(task.status),
        "code": 0 if outcome is None else outcome.code,
        "reason": "" if outcome is None else outcome.reason,
        "worker_status": 0 if outcome is None else outcome.worker_status,
        "submitted_at": _moment(task.submitted_at, zone),
        "started_at": _moment(task.started_at, zone),
        "ended_at": _moment(task.ended_at, zone),
        "waited": round(max(0.0, waited), 3),
        "ran": round(max(0.0, ran), 3),
        "node": task.placement.node_address,
        "host": task.placement.node_host,
        "replica": task.placement.replica,
        "attempts": task.attempt,
        "retries": task.retries,
        "priority": task.priority.name.lower(),
        "waits_for_reply": task.direct,
        "app": task.app,
        "call": task.method,
        "port": task.request.port,
        "target": task.request.target.partition("?")[0],
        "address": task.btc_address,
        "client": task.client_ip,
        "request_size": task.request_size,
        "result_size": 0 if task.outcome is None else task.outcome.size,
    }


def _moment(seconds: float | None, zone: ZoneInfo) -> str | None:
    """A time as ISO 8601 has it, in the configured zone and with its offset."""
    return None if seconds is None else datetime.fromtimestamp(seconds, zone).isoformat(timespec="milliseconds")


def task_list(page: TaskPage) -> dict[str, Any]:
    """The reply of the calls that list tasks."""
    more = {} if page.next_cursor is None else {"next_cursor": page.next_cursor}
    return {**success(), "result_size": len(page.ids), "taskIds": list(page.ids), **more}


def node_list(nodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The reply of queryNodes."""
    return {**success(), "result_size": len(nodes), "nodes": list(nodes)}
