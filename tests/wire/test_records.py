"""Records and replies as the partner document spells them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from gateway_rig import done
from task_stores import sample

from ngpu import errors
from ngpu.listing import TaskPage
from ngpu.model import BytesBody, DataForm, Outcome, Placement, Task, TaskStatus
from ngpu.wire.codes import status_of
from ngpu.wire.replies import node_list, record, short_record, task_ids, task_list, task_reply, worker_refusal
from ngpu.wire.stream import render

ZONE = ZoneInfo("Asia/Shanghai")
FIELDS: dict[str, type] = {
    **dict.fromkeys(("userkey", "btcaddress", "workspaceid", "taskid", "requrl", "method", "userip", "nodeip"), str),
    **dict.fromkeys(("nodeaddr", "requesttime", "responsetime", "request", "response"), str),
    **dict.fromkeys(("watermarktime", "watermarkres"), str),
    **dict.fromkeys(("id", "state", "recordDursion", "videodursion", "gpudursion"), int),
}
"""Every field of the sample of getDetailed."""


async def _text(document: Any) -> bytes:
    return b"".join([piece async for piece in render(document)])


def read(document: Any) -> Any:
    return json.loads(done(_text(document)))


def ended(status: TaskStatus = TaskStatus.FINISHED, form: DataForm = DataForm.OBJECT, **outcome: Any) -> Task:
    given = {"code": 200, "worker_status": 200, "json": True, **outcome}
    return sample(
        "20240415_14_30_09_891041",
        status=status,
        form=form,
        number=2687,
        started_at=1000.5,
        ended_at=1003.2,
        placement=Placement("r", "0xCac1", "10.0.0.1"),
        outcome=Outcome(status, **given),
    )


GOOD = (TaskStatus.QUEUED, TaskStatus.RUNNING, TaskStatus.FINISHED)


@pytest.mark.parametrize("status", list(TaskStatus))
@pytest.mark.parametrize("form", list(DataForm))
def test_a_reply_about_a_task_has_what_clients_read(status: TaskStatus, form: DataForm) -> None:
    if status is TaskStatus.FINISHED:
        task = ended(status, form)
    elif status is TaskStatus.FAILED:
        task = ended(status, form, code=502, reason="why")
    else:
        task = sample("id", status=status, form=form, ended_at=1010.0 if status.ended else None)
    reply = read(task_reply(task, BytesBody(b'{"a":1}')))
    assert type(reply["result_code"]) is int and type(reply["msg"]) is str
    assert reply["taskID"] == reply["taskId"] == reply["task_id"] == task.id
    assert reply["status"] == status.value
    assert type(reply["result_size"]) is int and (reply["result_size"] >= 1) == status.ended
    assert (reply["result_code"] == 200) == (status in GOOD)
    assert type(reply["data"]) is (dict if form is DataForm.OBJECT else str)
    assert not status.ended or type(reply["task_dursion"]) is int
    if status not in GOOD:
        told = reply["data"] if form is DataForm.OBJECT else json.loads(reply["data"])
        assert told["result_code"] > 102 and told["msg"] == reply["msg"] != ""


@pytest.mark.parametrize(
    ("form", "outcome", "body", "data", "encoding"),
    [
        (DataForm.OBJECT, {}, b'{"a": 1.0}', {"a": 1.0}, None),
        (DataForm.OBJECT, {"json": False}, b"plain", "plain", None),
        (DataForm.STRING, {}, b'{"a":1}', '{"a":1}', None),
        (DataForm.RAW, {}, b'{"a":1}', '{"a":1}', None),
        (DataForm.RAW, {"text": False}, b"\xff\x00", "/wA=", "base64"),
        (DataForm.STRING, {"text": False}, b"\xff\x00", "/wA=", "base64"),
        (DataForm.OBJECT, {"text": False, "json": False}, b"\xff\x00", "/wA=", "base64"),
        (DataForm.STRING, {}, b"", "", None),
    ],
)
def test_data_comes_back_as_it_went(form: DataForm, outcome: Any, body: bytes, data: Any, encoding: Any) -> None:
    reply = read(task_reply(ended(form=form, **outcome), BytesBody(body)))
    assert reply["data"] == data and reply.get("data_encoding") == encoding
    assert reply["result_size"] == 1 and reply["task_dursion"] == 3


def test_a_workers_refusal_is_passed_on_with_its_words() -> None:
    task = ended(TaskStatus.FAILED, code=422, worker_status=422, reason="the worker answered HTTP 422")
    reply = read(worker_refusal(task, BytesBody(b'{"detail":[]}')))
    assert reply["result_code"] == 422 and reply["data"] == {"detail": []} and reply["taskID"] == task.id


@pytest.mark.parametrize("short", [False, True])
def test_a_record_has_every_field_of_the_sample(short: bool) -> None:
    task = replace(ended(), btc_address="bc1", user_key="key-1", client_ip="192.0.2.1", request_url="/user/x?y")
    request, result = BytesBody(b'{"q":1}'), BytesBody(b'{"r":1}')
    fields = dict(FIELDS)
    if short:
        shown = read(short_record(task, request, result, ZONE, "sd-webui"))
        del fields["id"]
        assert "id" not in shown and shown["servername"] == "sd-webui"
    else:
        shown = read(record(task, request, result, ZONE))
    assert {name: type(shown[name]) for name in fields} == fields
    assert shown["request"] == '{"q":1}' and shown["response"] == '{"r":1}'
    assert (shown["requesttime"], shown["responsetime"]) == ("1970-01-01 08:16:40", "1970-01-01 08:16:43")
    assert (shown["recordDursion"], shown["gpudursion"], shown["state"]) == (3, 3, 3)
    assert (shown["nodeip"], shown["nodeaddr"]) == ("10.0.0.1", "0xCac1")


@pytest.mark.parametrize("status", list(TaskStatus))
def test_states_are_the_documents_numbers(status: TaskStatus) -> None:
    shown = read(record(sample(status=status), BytesBody(), None, ZONE))
    numbers = {"queued": 1, "running": 2, "finished": 3, "failed": -1, "expired": -1, "cancelled": 5}
    assert shown["state"] == numbers[status.value]
    assert shown["response"] == "" and shown["responsetime"] == ""


def test_bodies_that_are_no_text_stand_in_base64() -> None:
    task = replace(ended(text=False, json=False), request_text=False)
    shown = read(record(task, BytesBody(b"\xff"), BytesBody(b"\xfe"), ZONE))
    assert (shown["request"], shown["response"]) == ("/w==", "/g==")


def test_lists_are_counted_and_paged() -> None:
    page = {"result_code": 200, "msg": "success", "result_size": 2, "taskIds": ["a", "b"]}
    assert task_list(TaskPage(("a", "b"))) == page
    assert task_list(TaskPage(("a",), "next"))["next_cursor"] == "next"
    nodes = [{"nodeAddr": "0x1", "progress": 100, "status": 1}]
    assert node_list(nodes) == {"result_code": 200, "msg": "success", "result_size": 1, "nodes": nodes}
    assert task_ids("x") == {"taskID": "x", "taskId": "x", "task_id": "x"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BadRequest("x"), 400),
        (errors.Unauthorized("x"), 401),
        (errors.Forbidden("x"), 403),
        (errors.NotFound("x"), 404),
        (errors.MethodNotAllowed("x", ()), 405),
        (errors.RequestTimeout("x"), 408),
        (errors.Conflict("x"), 409),
        (errors.PayloadTooLarge("x"), 413),
        (errors.QueueFull("x", 1), 429),
        (errors.ResultTooLarge("x"), 502),
        (errors.DialFailed("x"), 502),
        (errors.CallCut("x"), 502),
        (errors.BadReply("x"), 502),
        (errors.CallTimeout("x"), 504),
        (errors.NoReplica("x"), 503),
        (errors.CheckerUnavailable("x"), 503),
        (errors.StoreUnavailable("x"), 503),
        (ZeroDivisionError(), 500),
    ],
)
def test_each_error_has_its_status(error: BaseException, status: int) -> None:
    assert status_of(error) == status
