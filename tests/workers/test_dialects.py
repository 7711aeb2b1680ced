"""The dialects as an adapter's author tries them: with a conversation in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from zope.interface.verify import verifyObject

from ngpu.adapter import IAppAdapter, IConversation, WorkerReply
from ngpu.dialects.queue import Cancel, Poll, QueueDialect, Submit
from ngpu.discovery import discover
from ngpu.errors import BadRequest, CallCut, DialFailed, JobFailed
from ngpu.interfaces import PluginContext
from ngpu.testing.conversation import AdapterCall, FakeConversation

DIALECT = QueueDialect(
    "worker",
    Submit("POST", "", ("task_id",), frozenset({100})),
    Poll("GET", "/poll", "taskID", "", 2.0),
    frozenset({100}),
    frozenset({101, 102}),
    cancel=Cancel("POST", "/cancel/{id}"),
)


def worker(*polls: Any) -> Callable[[AdapterCall], Any]:
    """Takes a job, and tells these one after another."""
    told = iter(polls)
    return lambda call: {"task_id": "a b/c", "result_code": 100} if call.method == "POST" else next(told)


def test_the_fake_is_a_conversation() -> None:
    assert verifyObject(IConversation, FakeConversation(b"", lambda call: {}))


def test_every_adapter_is_one() -> None:
    plugins = discover([])
    options: dict[str, Any] = {
        "queue_worker": {"poll": {"path": "x"}},
        "sad_talker": {"tts": {"workspace": "w"}},
        "video_retalker": {"tts": {"workspace": "w"}},
    }
    names = plugins.names("adapter")
    assert len(names) >= 5
    for name in names:
        made = plugins.make("adapter", name, options.get(name, {}), PluginContext(None, None, "/"))
        assert verifyObject(IAppAdapter, made)


@pytest_twisted.ensureDeferred
async def test_a_job_is_asked_about_until_it_is_done() -> None:
    last = {"result_code": 100, "result_url": "u"}
    work = FakeConversation({"x": 1}, worker({"result_code": 101}, {"result_code": 102, "msg": "half"}, last))
    reply = await DIALECT.run(work, work.request)
    assert reply.object() == last
    assert [(call.method, call.target) for call in work.calls] == [
        ("POST", "/run"),
        *[("GET", "/poll?taskID=a%20b%2Fc")] * 3,
    ]
    assert work.checkpoint == {"job": "a b/c"} and work.slept == 4.0
    assert work.said == ["worker", "worker: at work", "worker: half"]


@pytest_twisted.ensureDeferred
async def test_a_job_that_a_worker_has_is_not_submitted_again() -> None:
    work = FakeConversation(b"", worker({"result_code": 100}), checkpoint={"job": "7"})
    await DIALECT.run(work, b"")
    assert [call.target for call in work.calls] == ["/poll?taskID=7"]


@pytest_twisted.ensureDeferred
async def test_a_worker_that_is_away_for_a_moment_is_asked_again() -> None:
    away = [DialFailed("refused"), CallCut("cut"), WorkerReply(502, (), b"<html>"), WorkerReply(503), WorkerReply(429)]
    work = FakeConversation(b"", worker(*away, {"result_code": 100}))
    assert (await DIALECT.run(work, b"{}")).status == 200


@pytest_twisted.ensureDeferred
async def test_a_worker_that_stays_away_is_given_up() -> None:
    work = FakeConversation(b"", worker(*itertools.repeat(DialFailed("refused"), 100)))
    with pytest.raises(DialFailed, match=r"^worker: refused"):
        await DIALECT.run(work, b"{}")
    assert 60 < work.slept < 70


@pytest.mark.parametrize("code", [103, 104, 200, 201, 202, 203, -1, "100", True, 100.5, [100], None])
@pytest_twisted.ensureDeferred
async def test_every_other_code_is_a_failure(code: Any) -> None:
    work = FakeConversation(b"", worker({"result_code": code, "msg": "why"}))
    with pytest.raises(JobFailed, match=r"^worker: .*why"):
        await DIALECT.run(work, b"{}")


@pytest_twisted.ensureDeferred
async def test_what_a_worker_says_is_kept_short() -> None:
    work = FakeConversation(b"", lambda call: WorkerReply(500, (), b"x" * 1_000_000))
    with pytest.raises(JobFailed) as caught:
        await DIALECT.run(work, b"{}")
    assert len(str(caught.value)) < 400


@pytest_twisted.ensureDeferred
async def test_taking_back_names_the_job() -> None:
    work = FakeConversation(b"", lambda call: {}, checkpoint={"job": "../x"})
    await DIALECT.withdraw(work)
    assert [call.target for call in work.calls] == ["/cancel/..%2Fx"]
    unknown = FakeConversation(b"", lambda call: {})
    await DIALECT.withdraw(unknown)
    assert unknown.calls == []


@pytest_twisted.ensureDeferred
async def test_a_request_that_is_no_object_is_refused_where_fields_are_needed() -> None:
    adapter = discover([]).make(
        "adapter", "queue_worker", {"poll": {"path": "x"}, "urls": ["u"]}, PluginContext(None, None, "/")
    )
    for odd in (b"", b"[]", b"x", b"\xff", b"[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(BadRequest):
            await adapter.check(odd, None)
