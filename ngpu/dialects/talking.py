"""Talking heads (wire contract §6): a picture or video, and a text that is made into speech, become a video."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from zope.interface import implementer

from ngpu import options as read
from ngpu.adapter import JSON, Adapter, IAppAdapter, Peer, WorkerReply
from ngpu.dialects import settings
from ngpu.dialects.queue import LONGEST_SAID, Poll, QueueDialect, Submit, object_of, url_in
from ngpu.dialects.speech import Speech, speech_of
from ngpu.errors import BadRequest
from ngpu.interfaces import Option
from ngpu.model import CHUNK, Task, TaskStatus

LONGEST_TEXT = 10_000
"""Characters that may be spoken in one job."""

LONGEST_NAME = 200

DONE, WAITING, RUNNING, FAILED, UNKNOWN = 100, 101, 102, 104, 200
"""The worker's codes, which the clients of these apps read (wire contract §5)."""

NUMBERS = (
    *("api_time_consume", "api_time_left", "video_w", "video_h", "gpu_type", "gpu_time_estimate", "gpu_time_use"),
)
"""What of STATUS is null until the worker says it."""

_UNSERVED = {
    TaskStatus.CANCELLED: "the task was cancelled",
    TaskStatus.EXPIRED: "the task waited in the queue for longer than its ttl; send it again",
}
"""What is said of tasks that no worker took to their end; STATUS is all that clients of these apps ask for."""

OPTIONS = (
    Option(
        "tts", "who makes speech: {workspace, port, kind: edge_tts or openai_speech, voices, model, format, deliver}"
    ),
    Option("defaults", "what the worker gets beside the two URLs, where the customer says nothing"),
    Option("interval", "how often the worker is asked", "2s", "duration"),
    Option("deadline", "how long a job may take, speech included", "30m", "duration"),
)


@implementer(IAppAdapter)
class TalkingHead(Adapter):
    """One record for the whole of it: speech, the worker's own task, and its end.

    :param picture: the field with the URL of what is to talk.
    :param defaults: the worker's further fields.
    """

    flat = True

    def __init__(
        self, dialect: QueueDialect, picture: str, defaults: Mapping[str, Any], speech: Speech, deadline: float
    ) -> None:
        self.deadline = deadline
        self.peers: Sequence[Peer] = (speech.peer,)
        self._dialect = dialect
        self._picture = picture
        self._defaults = defaults
        self._speech = speech

    async def check(self, request: bytes, urls: Any) -> None:
        """See `IAppAdapter.check`."""
        fields = object_of(request, "this app")
        await urls.check(fields.get(self._picture), self._picture)
        if fields.get("audio_url"):
            await urls.check(fields["audio_url"], "audio_url")
        else:
            _check_text(fields, "text", LONGEST_TEXT)
            _check_text(fields, "pronouncer", LONGEST_NAME)
        if fields.get("logo_url"):
            await urls.check(fields["logo_url"], "logo_url")
        if fields.get("backGroundName") and not _has_url(fields, "backGroundName"):
            _check_text(fields, "backGroundName", LONGEST_NAME)
        for name in ("backGroundName", *self._defaults):  # some are names of files there, or URLs, such as ref_video
            if _has_url(fields, name):
                await urls.check(fields[name], name)

    async def run(self, work: Any) -> WorkerReply:
        """See `IAppAdapter.run`."""
        if work.checkpoint is not None:
            return _short(await self._dialect.run(work, b""))
        fields = object_of(work.request, "this app")
        audio = fields.get("audio_url") or await self._speech.speak(work, fields["text"], fields["pronouncer"])
        further = {name: fields.get(name, value) for name, value in self._defaults.items()}
        body = {**further, self._picture: fields[self._picture], "audio_url": audio}
        return _short(await self._dialect.run(work, json.dumps(body).encode()))

    async def cancel(self, work: Any) -> None:
        """See `IAppAdapter.cancel`."""
        await self._dialect.withdraw(work)

    def status(self, task: Task | None, result: bytes) -> Mapping[str, Any]:
        """STATUS, in the worker's codes: its client knows no other end (wire contract §6)."""
        told: dict[str, Any] = {"result_url": None, "result_code": UNKNOWN, "msg": "no such task"}
        numbers: dict[str, Any] = dict.fromkeys(NUMBERS)
        if task is None:
            return told | numbers
        if task.status is TaskStatus.FINISHED:
            return _finished(WorkerReply(200, (), result))
        if task.status is TaskStatus.QUEUED:
            told |= {"result_code": WAITING, "msg": "waiting"}
        elif task.status is TaskStatus.RUNNING:
            told |= {"result_code": RUNNING, "msg": "running"}
        else:
            reason = task.outcome.reason if task.outcome is not None else _UNSERVED.get(task.status)
            told |= {"result_code": FAILED, "msg": reason or str(task.status)}
        return told | numbers


def talking_head(
    options: Mapping[str, Any], name: str, path: str, picture: str, defaults: Mapping[str, Any]
) -> TalkingHead:
    """One of them.

    :param name: of the worker, in records' reasons.
    :param path: where it takes and tells jobs.
    :raises ConfigError: an option is wrong.
    """
    interval = read.duration(options, "interval", "2s", 3600.0)
    ids = ("task_id", "taskId", "taskID")
    dialect = QueueDialect(
        name,
        Submit("POST", path, ids, frozenset({DONE})),
        Poll("GET", path, "taskID", "", interval),
        frozenset({DONE}),
        frozenset({WAITING, RUNNING}),
        url="result_url",
    )
    further = {**defaults, **settings.mapping(options, "defaults")}
    return TalkingHead(dialect, picture, further, speech_of(options), read.duration(options, "deadline", "30m"))


def _finished(reply: WorkerReply) -> dict[str, Any]:
    """STATUS of a task that has finished, out of its worker's last reply; without a URL it is none of this app."""
    said = reply.object()
    url, words = url_in(said, "result_url"), said.get("msg")
    code, msg = DONE, words if isinstance(words, str) and words else "success"
    if url is None:
        code, msg = FAILED, "the task has finished, and has no result_url: it is none of this app"
    told = {"result_url": url, "result_code": code, "msg": msg}
    return told | {name: _plain(said.get(name)) for name in NUMBERS}


def _short(reply: WorkerReply) -> WorkerReply:
    """A last reply as it is, or without what STATUS does not have, since `TalkingHead.status` gets no large one."""
    if len(reply.body) <= CHUNK:
        return reply
    told = _finished(reply)
    cut = {name: value[:LONGEST_SAID] for name, value in told.items() if isinstance(value, str)}
    return WorkerReply(200, JSON, json.dumps({**told, **cut, "result_url": told["result_url"]}).encode())


def _plain(value: Any) -> str | int | float | None:
    """A number or text of the worker; STATUS has nothing else."""
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _has_url(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    return isinstance(value, str) and "://" in value


def _check_text(fields: Mapping[str, Any], name: str, longest: int) -> None:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadRequest(f"{name} must be a text that is not empty")
    if len(value) > longest:
        raise BadRequest(f"{name} is longer than {longest} characters")
