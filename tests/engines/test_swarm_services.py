"""What a service of a real Docker Swarm gets and says, and managers and options that are none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from docker_bed import Bed
from docker_engine import SYSTEM_PATH
from docker_images import SHELL, busybox_layer
from docker_registry import PASSWORD, USERNAME, Registry
from odd_daemon import VERSION, odd_daemon, ok
from processes import find_free_port
from swarm_bed import SLEEPS, SwarmLab, running, swarm_engine

from ngpu.containers import ContainerHealth, ContainerState, RegistryLogin
from ngpu.errors import ConfigError, EngineError, EngineRefused
from ngpu.interfaces import PluginContext
from ngpu.plugins.swarm import swarm


@pytest_twisted.ensureDeferred
async def test_limits_user_and_folders_are_what_the_spec_says(machines: SwarmLab) -> None:
    script = """
        exec 2>&1; run() { /bin/busybox "$@"; }
        run id; run cat /proc/self/status; run df /dev/shm
        run echo written > /scratch/w; run cat /scratch/w
        run echo shared > /dev/shm/w; run cat /dev/shm/w; run echo no > /w
        run echo "$COLOUR"; run sleep 1000
    """
    await machines.started(
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
    await machines.all_until(running)
    said = ""
    while "blue" not in said:
        said = await machines.printed()
    assert "uid=1000 gid=1000" in said and "\nwritten\nshared\n" in said
    assert "Read-only file system" in said
    assert re.search(r"tmpfs\s+32768 ", said)
    assert "CapEff:\t0000000000000000" in said
    bounding = re.search(r"CapBnd:\t([0-9a-f]{16})", said)
    assert bounding is not None and not int(bounding[1], 16) & 1 << 13  # CAP_NET_RAW
    (service,) = (
        machines.bed.engines[0].docker("service", "ls", "--quiet", "--filter", f"name={machines.name('a')}").split()
    )
    limits = machines.bed.engines[0].docker(
        "service", "inspect", service, "--format", "{{.Spec.TaskTemplate.Resources.Limits}}"
    )
    assert str(64 << 20) in limits and "50" in limits


@pytest_twisted.ensureDeferred
async def test_one_whose_image_checks_itself_runs_once_it_is_healthy(machines: SwarmLab) -> None:
    """Until then a Swarm calls it starting, and tells no port; one that stays unhealthy is begun again."""
    check = ["CMD", "/bin/busybox", "test", "-e", "/tmp/well"]
    healthcheck = {"Test": check, "Interval": 300_000_000, "Timeout": 10**9, "Retries": 5}
    machines.bed.registry.push(f"{machines.fleet}:1", [busybox_layer()], {"Healthcheck": healthcheck})
    await machines.started("a", (*SHELL, "/bin/busybox sleep 1; echo > /tmp/well; exec /bin/busybox sleep 1000"))
    await machines.all_until(lambda found: found["a"].health is ContainerHealth.STARTING)
    assert (await machines.all_until(running))["a"].health is ContainerHealth.NONE
    await machines.started("b")
    ill = (await machines.all_until(lambda found: found["b"].restarts > 0))["b"]
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
async def test_machines_pull_with_the_login_of_the_registry(machines: SwarmLab, closed_registry: Registry) -> None:
    closed_registry.push("closed:1", [busybox_layer("closed")])
    machines.reference = f"{closed_registry.host}/closed:1"
    login = RegistryLogin(USERNAME, PASSWORD)
    with pytest.raises(EngineRefused, match="refuses the login"):
        await machines.engine.resolve(machines.reference, None)
    pinned = await machines.engine.resolve(machines.reference, login)
    with pytest.raises(EngineRefused, match="refuses the login"):
        await machines.engine.pull(pinned, None, lambda share: None)
    assert await machines.engine.image(pinned) is None
    await machines.engine.pull(pinned, login, lambda share: None)
    for copy in "abc":  # more than one machine
        await machines.engine.create(machines.spec(pinned, SLEEPS, copy, gpus=2))
        await machines.engine.start(machines.name(copy))
    await machines.all_until(lambda found: len(running(found)) == 3)
    again = swarm_engine(machines.bed.engines[0], machines.clock)
    try:
        assert await again.image(pinned) is None  # whoever does not know the login asks for it again
    finally:
        await again.close()


@pytest_twisted.ensureDeferred
async def test_an_image_that_has_gone_from_its_registry_is_told(machines: SwarmLab, tmp_path: Path) -> None:
    address = machines.bed.registry.host.rpartition(":")[0]
    registry = Registry(tmp_path / "gone", address, find_free_port())
    registry.start(SYSTEM_PATH)
    pinned = registry.push("gone:1", [busybox_layer("gone")])
    await machines.engine.pull(pinned, None, lambda share: None)
    registry.stop()
    await machines.engine.create(machines.spec(pinned, SLEEPS))
    await machines.engine.start(machines.name())
    found = await machines.all_until(lambda found: found["a"].reason)
    assert found["a"].state is ContainerState.PENDING
    assert f"the image {pinned} is not on this machine" in found["a"].reason


@pytest_twisted.ensureDeferred
async def test_a_long_name_is_no_trouble_and_nobody_elses_service_is_touched(machines: SwarmLab) -> None:
    long = "x." * 60 + "a"
    await machines.started([long])  # type: ignore[arg-type]
    one = (await machines.all_until(running))["a"]
    assert one.name == machines.name(long)
    await machines.engine.remove(one.name, 0.0)
    assert await machines.engine.containers(machines.fleet) == []
    image = await machines.image()
    machines.bed.engines[0].docker("service", "create", "--detach", "--replicas", "0", "--name", machines.name(), image)
    try:
        for call in (
            machines.engine.create(machines.spec(image)),
            machines.engine.start(machines.name()),
            machines.engine.remove(machines.name(), 0.0),
        ):
            with pytest.raises(EngineRefused, match="taken by a service that is not of this fleet"):
                await call
    finally:
        machines.bed.engines[0].docker("service", "rm", machines.name())


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


SERVICE = {"ID": "s", "ServiceID": "s", "Spec": {"Name": "n", "Mode": {"Replicated": {"Replicas": 1}}}}
"""Looks like a service, a task and a machine, whatever is asked for."""


@pytest.mark.parametrize(
    "said",
    [
        7,
        {"a": 1},
        [None],
        [{"ID": 7}],
        [{**SERVICE, "Spec": {"Name": 7}}],
        [{**SERVICE, "Spec": {"Name": "n", "Labels": {"a": 7}}}],
        [{**SERVICE, "Spec": {"Name": "n", "Mode": {"Replicated": {"Replicas": "many"}}}}],
        [{**SERVICE, "CreatedAt": 5}],
        [{**SERVICE, "CreatedAt": "yesterday"}],
        [{**SERVICE, "Status": []}],
        [{**SERVICE, "Status": [1]}],
        [{**SERVICE, "Status": {"State": ["running"]}}],
        [{**SERVICE, "Status": {"State": "running", "PortStatus": {"Ports": [8080]}}}],
        [
            {
                **SERVICE,
                "Status": {"State": "failed", "Err": "task: non-zero exit", "ContainerStatus": {"ExitCode": "x"}},
            }
        ],
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_manager_that_lies_is_as_good_as_none(said: Any) -> None:
    """Whatever comes: containers as they should be, or an EngineError."""
    from twisted.internet import reactor

    with odd_daemon(VERSION, ok(json.dumps(said).encode())) as daemon:
        context = PluginContext(reactor, None, ".")
        engine = swarm.from_options({"url": f"tcp://127.0.0.1:{daemon.port}", "timeout": "1s"}, context)
        with suppress(EngineError):
            (container,) = await engine.containers("f")
            assert said == [{**SERVICE, "Status": []}] and (container.id, container.name) == ("s", "n")
        for call in (engine.info(), engine.start("n"), engine.remove("n", 0.0), anext(engine.logs("n", 1, True))):
            with pytest.raises(EngineError):
                await call
        await engine.close()
