"""What Docker's API is told of a container to make. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ngpu.containers import ContainerSpec

DROPPED = ("AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SETPCAP", "SYS_CHROOT")
"""Capabilities of Docker's default set that serving needs none of.

What stays lets a container begin as root, take its files and step down to a user of its own, and listen on port 80.
"""

TMPFS = "rw,exec,nosuid,nodev"
"""Programs compile kernels into /tmp and load them from there."""

VISIBLE, NO_GPU = "NVIDIA_VISIBLE_DEVICES", "void"
"""Where NVIDIA's runtime runs all containers, this variable alone says which GPUs one sees, and images say ``all``.

``void`` shows none and loads no driver (NVIDIA Container Toolkit, *Environment variables*).
"""

LOG_SIZE, LOG_FILES = "10m", "3"
"""Of what a container printed so much is kept, or the machine's disk fills up."""


@dataclass(frozen=True, slots=True)
class Manner:
    """What all containers of an engine have in common.

    :ivar init: whether a small init stands over the command: it passes TERM on and reaps what is left behind.
    :ivar gpu_driver: what device requests name.
    :ivar publish_ip: the machine's address on which ports are published; "" for what its engine does by default.
    """

    init: bool = True
    gpu_driver: str = "nvidia"
    publish_ip: str = ""


def container_config(spec: ContainerSpec, manner: Manner) -> dict[str, Any]:
    """The body of ``POST /containers/create``."""
    config: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in {**spec.env, **_visible(spec, manner.gpu_driver)}.items()],
        "Labels": dict(spec.labels),
        "ExposedPorts": {f"{port}/tcp": {} for port in spec.ports},
        "StopTimeout": round(spec.stop_grace),
        "HostConfig": _host_config(spec, manner),
    }
    if spec.command:
        config["Cmd"] = list(spec.command)
    if spec.user:
        config["User"] = spec.user
    return config


def _host_config(spec: ContainerSpec, manner: Manner) -> dict[str, Any]:
    host: dict[str, Any] = {
        "PortBindings": {
            f"{inside}/tcp": [{"HostIp": manner.publish_ip, "HostPort": str(outside)}]
            for inside, outside in spec.ports.items()
        },
        # up again after the machine's boot, and whatever code it ends with: it is a server
        "RestartPolicy": {"Name": "unless-stopped"},
        "Init": manner.init,
        "Privileged": False,
        "CapDrop": list(DROPPED),
        "SecurityOpt": ["no-new-privileges"],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": LOG_SIZE, "max-file": LOG_FILES}},
        "ReadonlyRootfs": spec.read_only,
        "Tmpfs": dict.fromkeys(spec.tmpfs, TMPFS),
        "Mounts": [
            {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}
            for mount in spec.mounts
        ],
    }
    if spec.gpus or spec.gpu_ids:
        host["DeviceRequests"] = [_device_request(spec, manner.gpu_driver)]
    if spec.memory:
        host |= {"Memory": spec.memory, "MemorySwap": spec.memory}  # no swap: it would only slow its end down
    if spec.pids:
        host["PidsLimit"] = spec.pids
    if spec.shm:
        host["ShmSize"] = spec.shm
    return host


def _visible(spec: ContainerSpec, driver: str) -> Mapping[str, str]:
    """What keeps a container from seeing GPUs of others, whatever its image or its workspace says."""
    if not (spec.gpus or spec.gpu_ids) or driver != "nvidia":
        return {VISIBLE: NO_GPU}  # another driver hands its GPUs over by itself
    return {VISIBLE: ",".join(spec.gpu_ids)} if spec.gpu_ids else {}  # of a number, the engine says which


def _device_request(spec: ContainerSpec, driver: str) -> Mapping[str, Any]:
    request: dict[str, Any] = {"Driver": driver, "Capabilities": [["gpu"]]}
    return request | ({"DeviceIDs": list(spec.gpu_ids)} if spec.gpu_ids else {"Count": spec.gpus})
