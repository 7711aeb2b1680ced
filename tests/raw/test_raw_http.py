"""A raw call reaches the worker as its client sent it, and the reply the client as the worker made it; nothing more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from raw_rig import HOLDER, ID, NO_HOLDER, OK, OTHER, Rig, configuration, eventually, request, rig_of, workspace

KEY = "k-4711"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        keyed = workspace(OTHER, *ports, keys=[DIGEST], raw={"key_in_query": True, "body_limit": "1KiB"}, gate="ainn")
        return configuration(workspace(ID, *ports), keyed)

    with rig_of(tmp_path_factory.mktemp("raw"), 1, make) as one:
        yield one


@pytest.mark.parametrize(
    ("target", "reached"),
    [
        ("/proxy/sdapi/v1/x", "/sdapi/v1/x"),
        ("/proxy/8080/sdapi/v1/x", "/sdapi/v1/x"),
        ("/proxy/9090/x", "/x"),
        ("/proxy/7777/x", "/7777/x"),
        ("/proxy/08080/x", "/08080/x"),
        ("/proxy", "/"),
        ("/proxy/", "/"),
        ("/proxy/8080", "/"),
        ("/proxy?a=b", "/?a=b"),
        ("/proxy/x?", "/x?"),
        ("/proxy/a//b///c", "/a//b///c"),
        ("/proxy//a", "//a"),
        ("/proxy/%7Euser/a%20b;v=1,2!$&'()*+", "/%7Euser/a%20b;v=1,2!$&'()*+"),
        ("/proxy/x&taskID=1?q=%2F..%2F&&=&key=mine", "/x&taskID=1?q=%2F..%2F&&=&key=mine"),
        ("/proxy/schedulingTask?paramUrl=../x", "/schedulingTask?paramUrl=../x"),
    ],
)
def test_path_and_query_go_out_byte_for_byte(rig: Rig, target: str, reached: str) -> None:
    with rig.ask(target) as client:
        worker, head = rig.worker.take()
        assert head.line == f"GET {reached} HTTP/1.1"
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.head().status == 200


def test_what_only_begins_like_the_prefix_is_no_raw_call(rig: Rig) -> None:
    with rig.ask("/proxyx/y") as client:
        head = client.head()
        assert head.status == 404
        assert head.field("Ngpu-Status") is None


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_methods_and_bodies(rig: Rig, method: str) -> None:
    with rig.ask(method=method, body=b"\x00\xff body") as client:
        worker, head = rig.worker.take()
        assert head.line == f"{method} /x HTTP/1.1"
        assert head.field("content-length") == "7"
        assert worker.body(head) == b"\x00\xff body"
        worker.send(b"HTTP/1.1 418 Whatever\r\nContent-Length: 3\r\n\r\ntea")
        rig.worker.keep(worker)
        head = client.head()
        assert head.status == 418
        assert client.body(head) == b"tea"


def test_the_fields_of_a_request_that_cross(rig: Rig) -> None:
    sent = (
        "Cookie: a=b",
        "X-CaSe: One",
        "x-case: two",
        "Accept-Encoding: br",
        "Origin: http://gw.test",
        "Connection: keep-alive, X-Private",
        "X-Private: 1",
        "Keep-Alive: 5",
        "Proxy-Authorization: Basic x",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "Trailer: X-T",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "BtcAddress: ",
        "Token: t",
        "Forwarded: for=1.2.3.4",
        "X-Real-IP: 1.2.3.4",
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Host: evil.test",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Prefix: /evil",
        "X-Forwarded-Whatever: 1",
    )
    with rig.ask("/proxy/9090/x", *sent) as client:
        worker, head = rig.worker.take()
        assert head.fields == [
            ("Host", "gw.test"),
            ("Cookie", "a=b"),
            ("X-CaSe", "One"),
            ("x-case", "two"),
            ("Accept-Encoding", "br"),
            ("Origin", "http://gw.test"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Host", "gw.test"),
            ("X-Forwarded-Prefix", "/proxy/9090"),
        ]
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.head().status == 200


def test_the_fields_of_a_reply_that_cross(rig: Rig) -> None:
    with rig.ask() as client:
        worker, _ = rig.worker.take()
        worker.send(
            b"HTTP/1.1 200 OK\r\nServer: uvicorn\r\nDate: yesterday\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n"
            b"Connection: X-Private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nTrailer: X-T\r\n"
            b"Upgrade: h2c\r\nNgpu-Status: gateway\r\nNGPU-Task: forged\r\nContent-Encoding: br\r\n"
            b"Content-Length: 2\r\n\r\nok"
        )
        rig.worker.keep(worker)
        head = client.head()
        assert head.fields[:5] == [
            ("Server", "uvicorn"),
            ("Date", "yesterday"),
            ("Set-Cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("Content-Encoding", "br"),
        ]
        assert head.field("Ngpu-Status") == "worker"
        assert head.field("Ngpu-Task") != "forged"
        assert head.names == {
            *("server", "date", "set-cookie", "content-encoding", "ngpu-status", "ngpu-task", "content-length")
        }
        assert client.body(head) == b"ok"


@pytest.mark.parametrize(
    ("method", "reply", "length", "body"),
    [
        ("HEAD", b"200 OK\r\nContent-Length: 1234", "1234", b""),
        ("HEAD", b"200 OK\r\nTransfer-Encoding: chunked", None, b""),
        ("GET", b"204 No Content", None, b""),
        ("GET", b'304 Not Modified\r\nETag: "x"', None, b""),
        ("GET", b"200 OK\r\nContent-Length: 0", "0", b""),
        ("GET", b"302 Found\r\nLocation: http://127.0.0.1:1/admin\r\nContent-Length: 0", "0", b""),
    ],
)
def test_replies_without_a_body_leave_the_connection_in_order(
    rig: Rig, method: str, reply: bytes, length: str | None, body: bytes
) -> None:
    with rig.ask(method=method) as client:
        for another in (True, False):
            worker, _ = rig.worker.take()
            worker.send(b"HTTP/1.1 " + reply + b"\r\n\r\n")
            rig.worker.keep(worker)
            head = client.head()
            assert head.line.split(" ")[1].encode() == reply[:3]
            assert head.field("content-length") == length
            assert head.field("transfer-encoding") is None
            if another:
                client.send(request("/proxy/x", method=method))


def test_a_chunked_upload_stays_chunked_and_its_trailers_are_dropped(rig: Rig) -> None:
    with rig.connect() as client:
        client.send(request("/proxy/x", "Transfer-Encoding: chunked", "Trailer: X-T", method="POST"))
        client.send(b"5\r\nhello\r\n")
        worker, head = rig.worker.take()
        assert head.field("transfer-encoding") == "chunked" and "content-length" not in head.names
        assert worker.chunk() == b"hello"
        client.send(b"1;ext=1\r\n!\r\n0\r\nX-T: smuggled\r\n\r\n")
        assert worker.chunk() == b"!"
        assert worker.until(b"0\r\n\r\n") == b"0\r\n\r\n"
        worker.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"
        )
        rig.worker.keep(worker)
        head = client.head()
        assert head.field("transfer-encoding") == "chunked" and "trailer" not in head.names
        assert client.until(b"0\r\n\r\n") == b"2\r\nok\r\n0\r\n\r\n"


def test_an_http_1_0_client_gets_a_body_that_the_connections_end_ends(rig: Rig) -> None:
    with rig.ask(version="1.0") as client:
        worker, _ = rig.worker.take()
        worker.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        rig.worker.keep(worker)
        assert "transfer-encoding" not in client.head().names
        assert client.rest() == b"ok"


def test_an_http_1_0_worker_whose_end_is_the_connections(rig: Rig) -> None:
    with rig.ask() as client:
        worker, _ = rig.worker.take()
        worker.send(b"HTTP/1.0 200 OK\r\n\r\nall of it")
        worker.close()
        head = client.head()
        assert client.body(head) == b"all of it"


@pytest.mark.parametrize(
    "bytes_",
    [
        b"GET /proxy/../admin HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /proxy/8080/%2e%2e/x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /proxy/8080/a%2fb HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /proxy/8080/a%5cb HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /proxy/a\\b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /proxy/%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /proxy/x#y HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /proxy/x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /proxy/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\nGET /proxy/y HTTP/1.1\r\n\r\n",
        b"POST /proxy/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"POST /proxy/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"POST /proxy/x HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\nx",
        b"GET /proxy/x HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /proxy/x HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
        b"GET /proxy/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"CONNECT /proxy/x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"TRACE /proxy/x HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_two_servers_could_read_differently_reaches_no_worker(rig: Rig, bytes_: bytes) -> None:
    credential = b"\r\nAuthorization: " + ID.encode()
    line, _, rest = bytes_.partition(b"\r\n")
    with rig.connect() as client:
        client.send(line + credential + b"\r\n" + rest)
        assert client.rest().startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 "))
    assert rig.worker.idle()


def test_bytes_behind_a_broken_chunk_are_no_request_to_the_worker(rig: Rig) -> None:
    with rig.connect() as client:
        client.send(request("/proxy/x", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n")
        worker, _ = rig.worker.take()
        assert worker.until(b"hello\r\n")
        client.send(b"5\r\nhelloGET /proxy/evil HTTP/1.1\r\n\r\n")
        assert worker.gone()
        assert client.rest().startswith(b"HTTP/1.1 400 ")
    assert rig.worker.idle()


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"garbage\r\n\r\n",
    ],
)
def test_a_reply_that_cannot_be_passed_on_is_a_502_of_ours(rig: Rig, reply: bytes) -> None:
    client = rig.ask("/proxy/x", "Connection: Upgrade", "Upgrade: h2c")
    worker, head = rig.worker.take()
    assert "upgrade" not in head.names
    worker.send(reply)
    assert "the replica at" in rig.refused(client, 502)
    assert worker.gone()


def test_credentials(rig: Rig) -> None:
    assert "Authorization" in rig.refused(rig.ask(credential=None), 401)
    rig.refused(rig.ask(credential="nobody"), 401)
    rig.refused(rig.ask(credential=OTHER), 401)  # it has keys, so its id opens nothing
    assert "in the header Authorization only" in rig.refused(rig.ask(f"/proxy/x?key={ID}", credential=None), 401)
    rig.refused(rig.ask(f"/proxy/x?key={KEY}&key={KEY}", credential=None), 400)
    assert rig.worker.idle()


def test_a_key_in_the_query_is_taken_off_and_stands_in_no_log_and_no_record(rig: Rig) -> None:
    before = len(rig.log_lines())
    with rig.ask(
        f"/proxy/x?a=1&k%65y={KEY}&b=2", f"Referer: http://gw.test/proxy/?key={KEY}&c=3", credential=None
    ) as client:
        worker, head = rig.worker.take()
        assert head.line == "GET /x?a=1&b=2 HTTP/1.1"
        assert head.field("referer") == "http://gw.test/proxy/?c=3"
        worker.send(OK)
        rig.worker.keep(worker)
        task_id = client.head().field("Ngpu-Task")
    assert rig.record(str(task_id))["requrl"] == "/proxy/x?a=1&b=2"
    eventually(lambda: len(rig.log_lines()) > before, "a line in the log")
    assert KEY not in rig.gateway.log.read_text()
    with rig.ask(f"/proxy/x?key={KEY}", credential=KEY) as client:  # beside a header it is not passed on either
        worker, head = rig.worker.take()
        assert head.line == "GET /x HTTP/1.1"
        worker.send(OK)
        rig.worker.keep(worker)
        assert client.head().status == 200


def test_the_gate_looks_at_btcaddress(rig: Rig) -> None:
    assert "does not hold" in rig.refused(rig.ask("/proxy/x", f"BtcAddress: {NO_HOLDER}", credential=KEY), 403)
    rig.refused(rig.ask("/proxy/x", "BtcAddress: nonsense", credential=KEY), 400)
    assert rig.worker.idle()
    with rig.ask("/proxy/x", f"BtcAddress: {HOLDER}", credential=KEY) as client:
        worker, head = rig.worker.take()
        assert "btcaddress" not in head.names
        worker.send(OK)
        rig.worker.keep(worker)
        head = client.head()
    record = rig.ended(str(head.field("Ngpu-Task")))
    assert record["btcaddress"] == HOLDER


def test_a_body_over_the_limit_of_raw_calls(rig: Rig) -> None:
    rig.refused(rig.ask(method="POST", body=b"x" * 1025, credential=KEY), 413)
    assert rig.worker.idle()
    client = rig.connect()
    client.send(request("/proxy/x", "Transfer-Encoding: chunked", method="POST", credential=KEY))
    client.send(b"401\r\n" + b"x" * 1025 + b"\r\n0\r\n\r\n")
    rig.refused(client, 413)
    assert rig.worker.take()[0].gone()


def test_x_forwarded_for_of_an_ipv4_client_is_its_own_address(rig: Rig) -> None:
    wire = rig.connect()
    wire.send(request("/proxy/x", "X-Forwarded-For: 10.0.0.1, 10.0.0.2"))
    worker, head = rig.worker.take()
    assert head.field("X-Forwarded-For") == "127.0.0.1"
    worker.send(OK)
    rig.worker.keep(worker)
    assert wire.head().status == 200
    wire.close()
