"""Stand-ins of the workers with a queue of their own: SadTalker, video-retalking, rembg, facefusion, ollama."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from stand_in import Answer, Line, StandIn, missing

IDLE_POLL = 0.05
"""Seconds after which an idle worker looks for a job again; the real ones look every five."""

NUMBERS = ("api_time_consume", "api_time_left", "video_w", "video_h", "gpu_type", "gpu_time_estimate", "gpu_time_use")


@dataclass
class Job:
    id: str
    body: dict[str, Any]
    code: int = 101
    msg: str = "The task is waiting in the queue"
    url: str | None = None
    said: dict[str, Any] = field(default_factory=dict)


class QueueWorker(StandIn):
    """One job at a time, off a queue that it looks at when idle.

    :param path: where jobs are taken, and asked about.
    :param needed: fields that must be there; they are URLs, which it fetches.
    :ivar takes: seconds that a job takes, also one that has begun; ``fail``: what the next job dies of.
    :ivar forgetful: says that a job is done and not where its result is; ``ids``: gives this as the id of each job.
    """

    pending, running, done, failed = 101, 101, 100, 104
    file_type = "video/mp4"

    def __init__(self, path: str, needed: tuple[str, ...], takes: float = 0.1) -> None:
        super().__init__()
        self.path = path
        self.needed = needed
        self.takes = takes
        self.fail = ""
        self.forgetful = False
        self.ids = ""
        self.jobs: dict[str, Job] = {}
        self.fetched: list[bytes] = []
        self.most_at_once = 0
        self._at_once = 0
        self._alive = threading.Event()

    def start(self) -> Self:
        super().start()
        self._alive = alive = threading.Event()
        threading.Thread(target=self._work, args=(alive,), daemon=True).start()
        return self

    def stop(self) -> None:
        self._alive.set()
        super().stop()

    def restart(self) -> None:
        """What it was doing has failed; what waited still does."""
        self.stop()
        for job in self.jobs.values():
            if job.said.get("begun") and job.code == self.running:
                job.code, job.msg = self.failed, "The task failed"
        self.start()

    def answer(self, line: Line) -> Answer:
        if line.path != self.path:
            return Answer({"detail": "Not Found"}, 404)
        return self.take(line) if line.method == "POST" else self.status(line.query.get("taskID", ""))

    def take(self, line: Line) -> Answer:
        absent = [name for name in self.needed if not isinstance(line.body, dict) or name not in line.body]
        if absent:
            return missing(*absent)
        if not all(line.body[name] for name in self.needed):
            return Answer({"task_id": "", "result_code": 200, "msg": "The parameters are wrong"})
        job = Job(self.ids or str(uuid.uuid4()), line.body)
        self.jobs[job.id] = job
        return Answer({"task_id": job.id, "result_code": 100, "msg": "SUCCESS! The task is in the queue"})

    def status(self, job_id: str) -> Answer:
        job = self.jobs.get(job_id)
        numbers: dict[str, Any] = dict.fromkeys(NUMBERS)
        if job is None:
            return Answer({"result_url": None, "result_code": 200, "msg": "The task does not exist", **numbers})
        if job.code == self.done:
            numbers |= {"api_time_consume": 3, "video_w": 512, "video_h": 512, "gpu_type": "RTX 3090"}
        numbers["gpu_time_use"] = 0
        return Answer(
            {"result_url": "" if self.forgetful else job.url or "", "result_code": job.code, "msg": job.msg, **numbers}
        )

    def _work(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            job = next((job for job in tuple(self.jobs.values()) if job.code == self.pending), None)
            if job is None or job.said.get("begun"):
                time.sleep(IDLE_POLL)
                continue
            job.said["begun"] = True
            job.code = self.running
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self._do(job, stopped)
            self._at_once -= 1

    def _do(self, job: Job, stopped: threading.Event) -> None:
        try:
            for name in self.needed:
                with urllib.request.urlopen(job.body[name], timeout=5) as reply:
                    self.fetched.append(reply.read())
        except (urllib.error.URLError, ValueError) as error:
            job.code, job.msg = 202, f"The media URL cannot be used: {error}"
            return
        began = time.monotonic()
        while time.monotonic() < began + self.takes:
            if stopped.is_set():
                return
            time.sleep(0.01)
        if self.fail:
            job.code, job.msg, self.fail = self.failed, self.fail, ""
            return
        job.url = self.keep(f"{job.id}.out", b"result of " + job.id.encode(), self.file_type)
        job.code, job.msg = self.done, "SUCCESS"


def sad_talker(takes: float = 0.1) -> QueueWorker:
    """Needs both URLs, and never says 102."""
    return QueueWorker("/sadTalker", ("image_url", "audio_url"), takes)


def video_retalking(takes: float = 0.1) -> QueueWorker:
    worker = QueueWorker("/videoRetalking", ("video_url", "audio_url"), takes)
    worker.running = 102
    return worker


def rembg(takes: float = 0.1) -> QueueWorker:
    worker = QueueWorker("/removeBG", ("url",), takes)
    worker.running = 102
    worker.file_type = "image/png"
    return worker


class FaceFusion(QueueWorker):
    """Its own codes: submission 0; a poll tells 0 pending, 1 success, negative failed."""

    pending, running, done, failed = 0, 0, 1, -1

    def __init__(self) -> None:
        super().__init__("/start", ())

    def answer(self, line: Line) -> Answer:
        if (line.method, line.path) == ("POST", "/get"):
            return self.status(str(line.body.get("taskId", "")))
        return super().answer(line)

    def take(self, line: Line) -> Answer:
        if not isinstance(line.body, dict) or "fun" not in line.body:
            return missing("fun")
        reply: dict[str, Any] = super().take(line).document
        job = self.jobs[reply["task_id"]]
        job.code = 0
        return Answer({"taskId": job.id, "code": 0, "msg": "ok"})

    def status(self, job_id: str) -> Answer:
        job = self.jobs.get(job_id)
        if job is None:
            return Answer({"code": -2, "msg": "no such task"})
        return Answer({"code": job.code, "msg": job.msg, "data": {"url": job.url}})


class Ollama(QueueWorker):
    """Text: ``POST /startSync``, or ``POST /start`` and ``POST /get``."""

    running = 102

    def __init__(self) -> None:
        super().__init__("/start", ())

    def answer(self, line: Line) -> Answer:
        if not isinstance(line.body, dict):
            return missing("body")
        if line.path == "/get":
            job = self.jobs.get(str(line.body.get("taskId")))
            if job is None:
                return Answer({"data": None, "result_code": 200, "msg": "no such task"})
            data = f"You said: {job.body['prompt']}" if job.code == self.done else None
            return Answer({"data": data, "result_code": job.code, "msg": job.msg})
        if "prompt" not in line.body:
            return missing("prompt")
        if line.path == "/startSync":
            return Answer({"data": f"You said: {line.body['prompt']}", "result_code": 100, "msg": "SUCCESS"})
        return super().answer(line)


Make = Callable[[], QueueWorker]
