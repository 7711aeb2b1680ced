"""Containers on a real engine: what a spec becomes there, and what the engine's troubles are called."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import requests
from docker_bed import Bed
from docker_images import SERVES, SHELL, busybox_layer
from engine_labs import DockerLab, Lab, first_page
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from ngpu.containers import FLEET, ContainerHealth, ContainerState, Mount
from ngpu.engines.describing import damaged
from ngpu.engines.reading import BadAnswer
from ngpu.errors import EngineRefused


@pytest_twisted.async_yield_fixture
async def lab(bed: Bed) -> AsyncIterator[Lab]:
    from twisted.internet import reactor

    opened = DockerLab(bed, "unix", reactor)
    yield opened
    await opened.end()


def inspected(bed: Bed, name: str) -> Any:
    return json.loads(bed.engines[0].docker("inspect", name))[0]


async def printed(lab: Lab, spec: Any) -> str:
    """What a container prints until it has printed its last line, which is ``end``."""
    await lab.engine.create(spec)
    await lab.engine.start(spec.name)
    text = b""
    logs = lab.engine.logs(spec.name, 1000, True)
    async for piece in logs:
        text += piece
        if b"end\n" in text:
            break
    await logs.aclose()
    return text.decode()


@pytest_twisted.ensureDeferred
async def test_it_serves_where_it_says(lab: Lab) -> None:
    await lab.engine.create(lab.spec(await lab.image(), SERVES, ports={8080: 0}))
    await lab.engine.start(lab.name())
    port = (await lab.only()).ports[8080]
    assert await deferToThread(first_page, f"http://127.0.0.1:{port}/") == "hello"
    echo = await deferToThread(requests.post, f"http://127.0.0.1:{port}/cgi-bin/echo", data=b"x" * 5000, timeout=5)
    assert echo.content == b"x" * 5000


@pytest_twisted.ensureDeferred
async def test_a_port_may_be_pinned(lab: Lab, free_port: int) -> None:
    await lab.engine.create(lab.spec(await lab.image(), SERVES, ports={8080: free_port}))
    await lab.engine.start(lab.name())
    assert dict((await lab.only()).ports) == {8080: free_port}


@pytest_twisted.ensureDeferred
async def test_no_privileges_and_few_capabilities(lab: Lab) -> None:
    script = "/bin/busybox grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; echo end"
    text = await printed(lab, lab.spec(await lab.image(), (*SHELL, script)))
    status = dict(line.split(":\t") for line in text.splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    # CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID NET_BIND_SERVICE
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 10))


@pytest_twisted.ensureDeferred
async def test_everything_of_a_spec_is_there(lab: Lab, bed: Bed, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("weights")
    script = (
        "exec 2>&1; echo $COLOUR; /bin/busybox id -g; /bin/busybox cat /model/model; echo; "
        "echo x > /model/new || echo no writing there; echo x > /new || echo nor here; "
        "echo '#!/bin/busybox sh\necho run' > /scratch/run && /bin/busybox chmod +x /scratch/run && /scratch/run; "
        "/bin/busybox df -m /dev/shm | /bin/busybox tail -1; echo end; exec /bin/busybox sleep 1000"
    )
    spec = lab.spec(
        await lab.image(),
        (*SHELL, script),
        env={"COLOUR": "blue = green"},
        user="0:1000",
        read_only=True,
        tmpfs=("/scratch",),
        mounts=(Mount(str(tmp_path), "/model"),),
        memory=64 << 20,
        pids=50,
        shm=7 << 20,
        stop_grace=3.0,
    )
    text = await printed(lab, spec)
    assert text.splitlines()[:3] == ["blue = green", "1000", "weights"]
    assert "no writing there\n" in text
    assert "nor here\n" in text
    assert "run\n" in text
    assert " 7 " in text
    host = inspected(bed, spec.name)["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (64 << 20, 64 << 20, 50)
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert (host["Privileged"], host["Init"], host["NetworkMode"], host["Binds"]) == (False, True, "default", None)
    assert inspected(bed, spec.name)["Config"]["StopTimeout"] == 3


@pytest_twisted.ensureDeferred
async def test_nobody_sees_gpus_of_others_where_the_gpu_runtime_runs_everything(lab: Lab, bed: Bed) -> None:
    """NVIDIA's runtime, as the default one, goes by the variable; images of CUDA say ``all``."""
    bed.registry.push(f"{lab.fleet}:1", [busybox_layer()], {"Env": ["NVIDIA_VISIBLE_DEVICES=all"]})
    image = await lab.image()
    says = (*SHELL, "echo sees $NVIDIA_VISIBLE_DEVICES; echo end; exec /bin/busybox sleep 1000")
    for copy, env in (("a", {}), ("b", {"NVIDIA_VISIBLE_DEVICES": "all"})):
        text = await printed(lab, lab.spec(image, says, copy, env=env))
        assert text == "sees void\nend\n"
    spec = lab.spec(image, says, "c", env={"NVIDIA_VISIBLE_DEVICES": "all"}, gpus=2, gpu_ids=("1", "GPU-5e6d"))
    await lab.engine.create(spec)
    assert inspected(bed, spec.name)["Config"]["Env"] == ["NVIDIA_VISIBLE_DEVICES=1,GPU-5e6d"]


@pytest_twisted.ensureDeferred
async def test_containers_that_will_not_end_take_no_place_from_others(lab: Lab, bed: Bed) -> None:
    """Their grace is their customer's choice, and the engine is everybody's."""
    deaf = (*SHELL, "trap '' TERM; while true; do /bin/busybox sleep 1; done")
    image, names = await lab.image(), [lab.name(str(number)) for number in range(8)]
    for number in range(8):
        await lab.engine.create(lab.spec(image, deaf, str(number)))
        await lab.engine.start(lab.name(str(number)))
    removing = [Deferred.fromCoroutine(lab.engine.remove(name, 600.0)) for name in names[:6]]
    restarting = [Deferred.fromCoroutine(lab.engine.restart(name, 600.0)) for name in names[6:]]
    began = lab.clock.seconds()
    await lab.engine.create(lab.spec(image, SERVES, "other", ports={8080: 0}))
    await lab.engine.start(lab.name("other"))
    (port,) = [each.ports[8080] for each in await lab.engine.containers(lab.fleet) if each.name == lab.name("other")]
    await deferToThread(first_page, f"http://127.0.0.1:{port}/")  # a TERM is lost on an init that does not listen yet
    await lab.engine.remove(lab.name("other"), 600.0)
    assert lab.clock.seconds() - began < 60, "it waits for those that have 600 s"
    assert len(await lab.engine.containers(lab.fleet)) == 8
    await deferToThread(bed.engines[0].docker, "kill", *names)
    await gatherResults([*removing, *restarting])
    left = await lab.engine.containers(lab.fleet)
    assert sorted((each.name, each.state) for each in left) == [(name, ContainerState.RUNNING) for name in names[6:]]


@pytest_twisted.ensureDeferred
async def test_the_images_own_healthcheck(lab: Lab, bed: Bed) -> None:
    check = {"Test": ["CMD", "/bin/busybox", "test", "-e", "/tmp/well"], "Interval": 10**9, "Retries": 1}
    bed.registry.push(f"{lab.fleet}:1", [busybox_layer()], {"Healthcheck": check, "Cmd": list(SERVES)})
    await lab.engine.create(lab.spec(await lab.image(), ()))
    await lab.engine.start(lab.name())
    assert (await lab.only()).health is ContainerHealth.STARTING
    ill = await lab.until(lambda container: container.health is ContainerHealth.UNHEALTHY)
    assert ill.state is ContainerState.RUNNING
    assert "HEALTHCHECK fails (exit code 1)" in ill.reason
    bed.engines[0].docker("exec", lab.name(), "/bin/busybox", "touch", "/tmp/well")
    well = await lab.until(lambda container: container.health is ContainerHealth.HEALTHY)
    assert well.reason == ""


@pytest_twisted.ensureDeferred
async def test_removing_gives_it_its_grace(lab: Lab, bed: Bed, tmp_path: Path) -> None:
    script = "trap 'echo told > /out/told; exit 0' TERM; echo end; while true; do /bin/busybox sleep 0.1; done"
    await printed(lab, lab.spec(await lab.image(), (*SHELL, script), mounts=(Mount(str(tmp_path), "/out", False),)))
    await lab.engine.remove(lab.name(), 5.0)
    assert (tmp_path / "told").read_text() == "told\n"
    assert list(await lab.engine.containers(lab.fleet)) == []


@pytest_twisted.ensureDeferred
async def test_somebody_elses_container_is_left_alone(lab: Lab, bed: Bed) -> None:
    image = await lab.image()
    bed.engines[0].docker("create", "--name", lab.name(), image, "x")
    for call in (lab.engine.start(lab.name()), lab.engine.restart(lab.name(), 0.0), lab.engine.remove(lab.name(), 0.0)):
        with pytest.raises(EngineRefused, match="not of any fleet"):
            await call
    with pytest.raises(EngineRefused, match="taken by a container that is not of this fleet"):
        await lab.engine.create(lab.spec(image))
    assert inspected(bed, lab.name())["State"]["Status"] == "created"
    bed.engines[0].docker("rm", lab.name())


class TestTroubles:
    @pytest.mark.parametrize("fields", [{"gpus": 1}, {"gpus": 2, "gpu_ids": ("0", "1")}], ids=["any", "by id"])
    @pytest_twisted.ensureDeferred
    async def test_a_machine_without_a_gpu_runtime(self, lab: Lab, fields: dict[str, Any]) -> None:
        await lab.engine.create(lab.spec(await lab.image(), **fields))
        with pytest.raises(EngineRefused, match=r"no GPU runtime.*install.*nvidia-container-toolkit"):
            await lab.engine.start(lab.name())

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"user": "nobody-there"}, "no user nobody-there: look at the workspace's `container.user`"),
            ({"mounts": (Mount("/nobody/has/this", "/x"),)}, "no folder /nobody/has/this to mount"),
            ({"memory": 1000}, "memory limit is too small.*6MB"),
            ({"command": ()}, "no command of its own: set the workspace's `command`"),
        ],
        ids=["user", "mount", "memory", "no command"],
    )
    @pytest_twisted.ensureDeferred
    async def test_what_is_wrong_with_a_workspace(self, lab: Lab, fields: dict[str, Any], sentence: str) -> None:
        spec = lab.spec(await lab.image(), **fields)
        with pytest.raises(EngineRefused, match=sentence):
            await lab.engine.create(spec)
            await lab.engine.start(spec.name)

    @pytest.mark.parametrize(
        ("command", "sentence"),
        [
            (("/www",), "/www in the image is nothing that this machine can execute"),
            (("nobody-has-this",), "nobody-has-this is not in the image"),
        ],
        ids=["a folder", "no such"],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_bad_command_without_an_init(
        self, lab: Lab, bed: Bed, command: tuple[str, ...], sentence: str
    ) -> None:
        from engine_labs import docker_engine

        plain = docker_engine(bed.engines[0], lab.clock, init=False)
        await plain.create(lab.spec(await lab.image(), command))
        with pytest.raises(EngineRefused, match=sentence):
            await plain.start(lab.name())
        assert sentence in (await lab.only()).reason
        await plain.close()

    @pytest_twisted.ensureDeferred
    async def test_a_port_that_another_program_has(self, lab: Lab, bed: Bed) -> None:
        taken = bed.registry.host.rpartition(":")[2]
        await lab.engine.create(lab.spec(await lab.image(), ports={8080: int(taken)}))
        with pytest.raises(EngineRefused, match=f"port {taken} of the machine is taken"):
            await lab.engine.start(lab.name())

    @pytest_twisted.ensureDeferred
    async def test_no_memory_left(self, lab: Lab) -> None:
        hungry = "x=$(/bin/busybox head -c 64000000 /dev/zero | /bin/busybox tr '\\0' a); echo ${#x}"
        await lab.engine.create(lab.spec(await lab.image(), (*SHELL, hungry), memory=16 << 20))
        await lab.engine.start(lab.name())
        ended = await lab.until(lambda container: container.restarts > 0 and container.reason != "")
        assert "memory" in ended.reason
        assert ended.state is ContainerState.RESTARTING


@pytest_twisted.ensureDeferred
async def test_a_container_whose_files_are_lost_is_no_trouble_of_its_machine(lab: Lab, bed: Bed) -> None:
    """As after a power cut: its engine lists it and cannot describe it, and removes it all the same."""
    spec = lab.spec(await lab.image())
    await lab.engine.create(spec)
    lost = lab.spec(spec.image, copy="lost")
    await lab.engine.create(lost)
    driver = inspected(bed, lost.name).get("GraphDriver") or {}
    if driver.get("Name") != "overlay2":
        pytest.skip(f"the engine keeps containers' files in another way: {driver.get('Name')}")
    shutil.rmtree(Path(driver["Data"]["UpperDir"]).parent)
    found = {each.name: each for each in await lab.engine.containers(spec.labels[FLEET])}
    assert found[spec.name].state is ContainerState.CREATED
    damaged = found[lost.name]
    assert (damaged.state, damaged.labels, damaged.ports) == (ContainerState.DEAD, lost.labels, {})
    assert "no such file" in damaged.reason
    await lab.engine.remove(lost.name, 60)
    assert [each.name for each in await lab.engine.containers(spec.labels[FLEET])] == [spec.name]
    await lab.engine.create(lost)
    await lab.engine.start(lost.name)


@pytest.mark.parametrize(
    ("state", "found", "ports"),
    [
        ("running", ContainerState.RUNNING, {8080: 32768}),
        ("restarting", ContainerState.RESTARTING, {}),
        ("exited", ContainerState.DEAD, {}),
        ("created", ContainerState.DEAD, {}),
        ("unheard of", ContainerState.DEAD, {}),
    ],
)
def test_what_is_only_listed(state: str, found: ContainerState, ports: dict[int, int]) -> None:
    """What runs serves on where it did."""
    published = [
        {"IP": "0.0.0.0", "PrivatePort": 8080, "PublicPort": 32768, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 8080, "PublicPort": 32769, "Type": "tcp"},
        {"PrivatePort": 9090, "Type": "tcp"},
    ]
    said = {"Id": "1", "Names": ["/ngpu-f-a"], "Labels": {"a": "b"}, "State": state, "Ports": published}
    container = damaged(said, "it is ill")
    assert (container.name, container.labels, container.state) == ("ngpu-f-a", {"a": "b"}, found)
    assert (container.ports, container.reason) == (ports, "it is ill")


@pytest.mark.parametrize("said", [None, {}, {"Id": "1"}, {"Id": "1", "Names": [3]}, {"Names": ["/a"]}])
def test_what_is_listed_and_no_container(said: Any) -> None:
    with pytest.raises(BadAnswer):
        damaged(said, "")
