"""Servers that are no Docker engine, or a broken one: each costs its own calls, in bounded time and memory."""

from __future__ import annotations

import time

import pytest
import pytest_twisted
from odd_daemon import VERSION, at_port, odd_daemon, ok

from ngpu.errors import EngineError, EngineRefused, EngineUnreachable

REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n"
LIES = {
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "html": ok(b"<html>"),
    "a list": ok(b"[1]"),
    "a number": ok(b"1"),
    "null": ok(b"null"),
    "no version": ok(b"{}"),
    "odd version": ok(b'{"ApiVersion": "x.y"}'),
    "version of another kind": ok(b'{"ApiVersion": 1.41}'),
    "bad utf-8": ok(b'{"ApiVersion": "\xff\xfe"}'),
    "deep": ok(b"[" * 100_000),
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "odd length": b"HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n",
    "odd chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "packed": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "status 999": b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n",
    "many fields": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
}
CONTAINER = b'{"Id":"a","Name":"/n","Config":{"Labels":{}},"NetworkSettings":{},"RestartCount":0,"State":%s}'
ODD_CONTAINERS = {
    "no list": (b'{"a": 1}',),
    "no id": (b"[{}]",),
    "no state": (b'[{"Id":"a"}]', b'{"Id":"a"}'),
    "odd state": (b'[{"Id":"a"}]', CONTAINER % b'{"Status":"dreaming"}'),
    "odd time": (b'[{"Id":"a"}]', CONTAINER % b'{"Status":"running","StartedAt":"yesterday"}'),
    "odd code": (b'[{"Id":"a"}]', CONTAINER % b'{"Status":"exited","ExitCode":"one"}'),
    "odd name": (b'[{"Id":"a"}]', b'{"Id":"a","Name":7,"State":{"Status":"exited"}}'),
    "odd labels": (b'[{"Id":"a"}]', b'{"Id":"a","Name":"n","Config":{"Labels":{"a":1}},"State":{"Status":"exited"}}'),
}


class TestLying:
    @pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
    @pytest_twisted.ensureDeferred
    async def test_what_is_no_docker_engine(self, lie: bytes) -> None:
        with odd_daemon(lie) as daemon:
            engine = at_port(daemon.port)
            for call in (engine.info, lambda: engine.containers("f"), lambda: engine.start("x")):
                with pytest.raises(EngineError):
                    await call()
            await engine.close()

    @pytest.mark.parametrize("bodies", ODD_CONTAINERS.values(), ids=ODD_CONTAINERS.keys())
    @pytest_twisted.ensureDeferred
    async def test_containers_that_are_none(self, bodies: tuple[bytes, ...]) -> None:
        with odd_daemon(VERSION, *map(ok, bodies)) as daemon:
            engine = at_port(daemon.port)
            with pytest.raises(EngineUnreachable, match="no Docker engine, or a broken one"):
                await engine.containers("f")
            await engine.close()

    @pytest_twisted.ensureDeferred
    async def test_it_is_not_followed_elsewhere(self) -> None:
        with odd_daemon(ok(b"{}")) as elsewhere, odd_daemon(VERSION, REDIRECT % elsewhere.port) as daemon:
            engine = at_port(daemon.port)
            with pytest.raises(EngineUnreachable):
                await engine.info()
            await engine.close()
            assert elsewhere.asked == []

    @pytest.mark.parametrize(
        ("head", "endless"),
        [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", b"[" * 65536),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\n", b"[" * 65536),
            (b"HTTP/1.1 200 OK\r\nA: ", b"b" * 65536),
        ],
        ids=["length", "chunked", "head"],
    )
    @pytest_twisted.ensureDeferred
    async def test_an_endless_answer(self, head: bytes, endless: bytes) -> None:
        with odd_daemon(VERSION, head, endless=endless) as daemon:
            engine = at_port(daemon.port, timeout="5s")
            with pytest.raises(EngineUnreachable):
                await engine.info()
            pulling = engine.pull("x@sha256:" + "0" * 64, None, lambda share: None)
            with pytest.raises(EngineError):
                await pulling
            await engine.close()

    @pytest_twisted.ensureDeferred
    async def test_a_trickle(self) -> None:
        with odd_daemon(VERSION, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{") as daemon:
            engine = at_port(daemon.port)
            began = time.monotonic()
            with pytest.raises(EngineUnreachable, match="no answer within 1 s"):
                await engine.info()
            assert time.monotonic() - began < 4
            await engine.close()

    @pytest_twisted.ensureDeferred
    async def test_too_old(self) -> None:
        with odd_daemon(ok(b'{"ApiVersion":"1.30","MinAPIVersion":"1.12"}')) as daemon:
            engine = at_port(daemon.port)
            with pytest.raises(EngineRefused, match=r"speaks version 1.30 .* update Docker there to 19.03"):
                await engine.info()
            await engine.close()

    @pytest_twisted.ensureDeferred
    async def test_the_log_of_a_container_without_framing(self) -> None:
        found = ok(b'{"Config":{"Labels":{"ngpu.fleet":"f"}}}')
        with odd_daemon(VERSION, found, ok(b"plain text, no framing")) as daemon:
            engine = at_port(daemon.port)
            with pytest.raises(EngineUnreachable, match="no Docker engine"):
                await anext(engine.logs("x", 10, False))
            await engine.close()
