"""What a Swarm's manager tells, read as containers: every state that a task can be in, without a Swarm."""

from __future__ import annotations

from typing import Any

import pytest

from ngpu.containers import ContainerHealth, ContainerSpec, ContainerState, Mount
from ngpu.engines.swarm_service import Manners, begun_anew, service_body, service_name, with_tasks
from ngpu.engines.swarm_tasks import containers, gpus_of, host_of, machine_name, unplaced, usable

LABELS = {"ngpu.fleet": "f", "ngpu.copy": "c"}
NO_ROOM = "no suitable node (insufficient resources on 3 nodes)"
MACHINE = {
    "ID": "m1",
    "Spec": {"Labels": {"ngpu.address": "0xAB"}, "Availability": "active"},
    "Status": {"State": "ready", "Addr": "10.0.0.7"},
    "Description": {"Hostname": "gpu-7", "Resources": {"MemoryBytes": 5, "GenericResources": None}},
}


def service(tasks: int = 1) -> dict[str, Any]:
    body = service_body(ContainerSpec("ngpu-f-c", "i@sha256:00", labels=LABELS), Manners())
    return {"ID": "s1", "Spec": with_tasks(body, tasks)}


def task(
    second: int, state: str, wanted: str = "running", error: str = "", code: int = 0, **status: Any
) -> dict[str, Any]:
    at = f"2026-11-25T23:12:{second:02}.645054429Z"
    spec = {"ContainerSpec": {"Image": "i@sha256:00"}}
    told = {"State": state, "Err": error, "Timestamp": at, "ContainerStatus": {"ExitCode": code}, **status}
    return {"Spec": spec, "ServiceID": "s1", "CreatedAt": at, "DesiredState": wanted, "NodeID": "m1", "Status": told}


def only(*tasks: dict[str, Any], replicas: int = 1) -> Any:
    (container,) = containers([service(replicas)], [*tasks, task(9, "running") | {"ServiceID": "other"}], [MACHINE])
    assert (container.id, container.name, container.labels) == ("s1", "ngpu-f-c", LABELS)
    return container


def failed(second: int, code: int = 3) -> dict[str, Any]:
    return task(second, "failed", "shutdown", f"task: non-zero exit ({code})", code)


@pytest.mark.parametrize(
    ("tasks", "state", "restarts", "reason"),
    [
        ([], "pending", 0, ""),
        ([task(1, "new")], "pending", 0, ""),
        ([task(1, "preparing")], "pending", 0, ""),
        ([task(1, "running")], "running", 0, ""),
        (
            [task(1, "pending", error=NO_ROOM)],
            "pending",
            0,
            "no machine of the Swarm can take it: 3 have too few free GPUs or too little free memory",
        ),
        ([failed(1), task(2, "ready", "ready")], "restarting", 1, "it ended with exit code 3; its logs may say why"),
        (
            [failed(1), failed(2, 4), task(3, "ready", "ready")],
            "restarting",
            2,
            "it ended with exit code 4; its logs may say why",
        ),
        ([failed(1), task(2, "running")], "running", 1, ""),
        ([task(1, "complete", "shutdown"), task(2, "assigned", "ready")], "restarting", 1, ""),
        (
            [task(1, "failed", "running", "task: non-zero exit (3)", 3)],
            "restarting",
            1,
            "it ended with exit code 3; its logs may say why",
        ),
        (
            [failed(1, 137), task(2, "ready", "ready")],
            "restarting",
            1,
            "it was killed (exit code 137): by its machine for want of memory, or by somebody there",
        ),
        (
            [
                task(1, "failed", "shutdown", "task: non-zero exit (137): dockerexec: unhealthy container", 137),
                task(2, "starting"),
            ],
            "restarting",
            1,
            "its image's HEALTHCHECK failed",
        ),
        (
            [failed(1), task(2, "pending", error=NO_ROOM)],
            "pending",
            1,
            "no machine of the Swarm can take it: 3 have too few free GPUs or too little free memory",
        ),
        (
            [
                task(1, "rejected", "shutdown", "No such image: i@sha256:00"),
                task(2, "rejected", "ready", "No such image"),
            ],
            "pending",
            0,
            "the image i@sha256:00 is not on this machine: pull or load it first",
        ),
        ([task(1, "running", "shutdown"), task(2, "preparing")], "pending", 0, ""),  # its machine is down
        ([task(1, "shutdown", "shutdown"), task(2, "running")], "running", 0, ""),
    ],
)
def test_what_a_task_does(tasks: list[dict[str, Any]], state: str, restarts: int, reason: str) -> None:
    for told in (tasks, tasks[::-1]):
        container = only(*told)
        assert (container.state, container.restarts, container.reason) == (ContainerState(state), restarts, reason)


def test_one_that_runs_says_where_since_when_and_at_which_ports() -> None:
    ports = [
        {"Protocol": "tcp", "TargetPort": 8080, "PublishedPort": 32768, "PublishMode": "host"},
        {"Protocol": "tcp", "TargetPort": 8081, "PublishedPort": 0, "PublishMode": "host"},
    ]
    container = only(task(1, "running", PortStatus={"Ports": ports * 2}))
    assert dict(container.ports) == {8080: 32768}  # engine 20.10 tells each twice
    assert (container.host, container.machine) == ("10.0.0.7", "0xAB")
    assert container.started_at == pytest.approx(1795648321.645054)


def test_one_whose_image_checks_itself_is_not_told_to_run_before_it_is_healthy() -> None:
    assert only(task(1, "starting")).health is ContainerHealth.STARTING
    assert only(task(1, "running")).health is ContainerHealth.NONE


def test_a_service_without_a_task_was_created_and_never_started() -> None:
    created = only(replicas=0)
    assert (created.state, created.reason, created.host) == (ContainerState.CREATED, "", "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("no suitable node", "the Swarm has no machine for it"),
        (
            "no suitable node (scheduling constraints not satisfied on 1 node; 2 nodes not available for new tasks)",
            "no machine of the Swarm can take it: 1 has not what the constraints ask for, 2 have no room for anything: "
            "down, paused or drained",
        ),
        (
            "no suitable node (host-mode port already in use on 3 nodes)",
            "no machine of the Swarm can take it: 3 have the port in use",
        ),
        ("no suitable node (something new on 1 node)", "no machine of the Swarm can take it: something new on 1 node"),
        ("something else", "the Swarm found no machine for it: something else"),
    ],
)
def test_why_no_machine_takes_it(error: str, said: str) -> None:
    assert unplaced(error) == said


@pytest.mark.parametrize(
    ("machine", "host", "name"),
    [
        ({}, "", ""),
        (MACHINE, "10.0.0.7", "0xAB"),
        ({**MACHINE, "Spec": {"Labels": None}}, "10.0.0.7", "gpu-7"),
        ({**MACHINE, "Spec": {"Labels": {"ngpu.host": "gpu-7.lan"}}}, "gpu-7.lan", "gpu-7"),
        ({**MACHINE, "Status": {"Addr": "0.0.0.0"}, "ManagerStatus": {"Addr": "10.0.0.1:2377"}}, "10.0.0.1", "0xAB"),
        ({**MACHINE, "Status": {"Addr": "0.0.0.0"}, "ManagerStatus": {"Addr": "[fd00::1]:2377"}}, "fd00::1", "0xAB"),
        ({**MACHINE, "Status": {"Addr": "127.0.0.1"}}, "", "0xAB"),
    ],
)
def test_where_a_machine_is_and_what_it_is_called(machine: dict[str, Any], host: str, name: str) -> None:
    assert (host_of(machine), machine_name(machine)) == (host, name)


def test_gpus_are_counted_however_they_were_declared() -> None:
    declared = [
        {"NamedResourceSpec": {"Kind": "NVIDIA-GPU", "Value": "GPU-a"}},
        {"NamedResourceSpec": {"Kind": "NVIDIA-GPU", "Value": "GPU-b"}},
        {"DiscreteResourceSpec": {"Kind": "NVIDIA-GPU", "Value": 3}},
        {"DiscreteResourceSpec": {"Kind": "SSD", "Value": 7}},
    ]
    assert gpus_of({"Description": {"Resources": {"GenericResources": declared}}}, "NVIDIA-GPU") == 5
    assert gpus_of(MACHINE, "NVIDIA-GPU") == 0
    drained = {**MACHINE, "Spec": {"Availability": "drain"}}
    assert list(usable([MACHINE, drained, {**MACHINE, "Status": {"State": "down"}}])) == [MACHINE]


# --- what a service is made of ------------------------------------------------------------------------------------


def test_a_name_that_a_swarm_would_not_take_becomes_one_that_it_does() -> None:
    assert service_name("ngpu-f-sd-webui-35ec9044-0a1b2c") == "ngpu-f-sd-webui-35ec9044-0a1b2c"
    for name in ("ngpu-f-a.b", "ngpu-f-" + "a" * 60, "ngpu-f-größe", "ngpu-"):
        called = service_name(name)
        assert called == service_name(name) != service_name(name + "x") and called.startswith("ngpu-")
        assert service_name(called) == called
    spec = ContainerSpec("ngpu-f-a.b", "i@sha256:00", labels=LABELS)
    (read,) = containers([{"ID": "s", "Spec": service_body(spec, Manners())}], [], [])
    assert (read.name, read.labels) == (spec.name, LABELS)


def test_nothing_of_a_spec_is_lost_and_no_privilege_is_asked_for() -> None:
    spec = ContainerSpec(
        "n",
        "i@sha256:00",
        ("a", "b"),
        {"A": "1"},
        {8080: 0, 8081: 81},
        2,
        ("0", "1"),
        1 << 30,
        99,
        1 << 20,
        "1000:1000",
        True,
        ("/tmp",),
        (Mount("/srv", "/m"), Mount("/rw", "/rw", False)),
        LABELS,
        2.5,
    )
    body = service_body(spec, Manners("GPU", ("node.role == worker",), 1.5))
    template = body["TaskTemplate"]
    container = template["ContainerSpec"]
    assert container["Args"] == ["a", "b"] and "Command" not in container
    assert container["Env"] == ["A=1", "NVIDIA_VISIBLE_DEVICES=void"]  # the Swarm adds which it has counted
    assert (container["User"], container["ReadOnly"], container["StopGracePeriod"]) == (
        "1000:1000",
        True,
        2_500_000_000,
    )
    assert [(each["Type"], each["Target"], each.get("ReadOnly")) for each in container["Mounts"]] == [
        ("bind", "/m", True),
        ("bind", "/rw", False),
        ("tmpfs", "/tmp", None),
        ("tmpfs", "/dev/shm", None),
    ]
    assert template["Resources"] == {
        "Limits": {"MemoryBytes": 1 << 30, "Pids": 99},
        "Reservations": {
            "MemoryBytes": 1 << 30,
            "GenericResources": [{"DiscreteResourceSpec": {"Kind": "GPU", "Value": 2}}],
        },
    }
    assert template["Placement"] == {"Constraints": ["node.role == worker"]}
    assert template["RestartPolicy"] == {"Condition": "any", "Delay": 1_500_000_000}
    assert body["EndpointSpec"] == {
        "Mode": "dnsrr",
        "Ports": [
            {"Protocol": "tcp", "TargetPort": 8080, "PublishedPort": 0, "PublishMode": "host"},
            {"Protocol": "tcp", "TargetPort": 8081, "PublishedPort": 81, "PublishMode": "host"},
        ],
    }
    assert container["Privileges"] == {"NoNewPrivileges": True} and "CapabilityAdd" not in container
    assert "CAP_NET_RAW" in container["CapabilityDrop"]


def test_a_service_that_begins_anew_is_otherwise_the_same() -> None:
    body = service_body(ContainerSpec("n", "i@sha256:00"), Manners())
    once = begun_anew(with_tasks(body, 1))
    twice = begun_anew(once)
    assert (once["TaskTemplate"].pop("ForceUpdate"), twice["TaskTemplate"].pop("ForceUpdate")) == (1, 2)
    assert once == twice == with_tasks(body, 1)


def test_a_service_sees_no_gpus_but_those_that_the_swarm_counts_for_it() -> None:
    """NVIDIA's runtime goes by the Swarm's variable first, and by what images say (``all``) where there is none."""
    asked = {"DOCKER_RESOURCE_NVIDIA-GPU": "all", "NVIDIA_VISIBLE_DEVICES": "all"}

    def env(gpus: int) -> list[str]:
        body = service_body(ContainerSpec("n", "i@sha256:00", env=asked, gpus=gpus), Manners())
        return body["TaskTemplate"]["ContainerSpec"]["Env"]  # type: ignore[no-any-return]

    assert env(0) == ["NVIDIA_VISIBLE_DEVICES=void", "DOCKER_RESOURCE_NVIDIA-GPU=void"]
    assert env(1) == ["NVIDIA_VISIBLE_DEVICES=void"]
