"""The demo worker's HTTP side on twisted.web."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, DeferredSemaphore, ensureDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from ngpu.demo.img2img import Job, Rejected, parse, work
from ngpu.demo.journal import Journal

log = Logger()

Say = Callable[[str], None]


class Worker:
    """Does the jobs, ``slots`` at once, in threads of its own; the others wait.

    :param delay: seconds that a job takes before it is worked on, unless it says so itself.
    :param say: gets one line a call.
    """

    def __init__(self, reactor: Any, slots: int, delay: float, say: Say, journal: Journal | None = None) -> None:
        self._reactor = reactor
        self._delay = delay
        self._say = say
        self._journal = journal
        self._free = DeferredSemaphore(slots)
        self._threads = ThreadPool(minthreads=0, maxthreads=slots, name="demo")
        self.calls = 0
        self.done = 0

    def start(self) -> None:
        """Start the threads."""
        self._threads.start()

    def stop(self) -> None:
        """Wait for the threads, then end them."""
        self._threads.stop()

    async def img2img(self, content_type: str, body: bytes, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """One call: HTTP status and JSON. Cancelling gives its slot back."""
        began = time.monotonic()
        marker, what, status = query.get("marker", "")[:200], "?", 500
        self.calls += 1
        try:
            try:
                job = parse(content_type, body, query)
            except Rejected as error:
                self._note("start", marker)
                status, reply = rejected(error)
            else:
                marker, what = job.marker, json.dumps(job.prompt[:60])
                self._note("start", marker)
                status, reply = await self._in_slot(job.delay if job.delay is not None else self._delay, job)
        except CancelledError:
            self._note("cut", marker)
            self._say(f"img2img {what} -> the caller has gone after {time.monotonic() - began:.2f} s")
            raise
        except Exception:
            log.failure("img2img failed")
            reply = {"detail": "Internal Server Error"}
        finally:
            self.calls -= 1
        self.done += 1
        self._note("end", marker, status)
        self._say(f"img2img {what} -> {status} in {time.monotonic() - began:.2f} s")
        return status, reply

    async def _in_slot(self, delay: float, job: Job) -> tuple[int, dict[str, Any]]:
        await self._free.acquire()
        try:
            if delay > 0:
                await deferLater(self._reactor, delay)
            return 200, await deferToThreadPool(self._reactor, self._threads, work, job)
        except Rejected as error:
            return rejected(error)
        finally:
            self._free.release()

    def _note(self, event: str, marker: str, status: int | None = None) -> None:
        if self._journal is not None:
            self._journal.write(event, marker, status)


def rejected(error: Rejected) -> tuple[int, dict[str, Any]]:
    """The reply to a call that could not be understood."""
    return 422, {"detail": error.detail}


class JsonResource(Resource):
    """Answers in JSON, its errors as FastAPI words them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def getChild(self, path: bytes, request: HTTPRequest) -> Resource:
        """Every path that is not there."""
        return NotFound()

    def reply(self, request: Request, status: int, value: Any) -> bytes:
        """The reply's bytes, with its head set."""
        body = json.dumps(value).encode("ascii")
        request.setResponseCode(status)
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"content-length", b"%d" % len(body))
        return body

    def render(self, request: Request) -> Any:
        """Call the method's renderer, where there is one."""
        renderer = getattr(self, "render_" + request.method.decode("latin-1"), None)
        if renderer is None:
            return self.reply(request, 405, {"detail": "Method Not Allowed"})
        return renderer(request)


class NotFound(JsonResource):
    """404, for every method."""

    def render(self, request: Request) -> bytes:
        """Say that there is nothing."""
        return self.reply(request, 404, {"detail": "Not Found"})


class Health(JsonResource):
    """``GET /``: 200 while the process lives, also while it works."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def render_GET(self, request: Request) -> bytes:
        """How it goes."""
        return self.reply(request, 200, {"status": "ok", "calls": self._worker.calls, "done": self._worker.done})


class Img2Img(JsonResource):
    """``POST /sdapi/v1/img2img``."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def render_POST(self, request: Request) -> int:
        """Begin the job; the caller's end of the connection ends it."""
        body = request.content.read() if request.content else b""
        query = {name.decode("latin-1"): values[-1].decode("utf-8", "replace") for name, values in request.args.items()}
        job = ensureDeferred(self._worker.img2img(request.getHeader("content-type") or "", body, query))
        request.notifyFinish().addErrback(lambda _: job.cancel())

        def answer(result: tuple[int, dict[str, Any]]) -> None:
            request.write(self.reply(request, *result))
            request.finish()

        job.addCallback(answer)
        # cancelled: there is nobody left to answer
        job.addErrback(lambda failure: failure.trap(CancelledError) and None)
        return NOT_DONE_YET


class DemoSite(Site):
    """Without twisted.web's access log: the worker says its own line."""

    noisy = False

    def __init__(self, root: Resource) -> None:
        super().__init__(root, parsePOSTFormSubmission=False)  # type: ignore[no-untyped-call]

    def log(self, request: Any) -> None:
        """Say nothing."""


def make_site(worker: Worker) -> Site:
    """The worker's paths."""
    root, sdapi, version = JsonResource(), JsonResource(), JsonResource()
    root.putChild(b"", Health(worker))
    root.putChild(b"sdapi", sdapi)
    sdapi.putChild(b"v1", version)
    version.putChild(b"img2img", Img2Img(worker))
    return DemoSite(root)
