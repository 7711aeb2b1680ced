"""The demo worker as a process: it does what the web UI's clients and the gateway's tests rely on."""

from __future__ import annotations

import base64
import io
import json
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from processes import Processes, Worker, find_free_port
from stopwatch import Stopwatch

PHOTO = base64.b64encode((Path(__file__).parents[2] / "docs/demo/photo.png").read_bytes()).decode()
IMG2IMG = "/sdapi/v1/img2img"


@pytest.fixture
def worker(processes: Processes) -> Worker:
    return processes.start_worker()


def paint(worker: Worker, timeout: float = 20, **fields: Any) -> requests.Response:
    return requests.post(worker.url + IMG2IMG, json={"init_images": [PHOTO], **fields}, timeout=timeout)


def wait_until(true: Any) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_photo_comes_back_painted_in_the_web_uis_shape(worker: Worker, prefix: str) -> None:
    reply = paint(worker, prompt="a night", init_images=[prefix + PHOTO], seed=5, width=320, height=200, steps=20)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    picture = Image.open(io.BytesIO(base64.b64decode(reply.json()["images"][0])))
    assert (picture.format, picture.size) == ("PNG", (320, 200))
    assert reply.json()["parameters"] == {
        "init_images": None,
        "prompt": "a night",
        "denoising_strength": 0.75,
        "seed": 5,
        "width": 320,
        "height": 200,
    }
    assert json.loads(reply.json()["info"])["seed"] == 5


def bomb() -> str:
    """A PNG that says 6,000 x 6,000 in its head and is a few bytes long."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 6000, 6000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("body", "content_type", "place"),
    [
        (b"", "application/json", ["body"]),
        (b"{}", "application/json", ["body", "init_images"]),
        (b"{}", "text/plain", ["body"]),
        (b"{}", "", ["body"]),
        (b"a=b", "application/x-www-form-urlencoded", ["body"]),
        (b"{x", "application/json", ["body", 1]),
        (b"\xff", "application/json", ["body", 0]),
        (b"[" * 100_000, "application/json", ["body", 0]),
        (b"[]", "application/json", ["body"]),
        (b'{"init_images": []}', "application/json", ["body", "init_images"]),
        (b'{"init_images": ["AAAA"]}', "application/json", ["body", "init_images", 0]),
        (b'{"init_images": ["?"]}', "application/json", ["body", "init_images", 0]),
        (b'{"init_images": ["AAAA"], "denoising_strength": NaN}', "application/json", ["body", "denoising_strength"]),
        (b'{"init_images": ["AAAA"], "delay": 61}', "application/json", ["body", "delay"]),
        (json.dumps({"init_images": [bomb()]}).encode(), "application/json", ["body", "init_images", 0]),
        (json.dumps({"init_images": [PHOTO[:4000]]}).encode(), "application/json", ["body", "init_images", 0]),
    ],
)
def test_a_wrong_call_is_422_as_fastapi_says_it(
    shared_worker: Worker, body: bytes, content_type: str, place: list[Any]
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    reply = requests.post(shared_worker.url + IMG2IMG, data=body, headers=headers, timeout=20)
    assert reply.status_code == 422
    assert [error["loc"] for error in reply.json()["detail"]] == [place]
    assert all(error["msg"] and error["type"] for error in reply.json()["detail"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/none", 404), ("POST", IMG2IMG + "/", 404), ("GET", IMG2IMG, 405), ("GET", "/", 200), ("HEAD", "/", 200)],
)
def test_paths(shared_worker: Worker, method: str, path: str, status: int) -> None:
    reply = requests.request(method, shared_worker.url + path, timeout=20)
    assert reply.status_code == status
    if status != 200:
        assert reply.json() == {"detail": {404: "Not Found", 405: "Method Not Allowed"}[status]}


@pytest.fixture(scope="module")
def shared_worker(tmp_path_factory: pytest.TempPathFactory) -> Any:
    worker = Worker(tmp_path_factory.mktemp("worker") / "worker.log", find_free_port()).start()
    yield worker
    worker.stop()


def test_health_answers_while_it_is_busy_and_slots_bound_the_jobs(processes: Processes) -> None:
    worker = processes.start_worker("--delay", "1s", "--slots", "1")
    began = time.monotonic()
    calls = [threading.Thread(target=paint, args=(worker,), kwargs={"marker": str(n)}) for n in range(2)]
    for call in calls:
        call.start()
    wait_until(lambda: len(worker.journalled("start")) == 2)
    asked = Stopwatch()
    assert requests.get(worker.url + "/", timeout=5).json()["calls"] == 2
    assert asked.seconds() < 0.9
    for call in calls:
        call.join()
    assert time.monotonic() - began >= 2, "two jobs of a second each ran at once in one slot"


def test_a_caller_that_leaves_frees_the_slot_and_the_journal_says_so(processes: Processes) -> None:
    worker = processes.start_worker()
    with pytest.raises(requests.Timeout):
        paint(worker, timeout=0.5, delay=60, marker="left")
    assert paint(worker, marker="stayed").status_code == 200
    assert worker.journalled("start") == ["left", "stayed"]
    assert worker.journalled("cut") == ["left"]
    assert worker.journalled("end") == ["stayed"]


def test_delay_and_marker_may_stand_in_the_query(worker: Worker) -> None:
    began = time.monotonic()
    reply = requests.post(f"{worker.url}{IMG2IMG}?delay=0.4&marker=q", json={"init_images": [PHOTO]}, timeout=20)
    assert reply.status_code == 200
    assert time.monotonic() - began >= 0.4
    assert worker.journalled("end") == ["q"]


def test_a_journal_outlives_kill_9_and_restart(worker: Worker) -> None:
    paint(worker, marker="one")
    worker.kill9()
    worker.restart()
    paint(worker, marker="two")
    assert worker.journalled("end") == ["one", "two"]
    worker.stop()


def test_one_line_a_call_that_no_prompt_can_break(worker: Worker) -> None:
    paint(worker, prompt="a\nb\x1b[31m")
    worker.stop()
    lines = [line for line in worker.log.read_text().splitlines() if "img2img" in line]
    assert len(lines) == 1
    assert "\x1b" not in lines[0]
    assert "-> 200 in" in lines[0]


def test_a_taken_port_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "ngpu.demo", "--port", str(port)], capture_output=True, text=True, timeout=20
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: another process listens there" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_it_ends_with_whoever_holds_its_standard_input() -> None:
    """However the gateway of `make run` ends, no worker stays behind."""
    command = [sys.executable, "-m", "ngpu.demo", "--port", str(find_free_port()), "--exit-with-stdin"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdin is not None
        assert b"listening" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(10) == 0
        process.stdout.close()
    finally:
        process.kill()
        process.wait()
