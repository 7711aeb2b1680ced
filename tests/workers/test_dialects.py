"""The dialects as an adapter's author tries them: with a conversation in memory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from zope.interface.verify import verifyObject

from ngpu.adapter import IAppAdapter, IConversation, WorkerReply
from ngpu.changing import changed
from ngpu.dialects.queue import Cancel, Poll, QueueDialect, Submit, object_of
from ngpu.dialects.speech import Speech
from ngpu.discovery import discover
from ngpu.errors import BadRequest, CallCut, DialFailed, JobFailed
from ngpu.interfaces import PluginContext
from ngpu.model import CHUNK, Outcome, TaskStatus
from ngpu.tasks.lifecycle import ended as finished
from ngpu.testing.conversation import AdapterCall, FakeConversation

DIALECT = QueueDialect(
    "worker",
    Submit("POST", "", ("task_id",), frozenset({100})),
    Poll("GET", "/poll", "taskID", "", 2.0),
    frozenset({100}),
    frozenset({101, 102}),
    cancel=Cancel("POST", "/cancel/{id}"),
)

PAIRS = ((b"[", b"]"), (b'{"a":', b"}"))


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


@pytest.mark.parametrize("job", ["\ud800", "a\udfffb", "x" * 501, 10**501])
@pytest_twisted.ensureDeferred
async def test_an_id_that_cannot_be_asked_for_is_the_workers_failure(job: Any) -> None:
    """JSON may hold half of a surrogate pair; no URL and no store can."""
    work = FakeConversation(b"", lambda call: {"task_id": job, "result_code": 100})
    with pytest.raises(JobFailed, match=r"^worker: gave a task id that cannot be asked for"):
        await DIALECT.run(work, b"{}")
    assert work.checkpoint is None and len(work.calls) == 1


USELESS: tuple[Any, ...] = (
    None,
    "",
    7,
    ["http://h/x"],
    "x.mp4",
    "ftp://h/x",
    "http://",
    "http://h/\ud800",
    "http://h/a b",
)


@pytest.mark.parametrize("url", USELESS)
@pytest_twisted.ensureDeferred
async def test_done_without_a_result_is_the_workers_failure(url: Any) -> None:
    last = {"result_code": 100, "result_url": url, "msg": "fine"}
    work = FakeConversation(b"", worker({"result_code": 101}, last))
    with pytest.raises(JobFailed, match=r"^worker: says that the job is done, and gives no result_url: code 100: fine"):
        await replace(DIALECT, url="result_url").run(work, b"{}")


@pytest_twisted.ensureDeferred
async def test_done_without_the_field_that_is_the_result_is_the_workers_failure() -> None:
    work = FakeConversation(b"", worker({"result_code": 100, "data": {"text": None}}))
    with pytest.raises(JobFailed, match=r"^worker: says that the job is done, and gives no data.text"):
        await replace(DIALECT, result="data.text").run(work, b"{}")
    work = FakeConversation(b"", worker({"result_code": 100, "data": {"text": ""}}))
    assert (await replace(DIALECT, result="data.text").run(work, b"{}")).body == b"", "empty is something"


@pytest.mark.parametrize("url", USELESS)
@pytest_twisted.ensureDeferred
async def test_speech_without_a_url_is_the_speakers_failure(url: Any) -> None:
    work = FakeConversation(b"", lambda call: {"result_code": 100, "result_url": url, "msg": "fine"})
    with pytest.raises(JobFailed, match=r"^text to speech: code 100: fine"):
        await Speech("tts", None, "edge_tts").speak(work, "hello", "Guy")


@pytest.mark.parametrize(
    "body",
    [
        *(opening * depth + b"1" + closing * depth for opening, closing in PAIRS for depth in (201, 900, 100_000)),
        b'{"task_id": ' + b"[" * 300 + b"]" * 300 + b"}",
        b"[" + b'{"a":' * 250 + b"1" + b"}" * 250 + b"]",
    ],
    ids=len,
)
def test_what_a_worker_nests_too_deep_is_no_object(body: bytes) -> None:
    """What could just be read here could be too deep where it is written again."""
    assert WorkerReply(200, (), body).object() == {}
    with pytest.raises(BadRequest, match="nested no more than 200 deep"):
        object_of(body, "this app")


def test_what_json_does_not_have_reads_as_nothing_from_a_worker_and_is_refused_from_a_customer() -> None:
    body = (
        b'{"left": NaN, "most": [Infinity, -Infinity, 1e999, -1e999], "use": 0.5, "deep": '
        + b"[" * 190
        + b"]" * 190
        + b"}"
    )
    read = WorkerReply(200, (), body).object()
    assert (read["left"], read["most"], read["use"]) == (None, [None] * 4, 0.5)
    for odd in (b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": [1e999]}'):
        with pytest.raises(BadRequest):
            object_of(odd, "this app")


def test_status_holds_nothing_but_texts_and_numbers_whatever_the_worker_said() -> None:
    adapter = discover([]).make("adapter", "sad_talker", {"tts": {"workspace": "w"}}, PluginContext(None, None, "/"))
    task = finished(FakeConversation(b"", lambda call: {}).task, Outcome(TaskStatus.FINISHED, worker_status=200), 1.0)
    said = {"result_url": "http://h/x", "msg": {"a": 1}, "video_w": [[[]]], "video_h": 512, "gpu_type": "T4"}
    told = adapter.status(task, json.dumps(said).encode())
    assert (told["result_url"], told["msg"], told["video_w"], told["video_h"]) == ("http://h/x", "success", None, 512)
    for useless in (["x"], None, "x.mp4"):
        told = adapter.status(task, json.dumps({**said, "result_url": useless}).encode())
        assert (told["result_url"], told["result_code"]) == (None, 104), "no success without a URL to fetch"
    assert adapter.status(task, b"[" * 100_000)["result_url"] is None
    assert adapter.status(task, b'{"video_h": true}')["video_h"] is None, "no number"


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_talkative_worker_is_told_to_its_client() -> None:
    """STATUS is read at each poll, so what is kept of it is short; its URL must not be lost over that."""
    adapter = discover([]).make("adapter", "sad_talker", {"tts": {"workspace": "w"}}, PluginContext(None, None, "/"))
    last = {"result_url": "http://h/x", "result_code": 100, "msg": "x" * CHUNK, "video_w": 512, "log": ["y"] * CHUNK}
    work = FakeConversation(b"", worker({"result_code": 101}, last), checkpoint={"job": "7"})
    reply = await adapter.run(work)
    assert len(reply.body) <= CHUNK, "more is not given to status"
    task = finished(work.task, Outcome(TaskStatus.FINISHED, worker_status=200), 1.0)
    told = adapter.status(task, reply.body)
    assert (told["result_url"], told["result_code"], told["video_w"]) == ("http://h/x", 100, 512)
    assert told["msg"].startswith("xxx")


@pytest_twisted.ensureDeferred
async def test_a_url_that_nobody_can_ask_for_is_no_result() -> None:
    last = {"result_code": 100, "result_url": "http://h/" + "x" * CHUNK, "msg": "fine"}
    with pytest.raises(JobFailed, match="gives no result_url"):
        await replace(DIALECT, url="result_url").run(FakeConversation(b"", worker(last)), b"{}")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (WorkerReply(500, (), b"boom"), "HTTP 500"),
        (WorkerReply(200, (), b"<html>"), "HTTP 200"),
        (WorkerReply(404, (), b'{"detail": "Not Found"}'), "HTTP 404: Not Found"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest_twisted.ensureDeferred
async def test_a_worker_that_tells_no_voices_is_not_said_to_lack_one(reply: WorkerReply, said: str) -> None:
    work = FakeConversation(b"", lambda call: reply)
    with pytest.raises(JobFailed, match=rf"^text to speech: .*ttsVoices.*{said}"):
        await Speech("tts", None, "edge_tts").speak(work, "hello", "en-US-GuyNeural")


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (b"application/json", b'{"error": {"message": "no model"}}', "no model"),
        (
            b"application/json; charset=utf-8",
            b'{"result_code": 203, "msg": "out of memory"}',
            "code 203: out of memory",
        ),
        (b"Text/HTML", b"<html>", "HTTP 200"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_sound_is_not_handed_on_as_speech(kind: bytes, body: bytes, said: str) -> None:
    """Most errors of the workers of this ecosystem are HTTP 200 with a code inside (wire contract §5)."""
    work = FakeConversation(b"", lambda call: WorkerReply(200, ((b"Content-Type", kind),), body))
    with pytest.raises(JobFailed, match=rf"^text to speech: .*{said}"):
        await Speech("tts", None, "openai_speech", deliver="data_uri").speak(work, "hello", "fable")


@pytest.mark.parametrize("kind", [b"audio/mpeg", b"application/octet-stream", b"", b"text/html; charset=utf-8"])
@pytest_twisted.ensureDeferred
async def test_sound_of_any_name_is_speech(kind: bytes) -> None:
    """A worker on Flask that returns bytes and says no more calls them a page."""
    headers = ((b"Content-Type", kind),) if kind else ()
    work = FakeConversation(b"", lambda call: WorkerReply(200, headers, b"ID3\xff\xfb"))
    url = await Speech("tts", None, "openai_speech", deliver="data_uri").speak(work, "hello", "fable")
    assert url == "data:audio/mpeg;base64,SUQz//s="


@pytest.mark.parametrize("status", [404, 405])
@pytest_twisted.ensureDeferred
async def test_a_cog_of_the_time_before_put_is_asked_as_the_contract_says(status: int) -> None:
    """``POST /predictions`` (wire contract §5) is what each version of cog has."""

    def old(call: AdapterCall) -> Any:
        if (call.method, call.target) != ("POST", "/predictions"):
            return WorkerReply(status, (), b'{"detail": "Not Found"}')
        return {"status": "succeeded", "output": json.loads(call.body)["input"]["text"].upper()}

    adapter = discover([]).make("adapter", "cog", {"result": "output"}, PluginContext(None, None, "/"))
    work = FakeConversation({"text": "hello"}, old)
    assert (await adapter.run(work)).body == b'"HELLO"'
    work = FakeConversation(b"{}", lambda call: WorkerReply(404, (), b'{"detail": "Not Found"}'))
    with pytest.raises(JobFailed, match=r"^cog: HTTP 404: Not Found"):
        await adapter.run(work)
    assert len(work.calls) == 2


@pytest_twisted.ensureDeferred
async def test_what_no_cog_says_is_shown_as_it_is() -> None:
    adapter = discover([]).make("adapter", "cog", {}, PluginContext(None, None, "/"))
    with pytest.raises(JobFailed, match=r"^cog: HTTP 200: <html>"):
        await adapter.run(FakeConversation(b"{}", lambda call: WorkerReply(200, (), b"<html>")))


MANY = [b"1,", b"{},", b'"a,",', b"[],"]


@pytest.mark.parametrize("value", MANY, ids=["numbers", "objects", "strings", "lists"])
@pytest_twisted.ensureDeferred
async def test_what_takes_seconds_to_read_is_not_read(value: bytes) -> None:
    """A worker's reply of 60 MB, or a customer's string of 15, held the whole gateway up for as long."""
    body = b'{"result_code": 100, "task_id": "1", "x": [' + value * 1_000_000 + b"1]}"
    with pytest.raises(JobFailed, match=r"^worker: answered with more than 1000000 JSON values"):
        await DIALECT.run(FakeConversation(b"", lambda call: WorkerReply(200, (), body)), b"{}")
    with pytest.raises(BadRequest, match="at most 1000000 values"):
        object_of(body, "this app")


def test_a_large_text_is_one_value() -> None:
    text = ',[{\\"' * 400_000
    assert object_of(b'{"text": "' + text.encode() + b'"}', "this app") == {"text": text.replace('\\"', '"')}
    assert len(WorkerReply(200, (), b'{"x": [' + b"1," * 900_000 + b"1]}").object()["x"]) == 900_001


@pytest.mark.parametrize(
    ("rename", "sent", "expected"),
    [
        ({"image": "mask", "url": "image"}, {"image": 1, "mask": 2}, {"image": 2, "url": 1}),
        ({"url": "image", "image": "mask"}, {"image": 1, "mask": 2}, {"image": 2, "url": 1}),
        ({"a": "b", "b": "a"}, {"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ({"a": "x", "b": "x"}, {"x": 1, "y": 2}, {"a": 1, "b": 1, "y": 2}),
        ({"a": "x"}, {"a": 1, "x": 2}, {"a": 2}),
        ({"a": "a"}, {"a": 1}, {"a": 1}),
    ],
    ids=str,
)
@pytest_twisted.ensureDeferred
async def test_names_are_changed_all_at_once(
    rename: dict[str, str], sent: dict[str, int], expected: dict[str, int]
) -> None:
    options = {"poll": {"path": "x"}, "rename": rename}
    adapter = discover([]).make("adapter", "queue_worker", options, PluginContext(None, None, "/"))
    work = FakeConversation(sent, worker({"result_code": 100}))
    await adapter.run(work)
    assert work.calls[0].json == expected


@pytest.mark.parametrize(
    ("status", "said"), [(TaskStatus.EXPIRED, "longer than its ttl"), (TaskStatus.CANCELLED, "was cancelled")]
)
def test_status_says_why_no_worker_took_a_task(status: TaskStatus, said: str) -> None:
    adapter = discover([]).make("adapter", "sad_talker", {"tts": {"workspace": "w"}}, PluginContext(None, None, "/"))
    task = changed(FakeConversation(b"", lambda call: {}).task, status=status)
    told = adapter.status(task, b"")
    assert told["result_code"] == 104 and said in told["msg"]
