"""Tenancy: every call × every kind of caller, and what a stranger can tell apart (nothing)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import pytest
import requests
from api_rig import HOLDER, NODES, Rig, configuration, key_hash, refused, rig_of, right, workspace
from scripted_worker import script

OPEN, KEYED, OTHER = "367614711220405248", "367614711220405249", "000000000000004"
KEY, SECOND_KEY, OLD_KEY = "sk-first", "sk-second", "sk-revoked"

CALLERS: dict[str, str | None] = {
    "nobody": None,
    "empty": "",
    "scheme only": "Bearer ",
    "malformed": "Basic dXNlcjpwYXNz",
    "unknown": "Bearer 111111111111111111",
    "prefix of a key": f"Bearer {KEY[:-1]}",
    "revoked key": f"Bearer {OLD_KEY}",
    "hash of a key": f"Bearer {key_hash(KEY)}",
    "foreign id": f"Bearer {OTHER}",
    "keyed id": f"Bearer {KEYED}",
    "open id": f"Bearer {OPEN}",
    "key": f"Bearer ngpu_{KEY}",
    "second key": SECOND_KEY,
}
OWNERS = {"open id": OPEN, "key": KEYED, "second key": KEYED, "foreign id": OTHER}
"""Callers that show something right, and the workspace that it opens; all others show something wrong, or nothing."""


class Kind(NamedTuple):
    """A call: ``credential`` says that it needs one, ``task`` that it asks about a task."""

    method: str
    path: str
    credential: bool
    task: bool = False
    app_of: str = ""


CALLS = {
    "schedulingTask": Kind("POST", "/user/schedulingTask?paramUrl=x", True),
    "schedulingTask&": Kind("POST", "/user/schedulingTask&paramUrl=x&taskMode=Sync", True),
    "queryTaskList": Kind("GET", "/user/queryTaskList", True),
    "queryNodes": Kind("GET", "/user/queryNodes", True),
    "getTasksFromNode": Kind("GET", f"/user/getTasksFromNode?nodeAddr={NODES[0]}", True),
    "getTasks": Kind("GET", f"/user/getTasks?btcaddress={HOLDER}", True),
    "cancelTask": Kind("POST", "/user/cancelTask?taskID={}", True, task=True),
    "queryTask": Kind("GET", "/user/queryTask?taskID={}", False, task=True),
    "queryTask&": Kind("GET", "/user/queryTask&taskID={}", False, task=True),
    "getDetailed": Kind("GET", "/user/getDetailed?taskID={}", False, task=True),
    "getTask": Kind("GET", "/user/getTask?taskID={}", False, task=True),
    "alias": Kind("GET", "/user/getImage?taskID={}", False, task=True),
    "app's query": Kind("GET", "/user/openApp?taskID={}", False, task=True),
    "app": Kind("POST", "/user/openApp", False, app_of=OPEN),
    "keyed app": Kind("POST", "/user/keyedApp", True, app_of=KEYED),
    "checkAddress": Kind("GET", f"/brc20/checkAddress?address={HOLDER}", False),
    "user/checkAddress": Kind("GET", f"/user/brc20/checkAddress&address={HOLDER}", False),
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        passing = {"adapter": "passthrough", "mode": "sync"}
        apps = {
            "openApp": {**passing, "workspace": OPEN},
            "keyedApp": {**passing, "workspace": KEYED},
            "getImage": {"query": True},
        }
        keys = [key_hash(KEY), key_hash(SECOND_KEY)]
        return configuration(
            workspace(OPEN, *ports, slots=8),
            workspace(KEYED, *ports, slots=8, keys=[key_hash(OLD_KEY), *keys]),
            workspace(OTHER, *ports, slots=8),
            apps=apps,
        )

    with rig_of(tmp_path_factory.mktemp("tenancy"), 1, make) as one:
        # a key is revoked by taking it out of the file
        right(one.client(OLD_KEY).ask("GET", "/user/queryTaskList"))
        one.gateway.stop()
        text = one.gateway.config_file.read_text()
        one.gateway.write_config("".join(line for line in text.splitlines(True) if key_hash(OLD_KEY) not in line))
        one.gateway.start()
        yield one


@pytest.fixture(scope="module")
def tasks(rig: Rig) -> dict[str, str]:
    """A task of each workspace, by its id, which has ended."""
    ids = {}
    for owner, credential in ((OPEN, OPEN), (KEYED, KEY), (OTHER, OTHER)):
        client = rig.client(credential)
        ids[owner] = client.submit(script(body=b"a secret result"))
        client.ended(ids[owner])
    return ids


def expected(call: Kind, caller: str, owner: str) -> int:
    """What the contract says (§2): a credential that is sent must be right, and own the task that it asks about."""
    opened = OWNERS.get(caller)
    if caller == "nobody":
        return 401 if call.credential else 200
    if opened is None:
        return 401
    if call.task and opened != owner:
        return 404
    # a task that has ended cannot be cancelled
    return 409 if "cancelTask" in call.path else 200


def ask(rig: Rig, call: Kind, caller: str, task_id: str) -> requests.Response:
    body = {"json": {"data": "x"}} if call.method == "POST" else {}
    headers = {} if CALLERS[caller] is None else {"Authorization": CALLERS[caller]}
    return rig.client().ask(call.method, call.path.format(task_id), headers=encoded(headers), **body)


def encoded(headers: dict[str, Any]) -> dict[str, bytes]:
    return {name: value.encode("latin-1") for name, value in headers.items()}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_for_every_caller(rig: Rig, tasks: dict[str, str], name: str) -> None:
    call = CALLS[name]
    wrong = []
    for caller, owner in product(CALLERS, tasks if call.task else [OPEN]):
        response = ask(rig, call, caller, tasks[owner])
        if response.status_code != expected(call, caller, owner):
            wrong.append(f"{caller}, task of {owner}: {response.status_code}, not {expected(call, caller, owner)}")
        elif response.status_code != 200:
            refused(response, response.status_code)
            assert "secret" not in response.text
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", CALLS)
def test_a_credential_of_odd_bytes_is_no_credential(rig: Rig, tasks: dict[str, str], name: str) -> None:
    call = CALLS[name]
    path = call.path.format(tasks[OPEN]).encode()
    for value in (b"Bearer \xff\xfe", "Bearer 猫".encode(), b"Bearer " + b"x" * 30_000, b"Bearer a\tb"):
        head = b"%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        assert rig.raw(head % (call.method.encode(), path, value)).startswith(b"HTTP/1.1 401 ")


def test_two_credentials_are_one_too_many(rig: Rig) -> None:
    head = b"GET /user/queryTaskList HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nAuthorization: %s\r\n\r\n"
    for first, second in ((OPEN, OPEN), (OPEN, "x"), ("x", OPEN)):
        assert rig.raw(head % (first.encode(), second.encode())).startswith(b"HTTP/1.1 400 ")


def test_a_refusal_for_want_of_a_credential_says_how(rig: Rig) -> None:
    response = rig.client().ask("GET", "/user/queryTaskList")
    assert "Authorization" in refused(response, 401)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.task])
def test_a_foreign_task_looks_like_one_that_never_was(rig: Rig, tasks: dict[str, str], name: str) -> None:
    """Byte for byte, head and all."""
    call = CALLS[name]
    never = re.sub(r"\d", "7", tasks[OTHER])

    def seen(task_id: str) -> bytes:
        path = call.path.format(task_id).encode()
        head = b"%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: 0\r\n\r\n"
        reply = rig.raw(head % (call.method.encode(), path, OPEN.encode()))
        return re.sub(rb"Date: [^\r]*\r\n", b"", reply)

    foreign = seen(tasks[OTHER])
    assert foreign.startswith(b"HTTP/1.1 404 ")
    assert foreign == seen(never)


def test_lists_show_the_own_tasks_only(rig: Rig, tasks: dict[str, str]) -> None:
    for owner, credential in ((OPEN, OPEN), (KEYED, KEY), (KEYED, SECOND_KEY), (OTHER, OTHER)):
        others = {task_id for workspace_id, task_id in tasks.items() if workspace_id != owner}
        client = rig.client(credential)
        for listed in (client.listed(), client.get("/user/getTasksFromNode", nodeAddr=NODES[0])["taskIds"]):
            assert tasks[owner] in listed
            assert not set(listed) & others


def test_nobody_can_cancel_anothers_task(rig: Rig) -> None:
    task_id = rig.client(OPEN).submit(script(delay=0.5))
    for credential in (OTHER, KEY):
        refused(rig.client(credential).ask("POST", f"/user/cancelTask?taskID={task_id}"), 404)
    refused(rig.client().ask("POST", f"/user/cancelTask?taskID={task_id}"), 401)
    assert rig.client(OPEN).ended(task_id)["status"] == "finished"


def test_a_refused_submission_reaches_no_worker_and_no_list(rig: Rig) -> None:
    before = rig.client(OPEN).listed()
    for credential in (None, "wrong", KEYED):
        refused(rig.client(credential).send(script(marker="never")), 401)
    assert "never" not in rig.worker.markers()
    assert rig.client(OPEN).listed() == before
