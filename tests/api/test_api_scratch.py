"""Large requests wait in a file without a name: they come through whole, and of those that fail nothing stays."""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from api_rig import NO_HOLDER, Rig, configuration, eventually, refused, rig_of, right, workspace
from redis_server import RedisServer, block
from scripted_worker import EVERY_BYTE, filled, script

ID = "367614711220405248"
GATED = "367614711220405249"
MIB = 1 << 20
SIZE = 3 * MIB
LIMIT = 12 * MIB


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    if request.param == "sqlite":
        yield {}
        return
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield {"store": block(server)}
    server.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the gateway has its temporary files."""
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, folder: Path, store: dict[str, Any]) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        gated = workspace(GATED, *ports, gate="ainn")
        return configuration(workspace(ID, *ports, slots=4, body_limit="12MiB"), gated, **store)

    with rig_of(tmp_path_factory.mktemp("rig"), 1, make, env={"TMPDIR": str(folder)}) as one:
        yield one


def scratch_files(rig: Rig, folder: Path) -> int:
    """How many the gateway has open. None of them ever has a name."""
    assert not list(folder.iterdir())
    count = 0
    for link in Path(f"/proc/{rig.gateway.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            count += os.readlink(link).startswith(str(folder))
    return count


def begun(rig: Rig, length: int = LIMIT, target: str = "/user/schedulingTask") -> socket.socket:
    """A client that has sent most of a large request."""
    sock = socket.create_connection(rig.address, 10)
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: {ID}\r\nContent-Length: {length}\r\n\r\n"
    sock.sendall(head.encode() + b'{"data":"' + b"x" * (length // 2))
    return sock


def test_without_room_a_large_request_is_refused_and_nothing_else(rig: Rig, folder: Path) -> None:
    client, body = rig.client(ID), json.dumps({"data": "x" * (10 * MIB)})
    limits = resource.prlimit(rig.gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(rig.gateway.pid, resource.RLIMIT_FSIZE, (8 * MIB, limits[1]))
    try:
        response = client.ask("POST", "/user/schedulingTask", data=body)
        assert "no room for a large request" in refused(response, 503)
        assert int(response.headers["Retry-After"]) > 0
        client.ended(client.submit(script()))
    finally:
        resource.prlimit(rig.gateway.pid, resource.RLIMIT_FSIZE, limits)
    eventually(lambda: not scratch_files(rig, folder), "the file is closed")
    assert "no room in the folder for temporary files" in rig.gateway.log.read_text()


def test_of_a_client_that_leaves_nothing_stays(rig: Rig, folder: Path) -> None:
    before = rig.client(ID).listed()
    with closing(begun(rig)):
        eventually(lambda: scratch_files(rig, folder), "what it has sent is in a file")
    eventually(lambda: not scratch_files(rig, folder), "the file is closed")
    assert rig.client(ID).listed() == before


@pytest.mark.parametrize("end", [b"", b'"', b'"}}', b'","data":""}', b'\xff"}', b'\\ud800"}', b'","a":NaN}'])
def test_what_is_wrong_at_the_very_end_is_refused_and_not_stored(rig: Rig, folder: Path, end: bytes) -> None:
    client = rig.client(ID)
    before = client.listed()
    for mode in ("Sync", "Async"):
        body = b'{"data":"' + filled(SIZE) + end
        refused(client.ask("POST", "/user/schedulingTask", params={"taskMode": mode}, data=body), 400)
    assert client.listed() == before
    eventually(lambda: not scratch_files(rig, folder), "the files are closed")


def test_one_byte_too_many_is_refused_however_it_comes(rig: Rig, folder: Path) -> None:
    client, body = rig.client(ID), b'{"data":"' + b"x" * LIMIT
    refused(client.ask("POST", "/user/schedulingTask", data=body[: LIMIT + 1]), 413)
    pieces = (body[at : min(at + MIB, LIMIT + 1)] for at in range(0, LIMIT + 1, MIB))
    refused(client.ask("POST", "/user/schedulingTask", data=pieces), 413)
    eventually(lambda: not scratch_files(rig, folder), "the files are closed")


TEXT = 'quote " backslash \\ line\n é 😀 \u2028' * (SIZE // 40)
FORMS = {
    "text": ({"data": filled(SIZE).decode()}, filled(SIZE)),
    "escapes": ({"data": TEXT}, TEXT.encode()),
    "little": ({"data": "little", "more": filled(SIZE).decode()}, b"little"),
    "object": ({"data": {"image": TEXT, "list": list(range(1000))}}, None),
}


@pytest.mark.parametrize("mode", ["Sync", "Async"])
@pytest.mark.parametrize("form", FORMS)
def test_an_envelope_comes_through_whole(rig: Rig, folder: Path, form: str, mode: str) -> None:
    fields, expected = FORMS[form]
    body = json.dumps({"btc_address": "", **fields}).encode()
    client, marker = rig.client(ID), f"{form}-{mode}"
    params = {"taskMode": mode, "paramUrl": script(marker=marker, size=10)}
    pieces = (body[at : at + 100_000] for at in range(0, len(body), 100_000))  # of a length that nobody tells
    headers = {"Idempotency-Key": marker} if mode == "Async" else {}
    task_id = right(client.ask("POST", "/user/schedulingTask", params=params, data=pieces, headers=headers))["taskID"]
    assert client.ended(task_id)["status"] == "finished"
    came = bytes(rig.worker.call(marker).body)
    assert came == (expected or json.dumps(fields["data"]).encode())
    assert client.detailed(task_id)["request"] == came.decode()
    if headers:
        again = client.ask("POST", "/user/schedulingTask", params=params, data=body, headers=headers)
        assert right(again)["taskID"] == task_id
    eventually(lambda: not scratch_files(rig, folder), "the file is closed")


def test_raw_bytes_come_through_whole(rig: Rig, folder: Path) -> None:
    client, body = rig.client(ID), filled(SIZE, EVERY_BYTE)
    params = {"taskMode": "Sync", "paramUrl": script(marker="raw", size=10)}
    right(client.ask("POST", "/user/schedulingTask", params=params, data=body, headers={"BtcAddress": ""}))
    assert bytes(rig.worker.call("raw").body) == body
    eventually(lambda: not scratch_files(rig, folder), "the file is closed")


@pytest.mark.parametrize("mode", ["Sync", "Async"])
def test_what_the_gate_refuses_leaves_no_file(rig: Rig, folder: Path, mode: str) -> None:
    body = json.dumps({"btc_address": NO_HOLDER, "data": "x" * SIZE})
    refused(rig.client(GATED).ask("POST", "/user/schedulingTask", params={"taskMode": mode}, data=body), 403)
    eventually(lambda: not scratch_files(rig, folder), "the file is closed")


def test_of_a_call_whose_client_leaves_the_record_stays(rig: Rig, folder: Path) -> None:
    client = rig.client(ID)
    path = "/user/schedulingTask?taskMode=Sync&paramUrl=" + quote(script(marker="left", delay=30.0))
    before = set(client.listed())
    with closing(begun(rig, SIZE + 11, path)) as sock:
        sock.sendall(b"x" * (SIZE - (SIZE + 11) // 2) + b'"}')
        eventually(lambda: [call for call in rig.worker.calls if call.orders.get("marker") == "left"], "it is called")
    (task_id,) = eventually(lambda: set(client.listed()) - before, "there is a record")
    assert client.ended(task_id)["status"] == "cancelled"
    assert len(client.detailed(task_id)["request"]) == SIZE
    eventually(lambda: not scratch_files(rig, folder), "the file is closed")


def test_a_crash_leaves_no_file(rig: Rig, folder: Path) -> None:
    with closing(begun(rig)):
        eventually(lambda: scratch_files(rig, folder), "what it has sent is in a file")
        rig.gateway.kill9()
    assert not list(folder.iterdir())
