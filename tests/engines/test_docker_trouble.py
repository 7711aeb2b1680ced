"""Engines that hang, are cut off and come back: each harms its own calls only."""

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
from odd_daemon import at_port, odd_daemon
from processes import ROOT
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList

from ngpu.containers import ContainerState
from ngpu.errors import EngineRefused, EngineUnreachable
from ngpu.interfaces import PluginContext
from ngpu.plugins.docker import docker


@contextmanager
def hanging(engine: Engine) -> Iterator[None]:
    engine.hang()
    try:
        yield
    finally:
        engine.go_on()


async def settled(*calls: Any) -> list[Any]:
    """What became of calls that run side by side."""
    results = await DeferredList([Deferred.fromCoroutine(call) for call in calls], consumeErrors=True)
    return [result for _, result in results]


async def answers(engine: Any) -> None:
    """See that one that goes on is heard of again: its first words may take longer than its callers wait."""
    until = time.monotonic() + 30
    while True:
        try:
            assert (await engine.info()).version
            return
        except EngineUnreachable:
            assert time.monotonic() < until, "it was not heard of again"


class TestHanging:
    @pytest_twisted.ensureDeferred
    async def test_calls_end_at_their_deadline_and_other_engines_answer_meanwhile(self, bed: Bed) -> None:
        hung = docker_engine(bed.engines[1], reactor, timeout="3s")
        well = docker_engine(bed.engines[2], reactor, timeout="5s")
        await well.info()
        with hanging(bed.engines[1]):
            began = time.monotonic()
            calls = [Deferred.fromCoroutine(hung.containers("f")) for _ in range(30)]
            await well.info()
            assert time.monotonic() - began < 2.9
            assert not any(call.called for call in calls)
            for call in calls:
                with pytest.raises(EngineUnreachable, match="no answer within 3 s"):
                    await call
            assert 2.9 < time.monotonic() - began < 6
            names = [thread.name for thread in threading.enumerate()]
            assert len([name for name in names if str(bed.engines[1].socket) in name]) <= 4
        await answers(hung)
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
        await answers(impatient)
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
