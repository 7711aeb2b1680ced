"""Images on a real engine: progress, logins, registries that are away, and archives that are larger than any buffer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_twisted
from docker_bed import Bed, docker_bed
from docker_engine import SYSTEM_PATH
from docker_images import Image, archive, busybox_layer, random_layer
from docker_registry import PASSWORD, USERNAME, Registry
from engine_labs import TALKS, DockerLab, Lab, pieces, ticking
from processes import ROOT, find_free_port
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from ngpu.containers import RegistryLogin
from ngpu.errors import EngineRefused

MIB = 1 << 20


@pytest_twisted.async_yield_fixture
async def lab(bed: Bed) -> AsyncIterator[Lab]:
    opened = DockerLab(bed, "unix", reactor)
    yield opened
    await opened.end()


@pytest.fixture
def private(bed: Bed) -> Iterator[Registry]:
    """A registry that wants a login."""
    registry = Registry(bed.folder / f"private{find_free_port()}", "127.0.0.1", find_free_port(), login=True)
    registry.start(SYSTEM_PATH)
    yield registry
    registry.stop()


class TestPull:
    @pytest_twisted.ensureDeferred
    async def test_progress_goes_by_the_layers_bytes(self, lab: Lab, bed: Bed) -> None:
        layers = [busybox_layer(), *(random_layer(size * MIB, size) for size in (20, 12, 7))]
        pinned = bed.registry.push(f"{lab.fleet}big:1", layers)
        shares: list[float] = []
        with bed.registry.slowed():  # else a quiet machine has it between two of Docker's words
            assert await lab.engine.pull(pinned, None, shares.append) == pinned
        assert shares == sorted(set(shares))
        assert shares[-1] == 1.0
        assert len([share for share in shares if 0.05 < share < 0.95]) >= 5
        bed.engines[0].docker("rmi", pinned)

    @pytest_twisted.ensureDeferred
    async def test_whoever_reads_logs_on_and_on_takes_no_place_from_pulls(self, lab: Lab, bed: Bed) -> None:
        await lab.engine.create(lab.spec(await lab.image(), TALKS))
        await lab.engine.start(lab.name())
        readers = [lab.engine.logs(lab.name(), 1, True) for _ in range(20)]
        for reader in readers:
            assert await anext(reader)
        pinned = bed.registry.push(f"{lab.fleet}other:1", [busybox_layer(), random_layer(1000, 5)])
        pulling = Deferred.fromCoroutine(lab.engine.pull(pinned, None, lambda share: None))
        assert await pulling.addTimeout(15, lab.clock) == pinned
        for reader in readers:
            await reader.aclose()

    @pytest_twisted.ensureDeferred
    async def test_layers_that_are_there_already_do_not_count(self, lab: Lab, bed: Bed) -> None:
        base = random_layer(8 * MIB, 1)
        first = bed.registry.push(f"{lab.fleet}a:1", [base])
        second = bed.registry.push(f"{lab.fleet}b:1", [base, random_layer(4 * MIB, 2)])
        await lab.engine.pull(first, None, lambda share: None)
        shares: list[float] = []
        with bed.registry.slowed():
            await lab.engine.pull(second, None, shares.append)
        assert shares[0] < 0.5
        assert shares == sorted(set(shares))

    @pytest_twisted.ensureDeferred
    async def test_what_is_there_needs_no_registry(self, lab: Lab, bed: Bed, private: Registry) -> None:
        login = RegistryLogin(USERNAME, PASSWORD)
        private.push("x:1", [busybox_layer()])
        pinned = await lab.engine.resolve(f"{private.host}/x:1", login)
        await lab.engine.pull(pinned, login, lambda share: None)
        private.stop()
        assert await lab.engine.pull(pinned, None, lambda share: None) == pinned

    @pytest.mark.parametrize("login", [None, RegistryLogin("x", "y")], ids=["none", "wrong"])
    @pytest_twisted.ensureDeferred
    async def test_a_login_is_needed(self, lab: Lab, private: Registry, login: RegistryLogin | None) -> None:
        pinned = private.push("x:1", [busybox_layer(lab.fleet)])
        with pytest.raises(EngineRefused, match=r"refuses the login, or wants one: look at `registries`"):
            await lab.engine.resolve(f"{private.host}/x:1", login)
        with pytest.raises(EngineRefused, match=r"refuses the login, or wants one: look at `registries`"):
            await lab.engine.pull(pinned, login, lambda share: None)

    @pytest_twisted.ensureDeferred
    async def test_the_users_own_docker_logins_are_not_used(
        self, lab: Lab, private: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        home = tmp_path_factory.mktemp("home")
        entry = f'{{"auths": {{"{private.host}": {{"auth": "cHVsbGVyOmxldC1tZS1pbg=="}}}}}}'
        (home / "config.json").write_text(entry)
        monkeypatch.setenv("DOCKER_CONFIG", str(home))
        private.push("x:1", [busybox_layer()])
        with pytest.raises(EngineRefused, match="refuses the login"):
            await lab.engine.resolve(f"{private.host}/x:1", None)

    @pytest_twisted.ensureDeferred
    async def test_a_registry_that_is_away(self, lab: Lab, free_port: int) -> None:
        gone = f"127.0.0.1:{free_port}/x"
        with pytest.raises(EngineRefused, match=f"the registry of {gone}:1 cannot be reached from the machine"):
            await lab.engine.resolve(f"{gone}:1", None)
        with pytest.raises(EngineRefused, match="cannot be reached from the machine"):
            await lab.engine.pull(f"{gone}@sha256:{'0' * 64}", None, lambda share: None)

    @pytest_twisted.ensureDeferred
    async def test_a_name_that_is_none(self, lab: Lab) -> None:
        with pytest.raises(EngineRefused, match="Upper/Case is no name of an image"):
            await lab.engine.resolve("Upper/Case", None)


class TestLoad:
    @pytest_twisted.ensureDeferred
    async def test_progress_goes_by_its_bytes(self, lab: Lab) -> None:
        data = archive(Image([busybox_layer(), random_layer(30 * MIB, 3)]))
        shares: list[float] = []
        await lab.engine.load(pieces(data), len(data), shares.append)
        assert shares == sorted(set(shares))
        assert len([share for share in shares if share < 0.7]) > 20
        assert shares[-1] == 1.0

    @pytest_twisted.ensureDeferred
    async def test_it_is_read_at_the_engines_pace(self, lab: Lab, bed: Bed) -> None:
        data = archive(Image([busybox_layer(), random_layer(64 * MIB, 4)]))
        read = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal read
            async for piece in pieces(data):
                read += len(piece)
                yield piece

        await lab.engine.info()
        bed.engines[0].hang()
        try:
            loading = Deferred.fromCoroutine(lab.engine.load(counted(), len(data), lambda share: None))
            await ticking(reactor, 1.0)
            assert read < 4 * MIB  # what fits into a socket's buffers
        finally:
            bed.engines[0].go_on()
        assert (await loading).startswith("sha256:")
        assert read == len(data)

    @pytest_twisted.ensureDeferred
    async def test_given_up_in_the_middle(self, lab: Lab) -> None:
        data = archive(Image([busybox_layer(), random_layer(30 * MIB, 5)]))
        halfway: Deferred[None] = Deferred()

        def told(share: float) -> None:
            if share > 0.2 and not halfway.called:
                halfway.callback(None)

        loading = Deferred.fromCoroutine(lab.engine.load(pieces(data), len(data), told))
        await halfway
        loading.cancel()
        with pytest.raises(CancelledError):
            await loading
        assert (await lab.engine.load(pieces(data), len(data), lambda share: None)).startswith("sha256:")

    @pytest_twisted.ensureDeferred
    async def test_a_packed_one(self, lab: Lab) -> None:
        import gzip

        data = gzip.compress(archive(Image([busybox_layer(lab.fleet)])), 1)
        assert (await lab.engine.load(pieces(data), len(data), lambda share: None)).startswith("sha256:")

    @pytest_twisted.ensureDeferred
    async def test_several_tags_of_one_image(self, lab: Lab, bed: Bed) -> None:
        image = await lab.engine.load(pieces(lab.archive), None, lambda share: None)
        for tag in ("one", "two"):
            bed.engines[0].docker("tag", image, f"{lab.fleet}:{tag}")
        saved = bed.folder / f"{lab.fleet}.tar"
        bed.engines[0].docker("save", "-o", str(saved), f"{lab.fleet}:one", f"{lab.fleet}:two")
        assert await lab.engine.load(pieces(saved.read_bytes()), None, lambda share: None) == image
        saved.unlink()

    def test_a_large_one_takes_no_memory_and_no_disk(self, bed: Bed) -> None:
        child = [sys.executable, str(ROOT / "tests/engines/loading_child.py"), bed.engines[0].url, "200"]
        done = subprocess.run(
            child, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests"}
        )
        assert done.returncode == 0, done.stderr
        grown, written, image = done.stdout.split()
        assert float(grown) < 24, f"{grown} MiB more"
        assert int(written) < MIB, f"{written} bytes written to disk"
        assert int(bed.engines[0].docker("inspect", "--format", "{{.Size}}", image)) == 200 * MIB
        bed.engines[0].docker("rmi", image)


@pytest_twisted.ensureDeferred
async def test_a_full_disk(bed: Bed) -> None:
    with docker_bed(1, disk="50m") as small:
        lab = DockerLab(small, "unix", reactor)
        big = [busybox_layer(), random_layer(40 * MIB, 8)]
        with pytest.raises(EngineRefused, match="disk is full: free some there"):
            await lab.engine.pull(small.registry.push("big:1", big), None, lambda share: None)
        data = archive(Image(big))
        with pytest.raises(EngineRefused, match="disk is full: free some there"):
            await lab.engine.load(pieces(data), len(data), lambda share: None)
        await lab.engine.create(lab.spec(await lab.image()))  # it serves on
        await lab.end()
