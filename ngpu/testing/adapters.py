"""The contract of app adapters: `ngpu.adapter.IAppAdapter`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ngpu.adapter import WorkerReply
from ngpu.errors import BadRequest, CallCut, CallTimeout, DialFailed, NgpuError, Unavailable
from ngpu.testing.contract import Contract, raised
from ngpu.testing.conversation import AdapterCall, Answer, FakeConversation

MOST_CALLS = 300
"""Calls after which a conversation counts as one that goes on for ever, as far as a test can wait."""

NO_REQUESTS = (b"", b"null", b"[]", b"7", b'"text"', b"{", b'{"a":', b"\xff\xfe", b"[" * 10_000)

FAILURES: Mapping[str, Callable[[], WorkerReply | NgpuError]] = {
    "cannot be reached": lambda: DialFailed("connection refused"),
    "breaks off": lambda: CallCut("connection reset"),
    "takes too long": lambda: CallTimeout("no reply in time"),
    "answers with HTTP 500": lambda: WorkerReply(500, (), b'{"detail": "CUDA out of memory"}'),
    "answers with HTTP 422": lambda: WorkerReply(422, (), b'{"detail": [{"msg": "field required"}]}'),
    "answers with HTML": lambda: WorkerReply(200, (), b"<!doctype html><title>hello</title>"),
    "answers with nothing": lambda: WorkerReply(200),
    "answers with null": lambda: WorkerReply(200, (), b"null"),
    "answers with an empty object": lambda: WorkerReply(200, (), b"{}"),
    "answers with a list": lambda: WorkerReply(200, (), b"[1]"),
    "answers with what is no UTF-8": lambda: WorkerReply(200, (), b"\xff\xfe"),
}


def verify_adapter(contract: Contract, worker: Answer | None, request: bytes) -> None:
    """Try every clause.

    :param worker: what is called, in good health; without it only what needs none is tried.
    """
    adapter = contract.make()
    _requests(contract, request, worker)
    _status(contract, adapter)
    if worker is not None and not adapter.direct:
        _Conversations(contract, worker, request).all()


class _Urls:
    """An `ngpu.adapter.IUrlCheck` that lets every URL through."""

    async def check(self, url: Any, name: str) -> None:
        if not isinstance(url, str):
            raise BadRequest(f"{name} is no URL")


def _requests(contract: Contract, request: bytes, worker: Answer | None) -> None:
    """Whatever a customer sends: BadRequest, or nothing."""
    for data in (*NO_REQUESTS, request):
        result = contract.result(contract.make().check(data, _Urls()), Clock())
        if isinstance(result, Failure) and not result.check(BadRequest):
            contract.broken(f"check may only raise BadRequest, over {data[:40]!r}", result.value)
        if data == request and worker is not None and isinstance(result, Failure):
            contract.broken("check refuses the request of this test", result.value)


def _status(contract: Contract, adapter: Any) -> None:
    """The reply to a poll is an object, or left to the gateway; also for ids that nobody knows."""
    task = FakeConversation(b"{}", lambda call: {}).task
    for about, result in ((None, b""), (task, b""), (task, b"{}"), (task, b"<html>")):
        try:
            told = adapter.status(about, result)
            json.dumps(told)
        except (Exception, SystemExit) as error:
            contract.broken("status must return an object for JSON, or None", error)
        if told is not None and not isinstance(told, Mapping):
            contract.broken(f"status returned {told!r}, and neither an object nor None")


class _Script:
    """A worker in good health until a call of a certain number, from which on it behaves otherwise."""

    def __init__(self, worker: Answer, turn: int = MOST_CALLS, then: Callable[[], Any] | None = None) -> None:
        self._worker = worker
        self._turn = turn
        self._then = then
        self._calls = 0

    def __call__(self, call: AdapterCall) -> WorkerReply | Mapping[str, Any] | NgpuError:
        self._calls += 1
        if self._calls > MOST_CALLS:
            return Unavailable("the test gives up: this could go on for ever")
        if self._then is not None and self._calls > self._turn:
            told: WorkerReply | NgpuError = self._then()
            return told
        return self._worker(call)


class _Recorded(FakeConversation):
    """Keeps what was saved, and how many calls came before the first of it."""

    def __init__(self, request: bytes, answer: Answer, checkpoint: Mapping[str, Any] | None = None) -> None:
        super().__init__(request, answer, checkpoint)
        self.saved: list[Any] = []
        self.before_save: list[AdapterCall] = []

    async def save(self, checkpoint: Mapping[str, Any]) -> None:
        if not self.saved:
            self.before_save = list(self.calls)
        await super().save(checkpoint)
        self.saved.append(self.checkpoint)


class _Conversations:
    def __init__(self, contract: Contract, worker: Answer, request: bytes) -> None:
        self._contract = contract
        self._worker = worker
        self._request = request

    def all(self) -> None:
        """One that goes well, then all that can come between."""
        whole = _Recorded(self._request, _Script(self._worker))
        result = self._run(whole)
        if not isinstance(result, WorkerReply):
            why = result.value if isinstance(result, Failure) else None
            self._contract.broken("with workers in good health run must return a WorkerReply", why)
        for checkpoint in whole.saved:
            self._goes_on(checkpoint, whole)
        for turn in range(min(len(whole.calls), 10)):
            self._fails(turn)
            self._cancelled(turn)

    def _goes_on(self, checkpoint: Any, whole: _Recorded) -> None:
        """After a restart the job that a worker has is gone on with, and none is submitted again."""
        again = _Recorded(self._request, _Script(self._worker), checkpoint)
        result = self._run(again)
        if not isinstance(result, WorkerReply):
            why = result.value if isinstance(result, Failure) else None
            self._contract.broken(f"with the checkpoint {checkpoint!r} run must go on to a WorkerReply", why)
        for call in again.calls:
            if call.method != "GET" and call in whole.before_save:
                told = f"{call.method} {call.target}"
                self._contract.broken(f"with the checkpoint {checkpoint!r} it made a call of before it again: {told}")

    def _fails(self, turn: int) -> None:
        """Whatever a worker does, run ends with a reply or an NgpuError."""
        for what, then in FAILURES.items():
            result = self._run(_Recorded(self._request, _Script(self._worker, turn, then)))
            if not isinstance(result, WorkerReply) and not raised(result, NgpuError):
                self._contract.broken(
                    f"a worker {what} from call {turn + 1} on: run must return a WorkerReply or raise an NgpuError",
                    result.value if isinstance(result, Failure) else None,
                )

    def _cancelled(self, turn: int) -> None:
        """A conversation that is cut off can be told to its worker, at any time."""

        def cut() -> NgpuError:
            raise CancelledError

        work = _Recorded(self._request, _Script(self._worker, turn, cut))
        adapter = self._contract.make()
        result = self._contract.result(adapter.run(work), Clock())
        if isinstance(result, WorkerReply) or not raised(result, CancelledError, NgpuError):
            self._contract.broken(f"cut off in call {turn + 1}, run must end there, with the CancelledError")
        after = FakeConversation(self._request, _Script(self._worker), work.checkpoint)
        told = self._contract.result(adapter.cancel(after), Clock())
        if isinstance(told, Failure) and not told.check(NgpuError):
            self._contract.broken(f"cancel, after a cut in call {turn + 1}, may only raise an NgpuError", told.value)

    def _run(self, work: FakeConversation) -> Any:
        return self._contract.result(self._contract.make().run(work), Clock())
