"""Reading back (wire contract §4): lists, records, nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from api_rig import HOLDER, NODES, Client, Rig, configuration, eventually, key_hash, refused, rig_of, right, workspace
from processes import find_free_port
from scripted_worker import script

ID, MANY, HALF, KEYED = "367614711220405248", "many", "half", "keyed"
ZONE = ZoneInfo("Asia/Shanghai")
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        keyed = workspace(KEYED, ports[0], slots=8, name="the-keyed-one", keys=[key_hash("secret")])
        half = workspace(HALF, ports[0], find_free_port(), slots=8)
        return configuration(
            workspace(ID, *ports, slots=4, selection={"policy": "round_robin"}),
            workspace(MANY, ports[0], slots=8),
            keyed,
            half,
            timezone=str(ZONE),
        )

    with rig_of(tmp_path_factory.mktemp("reading"), 2, make) as one:
        yield one


@pytest.fixture(scope="module")
def many(rig: Rig) -> list[str]:
    """Ids of 250 tasks, in the order of their submission."""
    client = rig.client(MANY)
    return [client.submit(script()) for _ in range(250)]


@pytest.fixture
def client(rig: Rig) -> Client:
    return rig.client(ID)


def today() -> datetime:
    return datetime.now(ZONE)


def date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def test_a_list_counts_and_is_ordered_by_time(rig: Rig, many: list[str]) -> None:
    reply = rig.client(MANY).get("/user/queryTaskList")
    assert reply["result_code"] == 200 and reply["msg"] == "success"
    assert reply["taskIds"] == many
    assert reply["result_size"] == 250
    assert "next_cursor" not in reply


@pytest.mark.parametrize("limit", [1, 99, 100, 249, 250, 251])
def test_pages_hold_every_task_once(rig: Rig, many: list[str], limit: int) -> None:
    client = rig.client(MANY)
    found, more = [], {}
    for _ in range(1 + 250 // limit):
        reply = client.get("/user/queryTaskList", limit=limit, **more)
        assert reply["result_size"] == len(reply["taskIds"]) <= limit
        found += reply["taskIds"]
        if "next_cursor" not in reply:
            break
        more = {"cursor": reply["next_cursor"]}
    assert found == many
    assert "next_cursor" not in reply


@pytest.mark.parametrize("bad", ["limit=0", "limit=-1", "limit=x", "limit=10001", "cursor=x", "cursor=%ff"])
def test_a_wrong_page_is_refused(client: Client, bad: str) -> None:
    refused(client.ask("GET", f"/user/queryTaskList?{bad}"), 400)


def test_a_cursor_opens_no_other_workspace(rig: Rig, many: list[str]) -> None:
    cursor = rig.client(MANY).get("/user/queryTaskList", limit=10)["next_cursor"]
    reply = rig.client(ID).ask("GET", "/user/queryTaskList", params={"cursor": cursor})
    assert reply.status_code == 400 or not set(reply.json()["taskIds"]) & set(many)


def test_dates_narrow_a_list(rig: Rig, many: list[str]) -> None:
    client, now = rig.client(MANY), today()
    day, before, after = date(now), date(now - DAY), date(now + DAY)
    assert client.listed(startTime=before, endTime=after) == many
    assert client.listed(startTime=before) == many
    assert client.listed(endTime=after) == many
    assert client.listed(startTime=after) == []
    assert client.listed(endTime=before) == []
    # over midnight the tasks may be of the day before
    assert client.listed(startTime=before, endTime=day) == many, "an end that is a date covers its whole day"


def test_times_narrow_a_list_to_the_second(rig: Rig) -> None:
    client = rig.client(ID)
    task_id = client.submit(script())
    taken = datetime.strptime(task_id[:17], "%Y%m%d_%H_%M_%S")

    def spelled(seconds: int) -> str:
        return (taken + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")

    assert task_id in client.listed(startTime=spelled(0), endTime=spelled(0))
    assert task_id not in client.listed(startTime=spelled(1))
    assert task_id not in client.listed(endTime=spelled(-1))


def test_without_times_a_list_is_from_1970_to_2099(rig: Rig, many: list[str]) -> None:
    assert rig.client(MANY).listed(startTime="1970-01-01", endTime="2099-01-01") == many


@pytest.mark.parametrize(
    "text", ["yesterday", "2024-13-01", "2024-02-30", "20240411", "1712822400", "2024-04-11 25:00:00"]
)
@pytest.mark.parametrize("call", ["queryTaskList?", "getTasksFromNode?nodeAddr=0x1&", "getTasks?btcaddress=x&"])
def test_what_is_no_time_is_refused(client: Client, call: str, text: str) -> None:
    for name in ("startTime", "endTime"):
        refused(client.ask("GET", f"/user/{call}{name}={text.replace(' ', '%20')}"), 400)


def test_tasks_of_a_node_whatever_the_spelling_of_its_address(client: Client) -> None:
    ids = [client.submit(script()) for _ in range(6)]
    for task_id in ids:
        client.ended(task_id)
    ran = {task_id: client.detailed(task_id)["nodeaddr"] for task_id in ids}
    assert set(ran.values()) == set(NODES[:2])
    for node in NODES[:2]:
        for spelling in (node, node.lower(), node.upper().replace("0X", "0x"), node[2:], node[2:].upper()):
            reply = client.get("/user/getTasksFromNode", nodeAddr=spelling)
            assert [one for one in reply["taskIds"] if one in ran] == [one for one in ids if ran[one] == node]
            assert reply["result_size"] == len(reply["taskIds"])
    day = date(today() + DAY)
    assert client.get("/user/getTasksFromNode", nodeAddr=NODES[0], startTime=day)["taskIds"] == []
    assert client.get("/user/getTasksFromNode", nodeAddr=NODES[2])["result_size"] == 0
    refused(client.ask("GET", "/user/getTasksFromNode"), 400)


def test_tasks_of_an_address_need_a_credential_and_show_one_tenant(rig: Rig) -> None:
    mine = rig.client(ID).submit(script(), address=HOLDER)
    other = rig.client(MANY).submit(script(), address=HOLDER)
    reply = rig.client(ID).get("/user/getTasks", btcaddress=HOLDER)
    assert mine in reply["taskIds"] and other not in reply["taskIds"]
    assert reply["result_size"] == len(reply["taskIds"])
    refused(rig.client().ask("GET", "/user/getTasks", params={"btcaddress": HOLDER}), 401)
    refused(rig.client(ID).ask("GET", "/user/getTasks"), 400)


def test_an_address_in_capitals_is_the_same_address(rig: Rig) -> None:
    client = rig.client(ID)
    ids = {client.submit(script(), address=HOLDER.upper()), client.submit(script(), address=HOLDER)}
    for spelling in (HOLDER, HOLDER.upper()):
        assert ids <= set(client.get("/user/getTasks", btcaddress=spelling)["taskIds"])


FIELDS = {
    "id": int,
    "userkey": str,
    "btcaddress": str,
    "workspaceid": str,
    "taskid": str,
    "requrl": str,
    "method": str,
    "userip": str,
    "nodeip": str,
    "nodeaddr": str,
    "requesttime": str,
    "responsetime": str,
    "request": str,
    "state": int,
    "response": str,
    "recordDursion": int,
    "videodursion": int,
    "gpudursion": int,
    "watermarktime": str,
    "watermarkres": str,
}
"""Every field of the document's sample, with its type."""


def test_a_record_has_every_field_of_the_document(client: Client) -> None:
    url = script(delay=1.1, body=b'{"task_id": "37a41eba"}')
    task_id = client.submit(url, '{"gz": true, "quoted": "\\"é"}', address=HOLDER)
    client.ended(task_id)
    reply = client.get("/user/getDetailed", taskID=task_id)
    assert reply["result_code"] == 200 and isinstance(reply["msg"], str)
    record = reply["taskInfo"]
    assert {name: type(record.get(name)) for name in FIELDS} == FIELDS
    assert record["taskid"] == task_id and record["workspaceid"] == ID and record["btcaddress"] == HOLDER
    assert record["requrl"].startswith("/user/schedulingTask?paramUrl=act")
    assert record["method"] == "schedulingTask" and record["state"] == 3
    assert record["userip"] == record["nodeip"] == "127.0.0.1" and record["nodeaddr"] in NODES
    assert record["request"] == '{"gz": true, "quoted": "\\"é"}'
    assert record["response"] == '{"task_id": "37a41eba"}'
    assert record["recordDursion"] >= record["gpudursion"] >= 1
    assert record["videodursion"] == 0 and record["watermarktime"] == record["watermarkres"] == ""
    for name in ("requesttime", "responsetime"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", record[name])
        spoken = datetime.strptime(record[name], "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZONE)
        assert abs(datetime.now(UTC) - spoken) < timedelta(minutes=2), "in the configured zone"
    assert record["id"] > 0


def test_get_task_is_the_record_without_its_number_but_with_a_server(rig: Rig) -> None:
    client = rig.client("secret")
    task_id = client.submit(script())
    client.ended(task_id)
    task = client.get("/user/getTask", taskID=task_id)["task"]
    assert set(FIELDS) - {"id"} <= set(task) and "id" not in task
    assert task["servername"] == "the-keyed-one"
    record = client.detailed(task_id)
    assert {name: value for name, value in record.items() if name != "id"} | {"servername": task["servername"]} == task


def test_records_of_keyed_workspaces_hold_no_key(rig: Rig) -> None:
    client = rig.client("Bearer ngpu_secret")
    record = client.detailed(client.submit(script()))
    assert record["userkey"] and "secret" not in str(record)


def test_states_on_the_way(client: Client) -> None:
    running = client.submit(script(delay=2.5))
    eventually(lambda: client.detailed(running)["state"] == 2, "it runs")
    record = client.detailed(running)
    assert record["responsetime"] == record["response"] == "" and record["recordDursion"] == 0
    client.ended(running)
    assert client.detailed(running)["state"] == 3


def test_nodes_say_which_of_them_serve(rig: Rig) -> None:
    client = rig.client(HALF)
    reply = client.get("/user/queryNodes")
    assert reply["result_code"] == 200 and reply["result_size"] == 2
    assert [node["nodeAddr"] for node in reply["nodes"]] == list(NODES[:2])
    assert all(type(node["progress"]) is int and 0 <= node["progress"] <= 100 for node in reply["nodes"])
    eventually(lambda: statuses(client) == [1, 0], "one serves, the other never was there")
    assert all(type(status) is int for status in statuses(client))


def test_a_node_that_goes_down_says_so_and_comes_back(rig: Rig) -> None:
    client, worker = rig.client(ID), rig.workers[1]
    eventually(lambda: statuses(client) == [1, 1], "both serve")
    worker.healthy = False
    eventually(lambda: statuses(client) == [1, 0], "the second is down")
    worker.healthy = True
    eventually(lambda: statuses(client) == [1, 1], "both serve again")


def statuses(client: Client) -> list[int]:
    return [node["status"] for node in client.get("/user/queryNodes")["nodes"]]


@pytest.mark.parametrize("call", ["queryTask", "getDetailed", "getTask"])
def test_ids_that_do_not_exist_are_404_and_a_missing_one_400(client: Client, call: str) -> None:
    for text in ("20240415_14_30_09_891041", "x", "'; drop table tasks; --", "é", "x" * 3000):
        refused(client.ask("GET", f"/user/{call}", params={"taskID": text}), 404)
    refused(client.ask("GET", f"/user/{call}"), 400)
    refused(client.ask("GET", f"/user/{call}?taskID="), 400)


def test_a_head_has_the_length_of_the_get(client: Client) -> None:
    task_id = client.submit(script())
    client.ended(task_id)
    get = client.ask("GET", f"/user/queryTask?taskID={task_id}")
    head = client.ask("HEAD", f"/user/queryTask?taskID={task_id}")
    assert right(get) and head.status_code == 200
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
