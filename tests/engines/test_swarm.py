"""A real Docker Swarm of three machines: what it counts, where it runs things, and what happens when a machine goes."""

from __future__ import annotations

import re

import pytest
import pytest_twisted
from docker_bed import Bed
from engine_labs import first_page
from swarm_bed import GPUS, SwarmLab, machine_id, running, swarm_engine, wait_for_machines

from ngpu.containers import ContainerState
from ngpu.errors import EngineRefused

GIB = 1 << 30
NO_GPU_LEFT = "no machine of the Swarm can take it: 3 have too few free GPUs or too little free memory"


@pytest_twisted.ensureDeferred
async def test_it_says_what_all_of_its_machines_have(machines: SwarmLab) -> None:
    info = await machines.engine.info()
    assert (info.machines, info.gpus) == (3, 3 * len(GPUS)) and info.memory > 3 * GIB


@pytest_twisted.ensureDeferred
async def test_no_gpu_is_given_twice_and_one_that_waits_for_one_says_so(machines: SwarmLab) -> None:
    """GPUs of a machine are generic resources: its runtime is told which ones in a variable of the environment."""
    await machines.started("abcd", gpus=2, gpu_ids=("0", "1"))
    found = await machines.all_until(
        lambda found: len(running(found)) == 3 and any(each.reason for each in found.values())
    )
    assert {each.machine for each in running(found)} == {"0xM1", "0xM2", "0xM3"}
    assert {each.host for each in running(found)} == {engine.host for engine in machines.bed.engines}
    (waiting,) = (each for each in found.values() if each.state is not ContainerState.RUNNING)
    assert (waiting.state, waiting.reason, waiting.host) == (ContainerState.PENDING, NO_GPU_LEFT, "")
    one = running(found)[0].name[-1]
    assert re.search("^DOCKER_RESOURCE_NVIDIA-GPU=GPU-a,GPU-b$", await machines.printed(one), re.MULTILINE)
    await machines.engine.remove(machines.name(one), 0.0)
    found = await machines.all_until(lambda found: len(running(found)) == 3)
    assert found[waiting.name[-1]].reason == ""


@pytest_twisted.ensureDeferred
async def test_what_a_machine_publishes_is_reached_there(machines: SwarmLab) -> None:
    await machines.started("a", ("/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"), ports={8080: 0})
    (one,) = running(await machines.all_until(running))
    assert first_page(f"http://{one.host}:{one.ports[8080]}/") == "hello"


@pytest_twisted.ensureDeferred
async def test_a_pinned_port_goes_round_the_machines(machines: SwarmLab) -> None:
    await machines.started("abcd", ports={8080: 18999})
    found = await machines.all_until(
        lambda found: len(running(found)) == 3 and any(each.reason for each in found.values())
    )
    assert {each.machine for each in running(found)} == {"0xM1", "0xM2", "0xM3"}
    assert [dict(each.ports) for each in running(found)] == [{8080: 18999}] * 3
    (waiting,) = (each for each in found.values() if each.state is not ContainerState.RUNNING)
    assert waiting.reason == "no machine of the Swarm can take it: 3 have the port in use"


@pytest_twisted.ensureDeferred
async def test_what_ran_on_a_machine_that_is_gone_runs_on_another_one(machines: SwarmLab) -> None:
    """The Swarm sees to it; the container stays the same one, and says where it is now."""
    await machines.started("abc", ports={8080: 0}, gpus=1)
    before = await machines.all_until(lambda found: len(running(found)) == 3)
    lost, engine = next(
        (letter, engine)
        for letter, each in before.items()
        for engine in machines.bed.engines[1:]
        if each.host == engine.host
    )
    engine.kill()
    try:
        moved = (
            await machines.all_until(
                lambda found: found[lost].state is ContainerState.RUNNING and found[lost].host != before[lost].host,
                within=90.0,
            )
        )[lost]
        assert (moved.id, moved.name) == (before[lost].id, before[lost].name)
        assert moved.machine not in ("", before[lost].machine)
        assert (await machines.engine.info()).machines == 2
    finally:
        engine.start()
        wait_for_machines(machines.bed)
    assert len(running(await machines.all_until(lambda found: len(running(found)) == 3))) == 3


@pytest_twisted.ensureDeferred
async def test_a_drained_machine_gets_nothing(machines: SwarmLab) -> None:
    manager, drained = machines.bed.engines[:2]
    manager.docker("node", "update", "--availability", "drain", machine_id(drained))
    try:
        await machines.started("abc", gpus=2)
        found = await machines.all_until(
            lambda found: len(running(found)) == 2 and any(each.reason for each in found.values())
        )
        assert drained.host not in {each.host for each in found.values()}
        assert any("1 has no room for anything: down, paused or drained" in each.reason for each in found.values())
        assert (await machines.engine.info()).machines == 2
    finally:
        manager.docker("node", "update", "--availability", "active", machine_id(drained))


@pytest_twisted.ensureDeferred
async def test_an_engine_that_is_no_manager_says_what_to_do(machines: SwarmLab, bed: Bed) -> None:
    worker, alone = (
        swarm_engine(machines.bed.engines[1], machines.clock),
        swarm_engine(bed.engines[0], machines.clock),
    )
    try:
        for engine, said in ((worker, "docker node promote"), (alone, "docker swarm init")):
            for call in (engine.info(), engine.containers(machines.fleet), engine.start(machines.name())):
                with pytest.raises(EngineRefused, match=said):
                    await call
    finally:
        await worker.close()
        await alone.close()
