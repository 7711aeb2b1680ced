"""The calls themselves, without a way to send them: what goes out, and what is made of the reply."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote, urlsplit

from ngpu.client.values import ClientError, NodeStatus, Refused, Task, Unreachable

T = TypeVar("T")

Submission = Mapping[str, Any] | str | bytes
"""What a worker gets: an object (as JSON), a text as it is, or bytes as they are."""

PAGE = 1000
"""Task ids that are asked for at once."""

PAUSES = (0.1, 2.0, 1.5)
"""Seconds between two looks at a task: the first pause, the longest, and by how much each is longer than the last."""


class Choices(TypedDict, total=False):
    """What may be said of a submission beside its data.

    ``app`` names an app of the gateway, which knows path and port itself; else ``path`` and ``port`` (as the workspace
    declares it) say where at the worker, by default where the workspace says. ``btc_address`` is checked by the
    workspace's gate. ``ttl`` (how long it may wait) and ``timeout`` (how long it may run) are seconds. ``webhook`` is
    an https URL that is told of the end. The same ``idempotency_key`` and data give the same task. ``content_type`` is
    that of bytes.
    """

    app: str
    path: str
    port: int
    btc_address: str
    ttl: float
    timeout: float
    priority: Literal["low", "normal", "high"]
    webhook: str
    idempotency_key: str
    content_type: str


@dataclass(frozen=True)
class Reply:
    """A reply, whole."""

    status: int
    body: bytes
    retry_after: str = ""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and how its reply is read.

    ``again``: it may be sent again where no reply came. ``patient``: its reply takes as long as the work does.
    """

    method: str
    path: str
    read: Callable[[Reply], T]
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    again: bool = True
    patient: bool = False

    def told(self, reply: Reply) -> T:
        """What a reply says.

        :raises Unreachable: it is none of a gateway's.
        """
        try:
            return self.read(reply)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            raise _foreign(reply) from None


def submit(data: Submission, choices: Choices, *, wait: bool) -> Call[Task]:
    """Hand in a task; with ``wait`` the reply tells how it ended.

    :raises TypeError: there is no such choice.
    """
    unknown = sorted(choices.keys() - Choices.__optional_keys__)
    if unknown:
        raise TypeError(f"there is no choice {unknown[0]!r} here; there are {', '.join(Choices.__annotations__)}")
    app = choices.get("app", "")
    params = {
        "paramUrl": choices.get("path"),
        "paramPort": choices.get("port"),
        "taskMode": "Sync" if wait else "Async",
        "taskTtl": _duration(choices.get("ttl")),
        "taskTimeout": _duration(choices.get("timeout")),
        "taskPriority": choices.get("priority"),
        "webhook": choices.get("webhook"),
    }
    address = choices.get("btc_address", "")
    key = choices.get("idempotency_key", "" if wait else uuid.uuid4().hex)
    if not key and "idempotency_key" in choices:
        raise ClientError("an idempotency key that is empty keeps nothing from being done twice")
    headers = {"Idempotency-Key": key} if key else {}
    if isinstance(data, bytes):
        content = data
        headers |= {"BtcAddress": address, "Content-Type": choices.get("content_type", "application/octet-stream")}
    else:
        content = _json({"btc_address": address, "data": data if isinstance(data, str) else dict(data)})
        headers["Content-Type"] = "application/json"
    for name, value in headers.items():
        if not value.isascii() or not value.isprintable():
            raise ClientError(f"{name} is of visible ASCII characters: not {value!r}")
    return Call(
        "POST",
        f"/user/{quote(app, safe='')}" if app else "/user/schedulingTask",
        _task,
        {name: str(value) for name, value in params.items() if value is not None},
        headers,
        content,
        again=bool(key),
        patient=wait,
    )


def query(task_id: str) -> Call[Task]:
    """How a task stands."""
    return Call("GET", "/user/queryTask", _task, {"taskID": task_id})


def cancel(task_id: str) -> Call[Task]:
    """End a task."""
    return Call("POST", "/user/cancelTask", _task, {"taskID": task_id}, again=False)


def retry(task_id: str) -> Call[Task]:
    """Let a task run again that failed, expired or was cancelled."""
    return Call("POST", "/user/retryTask", _task, {"taskID": task_id})


def record(task_id: str) -> Call[Mapping[str, Any]]:
    """All that is recorded of a task."""
    return Call("GET", "/user/getDetailed", lambda reply: dict(_document(reply)["taskInfo"]), {"taskID": task_id})


def nodes() -> Call[list[NodeStatus]]:
    """Where the workspace is."""

    def read(reply: Reply) -> list[NodeStatus]:
        told = _document(reply)["nodes"]
        return [NodeStatus(each["nodeAddr"], each["progress"], each["status"] == 1) for each in told]

    return Call("GET", "/user/queryNodes", read)


def page(
    start: str | None, end: str | None, node: str | None, btc_address: str | None, cursor: str | None
) -> Call[tuple[list[str], str | None]]:
    """Ids of tasks, and the cursor of the next page where there is one."""
    if btc_address is not None and node is not None:
        raise ClientError("tasks are listed by a node or by an address, not by both")
    path = "getTasks" if btc_address is not None else "getTasksFromNode" if node is not None else "queryTaskList"
    asked = {"btcaddress": btc_address, "nodeAddr": node, "startTime": start, "endTime": end, "cursor": cursor}
    params = {name: value for name, value in asked.items() if value is not None}

    def read(reply: Reply) -> tuple[list[str], str | None]:
        told = _document(reply)
        return list(told["taskIds"]), told.get("next_cursor")

    return Call("GET", f"/user/{path}", read, {**params, "limit": str(PAGE)})


def raw_path(path: str, port: int | None) -> str:
    """Where a worker's path is reached as it is."""
    return f"/proxy/{'' if port is None else f'{port}/'}{path.removeprefix('/')}"


def pauses() -> Iterator[float]:
    """Seconds between looks at a task."""
    pause, longest, growth = PAUSES
    while True:
        yield pause
        pause = min(longest, pause * growth)


def root(url: str) -> str:
    """A gateway's URL.

    :raises ClientError: it is none.
    """
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:  # brackets, or a port that is none
        right = False
    if not right or not url.isascii() or not url.isprintable() or set(url) & set(" ?#"):
        raise ClientError(f"the gateway's URL must be such as http://127.0.0.1:8080, not {url!r}")
    return url.rstrip("/")


def credentials(key: str) -> dict[str, str]:
    """The header fields that show a key or a workspace's id.

    :raises ClientError: it can be none.
    """
    if not key.isascii() or not key.isprintable():
        raise ClientError("a key is of visible ASCII characters")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _task(reply: Reply) -> Task:
    told = _parsed(reply)
    if reply.status >= 300 and not (told.get("status") == "failed" and told.get("taskID")):
        raise refusal(reply)  # else it was taken in, and this is how it ended
    data = told.get("data")
    if told.get("data_encoding") == "base64":
        data = base64.b64decode(str(data), validate=True)
    return Task(
        str(told["taskID"]),
        str(told["status"]),
        int(told["result_code"]),
        str(told["msg"]),
        data,
        told.get("task_dursion"),
        told.get("queue_position"),
        told.get("wait_estimate"),
        str(told.get("progress", "")),
    )


def _document(reply: Reply) -> Mapping[str, Any]:
    if reply.status >= 300:
        raise refusal(reply)
    return _parsed(reply)


def refusal(reply: Reply) -> ClientError:
    """What a reply says that is no success."""
    try:
        told = str(_parsed(reply)["msg"])
    except (KeyError, Unreachable):
        return _foreign(reply)
    digits = reply.retry_after.isascii() and reply.retry_after.isdigit()
    seconds = float(reply.retry_after) if digits else None
    return Refused(told, reply.status, seconds)


def _parsed(reply: Reply) -> Mapping[str, Any]:
    try:
        told = json.loads(reply.body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise _foreign(reply)
    return told


def _foreign(reply: Reply) -> Unreachable:
    return Unreachable(f"what answered (HTTP {reply.status}) is no gateway")


def _json(document: Any) -> bytes:
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ClientError(f"the data cannot be sent as JSON: {error}") from None


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:.3f}s"
