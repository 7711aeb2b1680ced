"""What every `IContainerEngine` does. A new engine is entered in ``LABS``; nothing here changes for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted
from docker_images import Image, archive, tar_of
from engine_labs import FAILS, NO_SUCH, PRINTS, TALKS, DockerLab, FakeLab, Lab, pieces
from swarm_bed import SwarmLab
from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from ngpu.containers import COPY, FLEET, ContainerState, IContainerEngine
from ngpu.errors import EngineRefused, EngineUnreachable, FetchFailed

LABS: dict[str, Callable[[Any, pytest.FixtureRequest], Lab]] = {
    "fake": lambda clock, request: FakeLab(clock),
    "docker": lambda clock, request: DockerLab(request.getfixturevalue("bed"), "unix", clock),
    "docker over tls": lambda clock, request: DockerLab(request.getfixturevalue("bed"), "tcp", clock),
    "swarm": lambda clock, request: SwarmLab(request.getfixturevalue("swarm_bed"), "unix", clock),
    "swarm over tls": lambda clock, request: SwarmLab(request.getfixturevalue("swarm_bed"), "tcp", clock),
}
ONE_WAY = {name: LABS[name] for name in ("fake", "docker", "swarm over tls")}
"""For what is asked and answered whole: how an engine is reached matters where bytes flow, come late, or break off."""

LAYER = tar_of({"a": b"a"})


@pytest_twisted.async_yield_fixture(params=LABS.values(), ids=LABS.keys())
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    from twisted.internet import reactor

    opened = request.param(reactor, request)
    yield opened
    await opened.end()


def nothing(share: float) -> None:
    """Progress that nobody looks at."""


@pytest_twisted.ensureDeferred
async def test_it_is_an_engine_and_says_what_it_is(lab: Lab) -> None:
    assert verifyObject(IContainerEngine, lab.engine)
    info = await lab.engine.info()
    assert info.version
    assert info.memory > 1 << 20


class TestImages:
    @pytest_twisted.ensureDeferred
    async def test_a_reference_gets_its_digest_and_one_with_a_digest_stays(self, lab: Lab) -> None:
        pinned = await lab.engine.resolve(lab.reference, None)
        assert pinned.startswith(lab.reference.rpartition(":")[0] + "@sha256:")
        assert len(pinned.rpartition(":")[2]) == 64
        assert await lab.engine.resolve(pinned, None) == pinned
        assert await lab.engine.resolve(lab.reference, None) == pinned

    @pytest_twisted.ensureDeferred
    async def test_a_reference_that_the_registry_does_not_have(self, lab: Lab) -> None:
        with pytest.raises(EngineRefused, match="no image") as caught:
            await lab.engine.resolve(lab.missing, None)
        assert lab.missing in str(caught.value)
        unknown = lab.missing.rpartition(":")[0] + "@sha256:" + "0" * 64
        with pytest.raises(EngineRefused):
            await lab.engine.pull(unknown, None, nothing)

    @pytest_twisted.ensureDeferred
    async def test_a_pull_brings_it_and_says_how_far_it_is(self, lab: Lab) -> None:
        pinned = await lab.engine.resolve(lab.reference, None)
        shares: list[float] = []
        image = await lab.engine.pull(pinned, None, shares.append)
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert await lab.engine.image(image) == image
        assert await lab.engine.image(pinned) == image
        again: list[float] = []
        assert await lab.engine.pull(pinned, None, again.append) == image
        assert again[-1] == 1.0

    @pytest_twisted.ensureDeferred
    async def test_what_is_not_there_is_no_image(self, lab: Lab) -> None:
        assert await lab.engine.image("sha256:" + "0" * 64) is None
        assert await lab.engine.image(lab.missing.rpartition(":")[0] + "@sha256:" + "0" * 64) is None

    @pytest.mark.parametrize("known", [True, False], ids=["size known", "size unknown"])
    @pytest_twisted.ensureDeferred
    async def test_an_archive_is_taken_in(self, lab: Lab, known: bool) -> None:
        if not lab.loads:
            with pytest.raises(EngineRefused, match="registry"):
                await lab.engine.load(pieces(lab.archive), None, nothing)
            return
        shares: list[float] = []
        size = len(lab.archive) if known else None
        image = await lab.engine.load(pieces(lab.archive), size, shares.append)
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert await lab.engine.image(image) == image
        assert await lab.engine.load(pieces(lab.archive, 1000), None, nothing) == image
        await lab.engine.create(lab.spec(image))
        assert (await lab.only()).state is ContainerState.CREATED

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"<html>not found</html>" * 100,
            tar_of({"notes.txt": b"no image here"}),
            archive(),
            archive(Image([LAYER], {}, "one:1"), Image([LAYER], {"Env": ["A=1"]}, "two:1")),
            archive(Image([LAYER]))[:600],
        ],
        ids=["empty", "a web page", "another tar", "no image", "two images", "cut"],
    )
    @pytest_twisted.ensureDeferred
    async def test_another_archive_is_refused(self, lab: Lab, data: bytes) -> None:
        with pytest.raises(EngineRefused, match="archive"):
            await lab.engine.load(pieces(data), len(data), nothing)

    @pytest_twisted.ensureDeferred
    async def test_what_reading_the_archive_raises_comes_through(self, lab: Lab) -> None:
        if not lab.loads:
            return

        async def cut() -> AsyncIterator[bytes]:
            yield lab.archive[:1000]
            raise FetchFailed("the other side has gone")

        with pytest.raises(FetchFailed, match="has gone"):
            await lab.engine.load(cut(), len(lab.archive), nothing)
        assert await lab.engine.load(pieces(lab.archive), None, nothing)

    @pytest_twisted.ensureDeferred
    async def test_a_load_can_be_given_up(self, lab: Lab) -> None:
        if not lab.loads:
            return
        endless: Deferred[None] = Deferred()

        async def hanging() -> AsyncIterator[bytes]:
            yield lab.archive[:1000]
            await endless

        loading = Deferred.fromCoroutine(lab.engine.load(hanging(), None, nothing))
        loading.cancel()
        with pytest.raises(CancelledError):
            await loading
        assert await lab.engine.containers(lab.fleet) == []


class TestContainers:
    @pytest_twisted.async_yield_fixture(params=ONE_WAY.values(), ids=ONE_WAY.keys())
    async def lab(self, request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
        from twisted.internet import reactor

        opened = request.param(reactor, request)
        yield opened
        await opened.end()

    @pytest_twisted.ensureDeferred
    async def test_created_started_and_removed(self, lab: Lab) -> None:
        assert list(await lab.engine.containers(lab.fleet)) == []
        spec = lab.spec(await lab.image(), ports={8080: 0}, env={"COLOUR": "blue"})
        await lab.engine.create(spec)
        created = await lab.only()
        assert (created.name, created.state, created.reason) == (spec.name, ContainerState.CREATED, "")
        assert dict(created.labels).items() >= dict(spec.labels).items()
        assert (created.started_at, created.restarts, dict(created.ports)) == (None, 0, {})
        await lab.engine.start(spec.name)
        running = await lab.running()
        assert (running.id, running.state, running.reason) == (created.id, ContainerState.RUNNING, "")
        assert 0 < running.ports[8080] < 65536
        assert abs(running.started_at - lab.clock.seconds()) < 60
        await lab.engine.remove(spec.name, 1.0)
        assert list(await lab.engine.containers(lab.fleet)) == []

    @pytest_twisted.ensureDeferred
    async def test_all_but_restart_may_be_asked_for_twice(self, lab: Lab) -> None:
        spec = lab.spec(await lab.image(), ports={8080: 0})
        await lab.engine.create(spec)
        created = await lab.only()
        await lab.engine.create(spec)
        assert await lab.only() == created
        await lab.engine.start(spec.name)
        running = await lab.running()
        await lab.engine.start(spec.name)
        await lab.engine.create(spec)
        assert await lab.only() == running
        await lab.engine.remove(spec.name, 1.0)
        await lab.engine.remove(spec.name, 1.0)
        assert list(await lab.engine.containers(lab.fleet)) == []

    @pytest_twisted.ensureDeferred
    async def test_a_restart_begins_anew(self, lab: Lab) -> None:
        spec = lab.spec(await lab.image(), ports={8080: 0})
        await lab.engine.create(spec)
        await lab.engine.start(spec.name)
        before = await lab.running()
        await lab.engine.restart(spec.name, 1.0)
        after = await lab.until(
            lambda each: each.state is ContainerState.RUNNING and each.started_at > before.started_at
        )
        assert after.id == before.id

    @pytest_twisted.ensureDeferred
    async def test_only_those_of_the_fleet_are_seen(self, lab: Lab) -> None:
        image = await lab.image()
        other = lab.spec(image, copy="b", labels={FLEET: lab.fleet + "x", COPY: "b"})
        await lab.engine.create(lab.spec(image))
        await lab.engine.create(other)
        assert [container.name for container in await lab.engine.containers(lab.fleet)] == [lab.name()]
        assert [container.name for container in await lab.engine.containers(lab.fleet + "x")] == [other.name]
        with pytest.raises(EngineRefused, match=r"taken.*not of this fleet"):
            await lab.engine.create(lab.spec(image, copy="b"))
        await lab.engine.remove(other.name, 0.0)

    @pytest_twisted.ensureDeferred
    async def test_an_image_has_to_be_there(self, lab: Lab) -> None:
        missing = "sha256:" + "0" * 64
        with pytest.raises(EngineRefused, match=f"{missing} is not on this machine"):
            await lab.engine.create(lab.spec(missing))
        assert list(await lab.engine.containers(lab.fleet)) == []

    @pytest.mark.parametrize("call", ["start", "restart"])
    @pytest_twisted.ensureDeferred
    async def test_what_is_not_there_cannot_be_started(self, lab: Lab, call: str) -> None:
        grace = () if call == "start" else (1.0,)
        with pytest.raises(EngineRefused, match="there is no container"):
            await getattr(lab.engine, call)(lab.name("nobody"), *grace)

    @pytest_twisted.ensureDeferred
    async def test_a_command_that_is_not_in_the_image(self, lab: Lab) -> None:
        await lab.engine.create(lab.spec(await lab.image(), NO_SUCH))
        with suppress(EngineRefused):  # an engine with an init starts that one, which then finds no command
            await lab.engine.start(lab.name())
        stuck = await lab.until(lambda container: container.reason != "")
        assert stuck.state is not ContainerState.RUNNING
        assert "the command cannot be started" in stuck.reason

    @pytest_twisted.ensureDeferred
    async def test_a_port_of_the_machine_that_is_taken(self, lab: Lab) -> None:
        image = await lab.image()
        await lab.engine.create(lab.spec(image, ports={8080: 0}))
        await lab.engine.start(lab.name())
        taken = (await lab.running()).ports[8080]
        second = lab.spec(image, copy="b", ports={8080: taken})
        await lab.engine.create(second)
        assert f"port {taken} of the machine is taken" in await lab.refused(second.name)

    @pytest_twisted.ensureDeferred
    async def test_one_that_ends_is_started_again_and_says_why_it_ended(self, lab: Lab) -> None:
        await lab.engine.create(lab.spec(await lab.image(), FAILS))
        await lab.engine.start(lab.name())
        ended = await lab.until(lambda container: container.restarts > 0 and container.reason != "")
        assert ended.state is ContainerState.RESTARTING
        assert "exit code 3" in ended.reason


class TestLogs:
    @pytest.mark.parametrize(("tail", "lines"), [(0, []), (2, [4, 5]), (100, [1, 2, 3, 4, 5])])
    @pytest_twisted.ensureDeferred
    async def test_the_last_lines(self, lab: Lab, tail: int, lines: list[int]) -> None:
        await lab.engine.create(lab.spec(await lab.image(), PRINTS))
        await lab.engine.start(lab.name())
        await lab.running()
        wanted = b"".join(b"line %d\n" % line for line in range(1, 6))
        while b"".join([piece async for piece in lab.engine.logs(lab.name(), 100, False)]) != wanted:
            assert (await lab.only()).state is ContainerState.RUNNING
        printed = b"".join([piece async for piece in lab.engine.logs(lab.name(), tail, False)])
        assert printed == b"".join(b"line %d\n" % line for line in lines)

    @pytest_twisted.ensureDeferred
    async def test_following_goes_on_until_it_is_closed(self, lab: Lab) -> None:
        await lab.engine.create(lab.spec(await lab.image(), TALKS))
        await lab.engine.start(lab.name())
        await lab.running()
        heard = b""
        following = lab.engine.logs(lab.name(), 1, True)
        async for piece in following:
            heard += piece
            if heard.count(b"more\n") >= 3:
                break
            if isinstance(lab, FakeLab):
                lab.engine.say(lab.name(), b"more\n")
        await following.aclose()
        assert heard.replace(b"more\n", b"") == b""

    @pytest_twisted.ensureDeferred
    async def test_following_ends_with_the_container(self, lab: Lab) -> None:
        await lab.engine.create(lab.spec(await lab.image(), PRINTS))
        await lab.engine.start(lab.name())
        await lab.running()
        following = lab.engine.logs(lab.name(), 100, True)
        heard = await anext(following)
        removing = Deferred.fromCoroutine(lab.engine.remove(lab.name(), 0.0))
        async for piece in following:
            heard += piece
        await removing
        assert heard.startswith(b"line 1\n")

    @pytest_twisted.ensureDeferred
    async def test_of_nobody(self, lab: Lab) -> None:
        with pytest.raises(EngineRefused, match="there is no container"):
            await anext(lab.engine.logs(lab.name("nobody"), 10, False))


@pytest_twisted.ensureDeferred
async def test_a_closed_engine_answers_nobody(lab: Lab) -> None:
    engine = lab.engine
    await engine.close()
    with pytest.raises(EngineUnreachable, match="closed"):
        await engine.containers(lab.fleet)
    with pytest.raises(EngineUnreachable, match="closed"):
        await engine.info()
    lab.end = engine.close  # type: ignore[method-assign]
