"""What answers need not be a gateway, and the environment need not be fit: it is told in a sentence, and never else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from ngpu.cli import main
from ngpu.cli.exits import Exit
from ngpu.client import AsyncClient, Client, ClientError, Refused, Unreachable

URL = "http://gateway.example"
TASK = {"taskID": "t", "status": "finished", "result_code": 200, "msg": "success"}
NOT_OURS: tuple[Any, ...] = (
    b"",
    b"<html>",
    b"\xff",
    b"[" * 100_000,
    b'{"taskID": "t", "status": "finished", "result_code": 1e999, "msg": ""}',
    b'{"taskID": "t", "status": "finished", "result_code": NaN, "msg": ""}',
    None,
    [],
    {},
    {"taskID": "t", "status": "finished"},
    {**TASK, "data": "!", "data_encoding": "base64"},
    {"taskInfo": None},
    {"taskInfo": [1]},
    {"taskInfo": "text"},
    {"nodes": 5},
    {"nodes": [5]},
    {"nodes": [{}]},
    {"taskIds": None},
    {"taskIds": 5},
)
CALLS: tuple[Callable[[Client], Any], ...] = (
    lambda client: client.submit({}),
    lambda client: client.call({}),
    lambda client: client.query("t"),
    lambda client: client.wait("t", 0.1),
    lambda client: client.record("t"),
    lambda client: client.nodes(),
    lambda client: list(client.list()),
)


def answering(body: Any, status: int = 200, **headers: str) -> httpx.MockTransport:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.MockTransport(lambda request: httpx.Response(status, content=content, headers=headers))


@pytest.mark.parametrize("body", NOT_OURS)
@pytest.mark.parametrize("call", CALLS)
def test_what_is_no_reply_of_a_gateway_is_unreachable(call: Callable[[Client], Any], body: Any) -> None:
    with Client(URL, retries=0, transport=answering(body)) as client, pytest.raises(Unreachable, match="no gateway"):
        call(client)


def test_the_same_for_asyncio() -> None:
    async def asked() -> None:
        async with AsyncClient(URL, retries=0, transport=answering({"nodes": [{}]})) as client:
            await client.nodes()

    with pytest.raises(Unreachable, match="no gateway"):
        asyncio.run(asked())


@pytest.mark.parametrize("after", ["\u00b2", "soon", "-1", ""])
def test_a_time_that_is_none_is_none(after: str) -> None:
    transport = answering({"msg": "no"}, 429, **{"Retry-After": after.encode("latin-1")})  # type: ignore[arg-type]
    with Client(URL, retries=0, transport=transport) as client, pytest.raises(Refused) as refused:
        client.nodes()
    assert refused.value.retry_after is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("HTTP_PROXY", "http://a:b:1"), ("ALL_PROXY", "socks4://127.0.0.1:1"), ("SSL_CERT_FILE", "/no/such/file")],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_environment_that_cannot_be_used_is_told(
    monkeypatch: pytest.MonkeyPatch, kind: Callable[..., object], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ClientError, match="the environment"):
        kind("https://gateway.example")
    kind("https://gateway.example", trust_env=False)


class _Other(BaseHTTPRequestHandler):
    """Another program, or another version, where the admin listener was."""

    def do_GET(self) -> None:
        body = (
            b'{"result_code": 200, "tasks": [{}], "nodes": [{}], "workspaces": [{}], "events": [{}], "findings": [{}]}'
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def other() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Other) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("command", ["tasks", "nodes", "workspaces", "events", "reload", "audit"])
def test_an_admin_listener_that_lies_ends_a_command_with_a_sentence(other: str, tmp_path: Path, command: str) -> None:
    (tmp_path / "token").write_text("secret")
    told = CliRunner().invoke(main, [command, "--admin", other, "--token-file", str(tmp_path / "token")])
    assert told.exit_code == Exit.UNREACHABLE, told.output
    assert "no admin listener of this version" in told.output
