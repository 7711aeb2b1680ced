"""Programs that people have, through the gateway to a worker as people write them.

The worker sends each piece of a stream only after the client's receipt of the one before: see `served.Receipts`.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest
import requests
from httpx_sse import connect_sse
from openai.types.chat import ChatCompletionUserMessageParam
from page_blocks import told
from processes import Gateway
from raw_rig import ID, OTHER, eventually
from toy_worker import ToyWorker
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

MIB = 1 << 20
BIG = os.urandom(MIB) * 8
SUM = {"sha256": hashlib.sha256(BIG).hexdigest(), "size": len(BIG)}
AUTH = {"Authorization": f"Bearer {ID}"}


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/proxy/v1", api_key=ID, max_retries=0) as one:
        yield one


def said(text: str) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": text}]


def test_openai(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["toy"]
    whole = client.chat.completions.create(model="toy", messages=said("one two three"))
    assert whole.choices[0].message.content == "one two three"
    with pytest.raises(openai.BadRequestError, match="no such thing"):
        client.chat.completions.create(model="toy", messages=said("fail"))


def test_openai_streams_token_by_token(client: openai.OpenAI, worker: ToyWorker) -> None:
    tokens = []
    for piece in client.chat.completions.create(model="toy", messages=said("a b c d"), stream=True):
        tokens.append(piece.choices[0].delta.content)
        worker.receipts.give()
    assert tokens == ["a", "b", "c", "d"]


def test_openai_as_the_page_shows_it(gateway: Gateway, worker: ToyWorker, capsys: pytest.CaptureFixture[str]) -> None:
    (shown,) = told("openai")
    for _ in range(4):
        worker.receipts.give()
    text = shown.text.replace("http://localhost:8080", gateway.url)
    text = text.replace("367614711220405248", ID).replace("client = ", "client = made = ")
    names = {"openai": openai, "messages": said("a b c d")}
    exec(compile(text, shown.page, "exec"), names)
    names["made"].close()
    assert capsys.readouterr().out == "abcd"


def test_openai_leaves_in_the_middle(client: openai.OpenAI, gateway: Gateway, worker: ToyWorker) -> None:
    stream = client.chat.completions.create(model="toy", messages=said("a b c d"), stream=True)
    next(iter(stream))
    stream.close()
    ids = requests.get(f"{gateway.url}/user/queryTaskList", headers=AUTH, timeout=5).json()["taskIds"]
    url = f"{gateway.url}/user/queryTask?taskID={ids[-1]}"
    eventually(lambda: requests.get(url, timeout=5).json()["status"] == "cancelled", "the call ends with its client")
    worker.receipts.give()  # uvicorn only looks for its client when it has something to send


def test_openai_is_told_what_is_wrong(gateway: Gateway) -> None:
    stranger = openai.OpenAI(base_url=f"{gateway.url}/proxy/v1", api_key="nobody", max_retries=0)
    with stranger as client, pytest.raises(openai.AuthenticationError) as refused:
        client.models.list()
    assert "opens no workspace" in refused.value.response.json()["msg"]


def test_event_source(gateway: Gateway, worker: ToyWorker) -> None:
    url = f"{gateway.url}/proxy/9090/events?key={OTHER}"
    events = []
    with httpx.Client() as session, connect_sse(session, "GET", url) as source:
        for event in source.iter_sse():
            events.append((event.id, event.event, event.data))
            worker.receipts.give()
    assert events == [("0", "step", "0"), ("1", "step", "1"), ("2", "step", "2")]


def one_by_one(worker: ToyWorker, lines: Iterable[bytes | str]) -> list[str]:
    """The data of events, each of them acknowledged."""
    data = []
    for line in lines:
        text = line if isinstance(line, str) else line.decode()
        if text.startswith("data: "):
            data.append(text.removeprefix("data: ").strip())
            worker.receipts.give()
    return data


def upload(worker: ToyWorker) -> Iterator[bytes]:
    """Pieces of which each is sent once the worker has the one before."""
    for start in range(0, MIB, MIB // 4):
        eventually(lambda start=start: worker.arrived == start, f"{start} bytes reach the worker before there are more")
        yield BIG[start : start + MIB // 4]


SUM_OF_UPLOAD = {"sha256": hashlib.sha256(BIG[:MIB]).hexdigest(), "size": MIB}


def test_httpx_streams_both_ways(gateway: Gateway, worker: ToyWorker) -> None:
    with httpx.Client(base_url=gateway.url, headers=AUTH) as session:
        with session.stream("GET", "/proxy/events") as reply:
            assert one_by_one(worker, reply.iter_lines()) == ["0", "1", "2"]
        assert session.post("/proxy/digest", content=upload(worker)).json() == SUM_OF_UPLOAD


def test_requests_streams_both_ways(gateway: Gateway, worker: ToyWorker) -> None:
    with requests.get(f"{gateway.url}/proxy/events", headers=AUTH, stream=True, timeout=30) as reply:
        assert one_by_one(worker, reply.iter_lines(chunk_size=1)) == ["0", "1", "2"]
    reply = requests.put(f"{gateway.url}/proxy/digest", headers=AUTH, data=upload(worker), timeout=30)
    assert reply.json() == SUM_OF_UPLOAD


def test_httpx(gateway: Gateway, worker: ToyWorker) -> None:
    def pieces() -> Iterator[bytes]:
        yield from (BIG[start : start + 100_000] for start in range(0, len(BIG), 100_000))

    with httpx.Client(base_url=gateway.url, headers=AUTH) as session:
        assert session.post("/proxy/digest", content=BIG).json() == SUM
        assert session.put("/proxy/8080/digest", content=pieces()).json() == SUM  # chunked
        assert worker.forwarded["x-forwarded-prefix"] == "/proxy/8080"
        assert session.get("/proxy/moved", follow_redirects=True).json()["object"] == "list"
        with session.stream("GET", "/proxy/endless") as reply:
            assert next(reply.iter_raw()).startswith(b"tick")
    assert worker.left.wait(10), "the worker goes on for nobody"


def test_requests(gateway: Gateway) -> None:
    with requests.Session() as session:
        session.headers.update(AUTH)
        for _ in range(3):  # over one connection
            assert session.post(f"{gateway.url}/proxy/digest", data=BIG, timeout=30).json() == SUM
        files = {"file": ("x.bin", BIG)}
        assert session.post(f"{gateway.url}/proxy/digest", files=files, timeout=30).json()["size"] > len(BIG)
        assert session.head(f"{gateway.url}/proxy/v1/models", timeout=30).headers["Content-Length"] != "0"


CURL = ("curl", "-sS", "--noproxy", "*", "-H", f"Authorization: Bearer {ID}")


def curl(*arguments: str) -> str:
    done = subprocess.run([*CURL, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl(gateway: Gateway, worker: ToyWorker, tmp_path: Path) -> None:
    file = tmp_path / "big"
    file.write_bytes(BIG)
    assert json.loads(curl("-T", str(file), f"{gateway.url}/proxy/digest")) == SUM  # with Expect: 100-continue
    assert json.loads(curl("-H", "Transfer-Encoding: chunked", "-T", str(file), f"{gateway.url}/proxy/digest")) == SUM
    assert json.loads(curl("--http2", f"{gateway.url}/proxy/v1/models"))["object"] == "list"  # asks for h2c
    assert json.loads(curl("--http1.0", f"{gateway.url}/proxy/v1/models"))["object"] == "list"
    assert "ngpu-status: worker" in curl("-I", f"{gateway.url}/proxy/v1/models").lower()


@contextmanager
def curling(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A curl that has succeeded by the end of the block."""
    with subprocess.Popen([*CURL, "-m", "30", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_curl_streams_both_ways(gateway: Gateway, worker: ToyWorker) -> None:
    with curling("-N", f"{gateway.url}/proxy/events") as process:
        assert process.stdout is not None
        assert one_by_one(worker, process.stdout) == ["0", "1", "2"]
    with curling("-T", "-", f"{gateway.url}/proxy/digest") as process:
        assert process.stdin is not None and process.stdout is not None
        for piece in upload(worker):
            process.stdin.write(piece)
            process.stdin.flush()
        process.stdin.close()
        assert json.load(process.stdout) == SUM_OF_UPLOAD


def test_websockets(gateway: Gateway, worker: ToyWorker) -> None:
    url = gateway.url.replace("http", "ws") + f"/proxy/8080/ws?key={OTHER}"
    with connect(url, subprotocols=[Subprotocol("chat")], max_size=1 << 26, proxy=None) as socket:
        assert socket.subprotocol == "chat"
        for message in ("hello", "ü" * 1000, b"\x00\xff", BIG):
            socket.send(message)
            assert socket.recv(10) == message
        assert socket.ping().wait(5)
        socket.send("close")
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv(10)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "as you wish")  # type: ignore[union-attr]
    worker.left.clear()
    with connect(url, proxy=None, additional_headers=AUTH) as socket:  # its Authorization comes first
        socket.send("hello")
        assert socket.recv(10) == "hello"
    assert worker.left.wait(10), "the worker still holds a WebSocket that was closed"


def test_websockets_are_told_why_not(gateway: Gateway) -> None:
    for path, status in (("/proxy/ws", 401), ("/proxy/nothing?key=" + OTHER, 403)):
        with pytest.raises(InvalidStatus) as refused:
            connect(gateway.url.replace("http", "ws") + path, proxy=None)
        assert refused.value.response.status_code == status
