"""Engines that hang, are cut off, come back, or are none: each harms its own calls only."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from docker_bed import Bed
from docker_engine import Engine
from engine_labs import TALKS, DockerLab, docker_engine, pieces
from odd_daemon import VERSION, odd_daemon, ok
from processes import ROOT
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList

from ngpu.containers import ContainerState
from ngpu.errors import EngineError, EngineRefused, EngineUnreachable
from ngpu.interfaces import PluginContext
from ngpu.plugins.docker import docker


@contextmanager
def hanging(engine: Engine) -> Iterator[None]:
    engine.hang()
    try:
        yield
    finally:
        engine.go_on()


def at_port(port: int, **options: Any) -> Any:
    options = {"url": f"tcp://127.0.0.1:{port}", "timeout": "1s", **options}
    return docker.from_options(options, PluginContext(reactor, None, "."))


async def settled(*calls: Any) -> list[Any]:
    """What became of calls that run side by side."""
    results = await DeferredList([Deferred.fromCoroutine(call) for call in calls], consumeErrors=True)
    return [result for _, result in results]


class TestHanging:
    @pytest_twisted.ensureDeferred
    async def test_calls_end_at_their_deadline_and_other_engines_answer_meanwhile(self, bed: Bed) -> None:
        hung = docker_engine(bed.engines[1], reactor, timeout="1s")
        well = docker_engine(bed.engines[2], reactor, timeout="5s")
        await well.info()
        with hanging(bed.engines[1]):
            began = time.monotonic()
            calls = [Deferred.fromCoroutine(hung.containers("f")) for _ in range(30)]
            await well.info()
            assert time.monotonic() - began < 0.9
            for call in calls:
                with pytest.raises(EngineUnreachable, match="no answer within 1 s"):
                    await call
            assert 0.9 < time.monotonic() - began < 3
            names = [thread.name for thread in threading.enumerate()]
            assert len([name for name in names if str(bed.engines[1].socket) in name]) <= 4
        assert (await hung.info()).version
        await hung.close()
        await well.close()

    @pytest_twisted.ensureDeferred
    async def test_logs_and_pulls_of_it_end_too(self, bed: Bed) -> None:
        hung = docker_engine(bed.engines[1], reactor, timeout="1s", stall="2s")
        with hanging(bed.engines[1]):
            pulling = Deferred.fromCoroutine(hung.pull("x@sha256:" + "0" * 64, None, lambda share: None))
            with pytest.raises(EngineUnreachable, match="no answer within 1 s"):
                await anext(hung.logs("x", 10, True))
            with pytest.raises(EngineUnreachable, match="no answer in time"):
                await pulling
        await hung.close()

    @pytest_twisted.ensureDeferred
    async def test_a_call_that_was_given_up_is_not_made_later(self, bed: Bed) -> None:
        lab = DockerLab(bed, "unix", reactor)
        image = await lab.image()
        impatient = docker_engine(bed.engines[0], reactor, timeout="1s")
        with hanging(bed.engines[0]):
            asked = [impatient.create(lab.spec(image, copy=f"c{number}")) for number in range(12)]
            assert all(result.check(EngineUnreachable) for result in await settled(*asked))
        await impatient.info()
        # the four that had reached the daemon may have been carried out, those that waited for a thread may not
        assert len(await lab.engine.containers(lab.fleet)) <= 4
        await impatient.close()
        await lab.end()

    @pytest_twisted.ensureDeferred
    async def test_cancelling_frees_the_thread(self, bed: Bed) -> None:
        engine = docker_engine(bed.engines[1], reactor, timeout="60s")
        with hanging(bed.engines[1]):
            calls = [Deferred.fromCoroutine(engine.info()) for _ in range(4)]
            for call in calls:
                call.cancel()
                with pytest.raises(CancelledError):
                    await call
        began = time.monotonic()
        assert (await engine.info()).version
        assert time.monotonic() - began < 5
        await engine.close()

    def test_the_process_ends_though_a_call_hangs(self) -> None:
        script = (
            "import sys\n"
            "from twisted.internet import reactor\n"
            "from twisted.internet.defer import Deferred\n"
            "from ngpu.interfaces import PluginContext\n"
            "from ngpu.plugins.docker import docker\n"
            "options = {'url': 'tcp://127.0.0.1:' + sys.argv[1], 'timeout': '60s'}\n"
            "engine = docker.from_options(options, PluginContext(reactor, None, '.'))\n"
            "call = Deferred.fromCoroutine(engine.info())\n"
            "call.addErrback(lambda failure: print(failure.getErrorMessage()))\n"
            "reactor.callLater(0.5, lambda: Deferred.fromCoroutine(engine.close()).addBoth(lambda _: reactor.stop()))\n"
            "reactor.run()\n"
        )
        with odd_daemon(None) as silent:
            began = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-c", script, str(silent.port)], cwd=ROOT, capture_output=True, text=True, timeout=30
            )
            assert time.monotonic() - began < 15
        assert done.returncode == 0, done.stderr
        assert "closed" in done.stdout


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("way", ["unix", "tcp"])
@pytest_twisted.ensureDeferred
async def test_nothing_stays_open(bed: Bed, way: str) -> None:
    lab = DockerLab(bed, way, reactor)
    await lab.engine.create(lab.spec(await lab.image(), TALKS))
    await lab.engine.start(lab.name())
    for round_number in range(20):
        if round_number == 2:
            before = open_files()
        logs = lab.engine.logs(lab.name(), 1, True)
        await anext(logs)
        await logs.aclose()
        with pytest.raises(EngineRefused):
            await lab.engine.start("nobody")
        loading = Deferred.fromCoroutine(lab.engine.load(pieces(lab.archive), None, lambda share: None))
        if round_number % 2:
            loading.cancel()
        await loading.addErrback(lambda failure: failure.trap(CancelledError))
    assert open_files() <= before + 4
    await lab.end()


class TestCutOff:
    @pytest_twisted.ensureDeferred
    async def test_killed_and_started_again(self, bed: Bed) -> None:
        lab = DockerLab(bed, "unix", reactor)
        await lab.engine.create(lab.spec(await lab.image(), ports={8080: 0}))
        await lab.engine.start(lab.name())
        before = await lab.only()
        bed.engines[0].kill()
        try:
            with pytest.raises(EngineUnreachable, match=r"no connection to the engine at unix://"):
                await lab.engine.containers(lab.fleet)
        finally:
            bed.engines[0].start()
        again = await lab.until(lambda container: container.state is ContainerState.RUNNING)
        assert again.id == before.id
        assert again.started_at > before.started_at
        await lab.end()

    @pytest_twisted.ensureDeferred
    async def test_logs_end_with_the_engine(self, bed: Bed) -> None:
        lab = DockerLab(bed, "tcp", reactor)
        await lab.engine.create(lab.spec(await lab.image(), ("/bin/busybox", "sh", "-c", "echo up; sleep 1000")))
        await lab.engine.start(lab.name())
        logs = lab.engine.logs(lab.name(), 10, True)
        assert await anext(logs) == b"up\n"
        bed.engines[0].kill()
        try:
            with pytest.raises((EngineUnreachable, StopAsyncIteration)):
                while True:
                    await anext(logs)
        finally:
            bed.engines[0].start()
        await lab.end()

    @pytest_twisted.ensureDeferred
    async def test_nobody_there(self, free_port: int) -> None:
        gone = at_port(free_port)
        with pytest.raises(EngineUnreachable, match="refused"):
            await gone.info()
        await gone.close()
        missing = docker.from_options({"url": "unix:///nobody/has.sock"}, PluginContext(reactor, None, "."))
        with pytest.raises(EngineUnreachable, match="No such file"):
            await missing.info()
        await missing.close()


@pytest.mark.parametrize("config", ["[]", '{"auths": {"x": 7}}', '{"proxies": 3}'])
@pytest_twisted.ensureDeferred
async def test_a_broken_file_of_dockers_client(
    bed: Bed, config: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(config)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    engine = docker_engine(bed.engines[0], reactor)
    with pytest.raises(EngineRefused, match=r"config\.json of Docker's own client.*repair it"):
        await engine.info()
    await engine.close()


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
            assert time.monotonic() - began < 2
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
