"""A copy as a Swarm's service of one task: what is sent to the manager (Docker Engine API 1.41, ``/services``)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ngpu.containers import ContainerSpec
from ngpu.engines.making import DROPPED, LOG_FILES, LOG_SIZE, NO_GPU, VISIBLE

NAME = "ngpu.name"
"""The label with `ContainerSpec.name`, since a Swarm does not take every name."""

SECOND = 1_000_000_000
LOG_DRIVER = {"Name": "json-file", "Options": {"max-size": LOG_SIZE, "max-file": LOG_FILES}}
_TMPFS = {"Options": [["exec"]]}
"""API 1.46; with an older engine, nothing in such a folder can be executed."""

_DNS_LABEL = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?")


class Manners(NamedTuple):
    """How a Swarm's services are made: the options of the plugin.

    ``resource`` is the kind of generic resource that its machines declare for each GPU, ``constraints`` are placement
    constraints, ``restart_delay`` is seconds between the end of a task and the start of the next. ``init``: a small
    init stands over the command, passes TERM on and reaps what is left behind.
    """

    resource: str = "NVIDIA-GPU"
    constraints: tuple[str, ...] = ()
    restart_delay: float = 5.0
    init: bool = True


def service_name(name: str) -> str:
    """What the service of a container is called: its name, or a digest where a Swarm would not take it as one."""
    if _DNS_LABEL.fullmatch(name):
        return name
    return f"ngpu-{hashlib.sha256(name.encode()).hexdigest()[:40]}"


def service_body(spec: ContainerSpec, manners: Manners) -> dict[str, Any]:
    """A service with no task yet; `with_tasks` gives it one.

    Its ports are published by the machine that runs it, which needs no mesh of virtual addresses in between. What is
    limited is reserved too, so that the Swarm counts memory and GPUs of each machine.
    """
    container: dict[str, Any] = {
        "Image": spec.image,
        "Labels": dict(spec.labels),
        "Args": list(spec.command),
        "Env": [f"{name}={value}" for name, value in _env(spec, manners).items()],
        "User": spec.user,
        "ReadOnly": spec.read_only,
        "Init": manners.init,
        "CapabilityDrop": [f"CAP_{name}" for name in DROPPED],
        "Privileges": {"NoNewPrivileges": True},  # API 1.44; an older engine passes over it
        "Mounts": list(_mounts(spec)),
        "StopGracePeriod": round(spec.stop_grace * SECOND),
    }
    gpus = [{"DiscreteResourceSpec": {"Kind": manners.resource, "Value": spec.gpus}}] if spec.gpus else []
    template = {
        "ContainerSpec": container,
        "Resources": {
            "Limits": {"MemoryBytes": spec.memory, "Pids": spec.pids},
            "Reservations": {"MemoryBytes": spec.memory, "GenericResources": gpus},
        },
        "RestartPolicy": {"Condition": "any", "Delay": round(manners.restart_delay * SECOND)},
        "Placement": {"Constraints": list(manners.constraints)},
        "LogDriver": LOG_DRIVER,
    }
    ports = [
        {"Protocol": "tcp", "TargetPort": inside, "PublishedPort": outside, "PublishMode": "host"}
        for inside, outside in spec.ports.items()
    ]
    return {
        "Name": service_name(spec.name),
        "Labels": {**spec.labels, NAME: spec.name},
        "TaskTemplate": template,
        "Mode": {"Replicated": {"Replicas": 0}},
        "UpdateConfig": {"Parallelism": 1, "FailureAction": "continue"},
        "EndpointSpec": {"Mode": "dnsrr", "Ports": ports},
    }


def _env(spec: ContainerSpec, manners: Manners) -> Mapping[str, str]:
    """The environment, without what would show a container other GPUs than those that the Swarm counts for it.

    The Swarm says in a variable of its own which these are, and NVIDIA's runtime goes by that one first.
    """
    counted = f"DOCKER_RESOURCE_{manners.resource}".upper()
    env = {name: value for name, value in spec.env.items() if name.upper() != counted}
    return {**env, VISIBLE: NO_GPU, **({} if spec.gpus else {counted: NO_GPU})}


def _mounts(spec: ContainerSpec) -> Sequence[dict[str, Any]]:
    mounts = [
        {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}
        for mount in spec.mounts
    ]
    mounts += [{"Type": "tmpfs", "Target": target, "TmpfsOptions": dict(_TMPFS)} for target in spec.tmpfs]
    if spec.shm:  # a service has no other way to say how large it is to be
        sized = {"SizeBytes": spec.shm}
        mounts.append({"Type": "tmpfs", "Target": "/dev/shm", "TmpfsOptions": sized})  # noqa: S108  # in the container
    return mounts


def with_tasks(spec: Mapping[str, Any], tasks: int) -> dict[str, Any]:
    """A service's ``Spec`` with so many tasks."""
    return {**spec, "Mode": {"Replicated": {"Replicas": tasks}}}


def begun_anew(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A service's ``Spec`` that ends its task and begins another one."""
    template = spec["TaskTemplate"]
    return {**spec, "TaskTemplate": {**template, "ForceUpdate": template.get("ForceUpdate", 0) + 1}}
