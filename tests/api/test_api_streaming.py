"""Server-sent events of a task's status: through a real gateway, read from the socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Self

import pytest
import requests
from api_rig import Client, Rig, configuration, eventually, refused, rig_of, right, workspace
from scripted_worker import script

WIDE, NARROW, OTHER = "wide", "narrow", "other"
STREAMS = 5


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(
            workspace(WIDE, ports[0], slots=8),
            workspace(NARROW, ports[0]),
            workspace(OTHER, ports[0]),
            limits={"streams": STREAMS, "write_timeout": "2s"},
        )

    with rig_of(tmp_path_factory.mktemp("streaming"), 1, make) as one:
        yield one


class Stream:
    """A client that reads events as they come.

    :ivar retry: what the server said of coming back.
    """

    def __init__(self, rig: Rig, task_id: str, **headers: str) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self.reply = self._session.get(
            f"{rig.gateway.url}/user/queryTask/stream",
            params={"taskID": task_id},
            headers=headers,
            stream=True,
            timeout=30,
        )
        self._lines = self.reply.iter_lines(chunk_size=1)
        self.comments = 0
        self.retry = ""
        self.ids: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.reply.close()
        self._session.close()

    def next(self) -> dict[str, Any] | None:
        """The data of the next event; ``None`` once the stream has ended."""
        fields: dict[str, list[str]] = {}
        for line in self._lines:
            name, _, value = line.decode().partition(":")
            if line.startswith(b":"):
                self.comments += 1
            elif name == "retry":
                self.retry = value.strip()
            elif name:
                fields.setdefault(name, []).append(value.removeprefix(" "))
            elif fields:
                self.ids += fields.get("id", [])
                assert fields["event"] == ["status"]
                document: dict[str, Any] = json.loads("\n".join(fields["data"]))
                return document
        return None

    def rest(self) -> list[dict[str, Any]]:
        events = []
        while (event := self.next()) is not None:
            events.append(event)
        return events


def blocked(client: Client) -> str:
    task_id = client.submit(script(delay=30))
    eventually(lambda: client.status(task_id) == "running", "the slot is taken")
    return task_id


@pytest.fixture
def narrow(rig: Rig) -> Iterator[Client]:
    client = rig.client(NARROW)
    yield client
    for task_id in client.listed():
        client.ask("POST", f"/user/cancelTask?taskID={task_id}")
    eventually(lambda: rig.worker.at_once == 0, "the worker has nothing to do")


def test_every_change_from_the_queue_to_the_end(rig: Rig, narrow: Client) -> None:
    blocker = blocked(narrow)
    first, watched = narrow.submit(script(delay=0.5)), narrow.submit(script(delay=0.6, body=b'{"a":1}'), {"x": 1})
    with Stream(rig, watched) as stream:
        fields = stream.reply.headers
        assert fields["Content-Type"] == "text/event-stream"
        assert (fields["Cache-Control"], fields["X-Accel-Buffering"]) == ("no-store", "no")
        now = stream.next()
        assert now is not None and stream.retry == "2000"
        assert (now["status"], now["queue_position"]) == ("queued", 2)
        right(narrow.ask("POST", f"/user/cancelTask?taskID={blocker}"))
        began = time.monotonic()
        rest = stream.rest()
        took = time.monotonic() - began
    assert [event["status"] for event in rest if event["status"] != "queued"] == ["running", "finished"]
    assert rest[-1] == narrow.query(watched)
    assert rest[-1]["data"] == {"a": 1}
    assert stream.ids == ["ended"]
    assert 1.0 < took < 4.0, "events come as things happen"
    assert narrow.ended(first)["status"] == "finished"


def test_the_start_and_the_end_are_told_at_once(rig: Rig) -> None:
    """Not at the next look: a poller would have to ask very often for this."""
    client, late = rig.client(WIDE), []
    for number in range(4):  # of which the machine may hold one up
        task_id = client.submit(script(marker=f"prompt {number}", delay=0.15))
        with Stream(rig, task_id) as stream:
            while (event := stream.next()) and not event["result_size"]:
                pass
            told = time.monotonic()
        lines = [line for line in rig.worker.journal if line.marker == f"prompt {number}" and line.event == "end"]
        late.append(told - lines[0].at)
    assert sorted(late)[1] < 0.4


def test_a_task_that_has_ended_is_one_event_and_its_reader_is_told_to_stay_away(rig: Rig) -> None:
    client = rig.client(WIDE)
    task_id = client.submit(script(status=500))
    client.ended(task_id)
    with Stream(rig, task_id) as stream:
        (event,) = stream.rest()
    assert event == client.query(task_id) and event["status"] == "failed"
    with Stream(rig, task_id, **{"Last-Event-ID": "ended"}) as stream:
        assert stream.reply.status_code == 204
    right(client.ask("POST", f"/user/retryTask?taskID={task_id}"))
    with Stream(rig, task_id, **{"Last-Event-ID": "ended"}) as stream:
        assert stream.rest()[-1]["status"] == "failed", "it has another end"


def test_who_may_listen(rig: Rig) -> None:
    client = rig.client(WIDE)
    task_id = client.submit(script())
    path = f"/user/queryTask/stream?taskID={task_id}"
    refused(rig.client("nobody").ask("GET", path), 401)
    refused(rig.client(OTHER).ask("GET", path), 404)
    refused(client.ask("GET", "/user/queryTask/stream"), 400)
    refused(client.ask("GET", path + "0"), 404)
    refused(client.ask("POST", path), 405)
    head = client.ask("HEAD", path)
    assert (head.status_code, head.headers["Content-Type"], head.content) == (200, "text/event-stream", b"")
    with Stream(rig, task_id, Authorization=WIDE) as stream:
        assert stream.rest()


def test_a_result_with_line_breaks_is_one_event(rig: Rig) -> None:
    client = rig.client(WIDE)
    as_json = client.submit(script(body=b'{\r\n  "a": [1,\n 2],\r"b": "x\\ny"\n}'), {"x": 1})
    as_text = client.submit(script(body=b"one\r\ntwo\n\nevent: status\ndata: {}\n\n"))
    for task_id in (as_json, as_text):
        with Stream(rig, task_id) as stream:
            assert stream.rest()[-1] == client.ended(task_id)
    assert client.query(as_json)["data"] == {"a": [1, 2], "b": "x\ny"}


def test_a_large_result_comes_at_the_readers_pace(rig: Rig) -> None:
    client = rig.client(WIDE)
    task_id = client.submit(script(size=30_000_000))
    client.ended(task_id)
    whole = requests.get(f"{rig.gateway.url}/user/queryTask/stream?taskID={task_id}", timeout=60).content
    (data,) = [line for line in whole.split(b"\n") if line.startswith(b"data: ")]
    assert len(json.loads(data.removeprefix(b"data: "))["data"]) == 30_000_000
    before = memory_of(rig)
    with socket.create_connection(rig.address, 10) as sock:
        sock.sendall(f"GET /user/queryTask/stream?taskID={task_id} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(1.0)  # in which nobody reads
        assert memory_of(rig) - before < 20_000_000
        eventually(lambda: open_streams(rig) == 0, "a reader that reads nothing is cut")


def memory_of(rig: Rig) -> float:
    lines = rig.admin("/metrics", rig.token).text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith("process_resident_memory_bytes"))


def open_streams(rig: Rig) -> float:
    lines = rig.admin("/metrics", rig.token).text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith("ngpu_status_streams "))


def test_there_are_only_so_many_and_who_leaves_makes_room(rig: Rig, narrow: Client) -> None:
    blocked(narrow)
    task_id = narrow.submit(script())
    with ExitStack() as stack:
        for _ in range(STREAMS):
            assert stack.enter_context(Stream(rig, task_id)).next()
        assert open_streams(rig) == STREAMS
        refusal = rig.client().ask("GET", f"/user/queryTask/stream?taskID={task_id}")
        refused(refusal, 503)
        assert int(refusal.headers["Retry-After"]) > 0
    eventually(lambda: open_streams(rig) == 0, "all are free again")
    with Stream(rig, task_id) as stream:
        assert stream.next()
    eventually(lambda: open_streams(rig) == 0, "the last one too")


def test_a_gateway_that_stops_ends_them_and_the_next_goes_on(rig: Rig, narrow: Client) -> None:
    blocker = blocked(narrow)
    waits = narrow.submit(script(body=b"done"))
    with Stream(rig, waits) as stream:
        assert stream.next()
        right(narrow.ask("POST", f"/user/cancelTask?taskID={blocker}"))
        began = time.monotonic()
        rig.gateway.stop()
        assert time.monotonic() - began < 10
        stream.rest()
    rig.gateway.start()
    with Stream(rig, waits) as stream:
        assert stream.rest()[-1]["data"] == "done"
