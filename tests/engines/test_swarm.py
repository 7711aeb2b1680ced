"""A real Docker Swarm of three machines: what it does beyond the contract that all engines keep."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import requests
from docker_bed import Bed
from docker_engine import SYSTEM_PATH
from docker_images import SHELL, busybox_layer
from docker_registry import PASSWORD, USERNAME, Registry
from engine_labs import ticking
from processes import find_free_port
from swarm_bed import GPUS, SwarmLab, machine_id, swarm_engine, wait_for_machines

from ngpu.containers import Container, ContainerHealth, ContainerState, RegistryLogin
from ngpu.errors import ConfigError, EngineRefused
from ngpu.interfaces import PluginContext
from ngpu.plugins.swarm import swarm

GIB = 1 << 30
NO_GPU_LEFT = "no machine of the Swarm can take it: 3 have too few free GPUs or too little free memory"
SLEEPS = (*SHELL, "/bin/busybox tr '\\0' '\\n' < /proc/1/environ; exec /bin/busybox sleep 1000")


@pytest_twisted.async_yield_fixture
async def lab(swarm_bed: Bed) -> AsyncIterator[SwarmLab]:
    """The whole Swarm."""
    from twisted.internet import reactor

    opened = SwarmLab(swarm_bed, "unix", reactor, constraints=[])
    yield opened
    await opened.end()


async def started(lab: SwarmLab, copies: str, command: tuple[str, ...] = SLEEPS, **fields: Any) -> None:
    """A container for each letter."""
    image = await lab.image()
    for copy in copies:
        await lab.engine.create(lab.spec(image, command, copy, **fields))
        await lab.engine.start(lab.name(copy))


async def until(
    lab: SwarmLab, holds: Callable[[dict[str, Container]], Any], within: float = 30.0
) -> dict[str, Container]:
    """The containers of the test by their letter, once something holds of them."""
    end = lab.clock.seconds() + within
    while True:
        found = {each.name[-1]: each for each in await lab.engine.containers(lab.fleet)}
        if holds(found):
            return found
        assert lab.clock.seconds() < end, f"not within {within:g} s: {found}"
        await ticking(lab.clock, 0.1)


def running(found: dict[str, Container]) -> list[Container]:
    return [each for each in found.values() if each.state is ContainerState.RUNNING]


async def printed(lab: SwarmLab, copy: str = "a") -> str:
    return b"".join([piece async for piece in lab.engine.logs(lab.name(copy), 1000, False)]).decode()


@pytest_twisted.ensureDeferred
async def test_it_says_what_all_of_its_machines_have(lab: SwarmLab) -> None:
    info = await lab.engine.info()
    assert (info.machines, info.gpus) == (3, 3 * len(GPUS)) and info.memory > 3 * GIB


@pytest_twisted.ensureDeferred
async def test_no_gpu_is_given_twice_and_one_that_waits_for_one_says_so(lab: SwarmLab) -> None:
    """GPUs of a machine are generic resources: its runtime is told which ones in a variable of the environment."""
    await started(lab, "abcd", gpus=2, gpu_ids=("0", "1"))
    found = await until(lab, lambda found: len(running(found)) == 3 and any(each.reason for each in found.values()))
    assert {each.machine for each in running(found)} == {"0xM1", "0xM2", "0xM3"}
    assert {each.host for each in running(found)} == {engine.host for engine in lab.bed.engines}
    (waiting,) = (each for each in found.values() if each.state is not ContainerState.RUNNING)
    assert (waiting.state, waiting.reason, waiting.host) == (ContainerState.PENDING, NO_GPU_LEFT, "")
    one = running(found)[0].name[-1]
    assert re.search("^DOCKER_RESOURCE_NVIDIA-GPU=GPU-a,GPU-b$", await printed(lab, one), re.MULTILINE)
    await lab.engine.remove(lab.name(one), 0.0)
    found = await until(lab, lambda found: len(running(found)) == 3)
    assert found[waiting.name[-1]].reason == ""


@pytest_twisted.ensureDeferred
async def test_what_a_machine_publishes_is_reached_there(lab: SwarmLab) -> None:
    await started(lab, "a", ("/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"), ports={8080: 0})
    (one,) = running(await until(lab, running))
    assert requests.get(f"http://{one.host}:{one.ports[8080]}/", timeout=5).text == "hello"


@pytest_twisted.ensureDeferred
async def test_a_pinned_port_goes_round_the_machines(lab: SwarmLab) -> None:
    await started(lab, "abcd", ports={8080: 18999})
    found = await until(lab, lambda found: len(running(found)) == 3 and any(each.reason for each in found.values()))
    assert {each.machine for each in running(found)} == {"0xM1", "0xM2", "0xM3"}
    assert [dict(each.ports) for each in running(found)] == [{8080: 18999}] * 3
    (waiting,) = (each for each in found.values() if each.state is not ContainerState.RUNNING)
    assert waiting.reason == "no machine of the Swarm can take it: 3 have the port in use"


@pytest_twisted.ensureDeferred
async def test_what_ran_on_a_machine_that_is_gone_runs_on_another_one(lab: SwarmLab) -> None:
    """The Swarm sees to it; the container stays the same one, and says where it is now."""
    await started(lab, "abc", ports={8080: 0}, gpus=1)
    before = await until(lab, lambda found: len(running(found)) == 3)
    lost, engine = next(
        (letter, engine)
        for letter, each in before.items()
        for engine in lab.bed.engines[1:]
        if each.host == engine.host
    )
    engine.kill()
    try:
        moved = (
            await until(
                lab,
                lambda found: found[lost].state is ContainerState.RUNNING and found[lost].host != before[lost].host,
                within=90.0,
            )
        )[lost]
        assert (moved.id, moved.name) == (before[lost].id, before[lost].name)
        assert moved.machine not in ("", before[lost].machine)
        assert (await lab.engine.info()).machines == 2
    finally:
        engine.start()
        wait_for_machines(lab.bed)
    assert len(running(await until(lab, lambda found: len(running(found)) == 3))) == 3


@pytest_twisted.ensureDeferred
async def test_limits_user_and_folders_are_what_the_spec_says(lab: SwarmLab) -> None:
    script = """
        run() { /bin/busybox "$@"; }
        run id; run cat /proc/self/status; run df /dev/shm
        run echo written > /scratch/w; run cat /scratch/w
        run echo shared > /dev/shm/w; run cat /dev/shm/w; run echo no > /w
        run echo "$COLOUR"; run sleep 1000
    """
    await started(
        lab,
        "a",
        (*SHELL, script),
        user="1000:1000",
        read_only=True,
        tmpfs=("/scratch",),
        shm=32 << 20,
        env={"COLOUR": "blue"},
        memory=64 << 20,
        pids=50,
    )
    await until(lab, running)
    said = ""
    while "blue" not in said:
        said = await printed(lab)
    assert "uid=1000 gid=1000" in said and "\nwritten\nshared\n" in said
    assert "Read-only file system" in said
    assert re.search(r"tmpfs\s+32768 ", said)
    assert "CapEff:\t0000000000000000" in said
    bounding = re.search(r"CapBnd:\t([0-9a-f]{16})", said)
    assert bounding is not None and not int(bounding[1], 16) & 1 << 13  # CAP_NET_RAW
    (service,) = lab.bed.engines[0].docker("service", "ls", "--quiet", "--filter", f"name={lab.name('a')}").split()
    limits = lab.bed.engines[0].docker(
        "service", "inspect", service, "--format", "{{.Spec.TaskTemplate.Resources.Limits}}"
    )
    assert str(64 << 20) in limits and "50" in limits


@pytest_twisted.ensureDeferred
async def test_one_whose_image_checks_itself_runs_once_it_is_healthy(lab: SwarmLab) -> None:
    """Until then a Swarm calls it starting, and tells no port; one that stays unhealthy is begun again."""
    check = ["CMD", "/bin/busybox", "test", "-e", "/tmp/well"]
    healthcheck = {"Test": check, "Interval": 300_000_000, "Timeout": 10**9, "Retries": 5}
    lab.bed.registry.push(f"{lab.fleet}:1", [busybox_layer()], {"Healthcheck": healthcheck})
    await started(lab, "a", (*SHELL, "/bin/busybox sleep 1; echo > /tmp/well; exec /bin/busybox sleep 1000"))
    await until(lab, lambda found: found["a"].health is ContainerHealth.STARTING)
    assert (await until(lab, running))["a"].health is ContainerHealth.NONE
    await started(lab, "b")
    ill = (await until(lab, lambda found: found["b"].restarts > 0))["b"]
    assert ill.state is ContainerState.RESTARTING and ill.reason == "its image's HEALTHCHECK failed"


@pytest.fixture
def closed_registry(swarm_bed: Bed, tmp_path: Path) -> Iterator[Registry]:
    """A registry that asks for a login."""
    address = swarm_bed.registry.host.rpartition(":")[0]
    registry = Registry(tmp_path / "registry", address, find_free_port(), login=True)
    registry.start(SYSTEM_PATH)
    yield registry
    registry.stop()


@pytest_twisted.ensureDeferred
async def test_machines_pull_with_the_login_of_the_registry(lab: SwarmLab, closed_registry: Registry) -> None:
    closed_registry.push("closed:1", [busybox_layer("closed")])
    lab.reference = f"{closed_registry.host}/closed:1"
    login = RegistryLogin(USERNAME, PASSWORD)
    with pytest.raises(EngineRefused, match="refuses the login"):
        await lab.engine.resolve(lab.reference, None)
    pinned = await lab.engine.resolve(lab.reference, login)
    with pytest.raises(EngineRefused, match="refuses the login"):
        await lab.engine.pull(pinned, None, lambda share: None)
    assert await lab.engine.image(pinned) is None
    await lab.engine.pull(pinned, login, lambda share: None)
    for copy in "abc":  # more than one machine
        await lab.engine.create(lab.spec(pinned, SLEEPS, copy, gpus=2))
        await lab.engine.start(lab.name(copy))
    await until(lab, lambda found: len(running(found)) == 3)
    again = swarm_engine(lab.bed.engines[0], lab.clock)
    try:
        assert await again.image(pinned) is None  # whoever does not know the login asks for it again
    finally:
        await again.close()


@pytest_twisted.ensureDeferred
async def test_an_image_that_has_gone_from_its_registry_is_told(lab: SwarmLab, tmp_path: Path) -> None:
    address = lab.bed.registry.host.rpartition(":")[0]
    registry = Registry(tmp_path / "gone", address, find_free_port())
    registry.start(SYSTEM_PATH)
    pinned = registry.push("gone:1", [busybox_layer("gone")])
    await lab.engine.pull(pinned, None, lambda share: None)
    registry.stop()
    await lab.engine.create(lab.spec(pinned, SLEEPS))
    await lab.engine.start(lab.name())
    found = await until(lab, lambda found: found["a"].reason)
    assert found["a"].state is ContainerState.PENDING
    assert f"the image {pinned} is not on this machine" in found["a"].reason


@pytest_twisted.ensureDeferred
async def test_a_long_name_is_no_trouble_and_nobody_elses_service_is_touched(lab: SwarmLab) -> None:
    long = "x." * 60 + "a"
    await started(lab, [long])  # type: ignore[arg-type]
    one = (await until(lab, running))["a"]
    assert one.name == lab.name(long)
    await lab.engine.remove(one.name, 0.0)
    assert await lab.engine.containers(lab.fleet) == []
    image = await lab.image()
    lab.bed.engines[0].docker("service", "create", "--detach", "--replicas", "0", "--name", lab.name(), image)
    try:
        for call in (
            lab.engine.create(lab.spec(image)),
            lab.engine.start(lab.name()),
            lab.engine.remove(lab.name(), 0.0),
        ):
            with pytest.raises(EngineRefused, match="taken by a service that is not of this fleet"):
                await call
    finally:
        lab.bed.engines[0].docker("service", "rm", lab.name())


@pytest_twisted.ensureDeferred
async def test_a_drained_machine_gets_nothing(lab: SwarmLab) -> None:
    manager, drained = lab.bed.engines[:2]
    manager.docker("node", "update", "--availability", "drain", machine_id(drained))
    try:
        await started(lab, "abc", gpus=2)
        found = await until(lab, lambda found: len(running(found)) == 2 and any(each.reason for each in found.values()))
        assert drained.host not in {each.host for each in found.values()}
        assert any("1 has no room for anything: down, paused or drained" in each.reason for each in found.values())
        assert (await lab.engine.info()).machines == 2
    finally:
        manager.docker("node", "update", "--availability", "active", machine_id(drained))


@pytest_twisted.ensureDeferred
async def test_an_engine_that_is_no_manager_says_what_to_do(lab: SwarmLab, bed: Bed) -> None:
    worker, alone = swarm_engine(lab.bed.engines[1], lab.clock), swarm_engine(bed.engines[0], lab.clock)
    try:
        for engine, said in ((worker, "docker node promote"), (alone, "docker swarm init")):
            for call in (engine.info(), engine.containers(lab.fleet), engine.start(lab.name())):
                with pytest.raises(EngineRefused, match=said):
                    await call
    finally:
        await worker.close()
        await alone.close()


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, ()),
        ({"url": "tcp://h"}, ("url",)),
        ({"url": "unix:///s", "resource": ""}, ("resource",)),
        ({"url": "unix:///s", "resource": ["GPU"]}, ("resource",)),
        ({"url": "unix:///s", "constraints": "node.role == worker"}, ("constraints",)),
        ({"url": "unix:///s", "constraints": ["node.role == worker", "gpu"]}, ("constraints", 1)),
        ({"url": "unix:///s", "restart_delay": 5}, ("restart_delay",)),
        ({"url": "unix:///s", "init": "no"}, ("init",)),
    ],
)
def test_options_that_will_not_do(options: dict[str, Any], path: tuple[str | int, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        swarm.from_options(options, PluginContext(None, None, str(tmp_path)))
    assert refused.value.path == path


def test_options_that_will(tmp_path: Path) -> None:
    given = {
        "url": "unix:///s",
        "resource": "GPU",
        "constraints": ["node.labels.gpu == rtx 3090", "node.role!=manager", "engine.labels.a.b == c"],
        "restart_delay": "1m",
        "init": False,
    }
    assert swarm.from_options(given, PluginContext(None, None, str(tmp_path)))
