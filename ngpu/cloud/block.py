"""From an image, a product and an order to a block of ``workspaces``, as an operator would have written it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ngpu.cloud.asked import ImageAsked, WorkspaceAsked
from ngpu.cloud.docker_run import DockerRun, parse_docker_run
from ngpu.cloud.docker_values import ALL_GPUS, add_port, port_mapping
from ngpu.cloud.products import Product
from ngpu.errors import BadRequest

GRACE = "15m"
"""How long a copy may take to come up: what customers bring loads models, and they cannot say how long that takes."""

_BARE_ID = re.compile(r"(sha256:)?[0-9a-f]{12,64}", re.ASCII)


def read_run(image: ImageAsked, mounts: Collection[str]) -> tuple[DockerRun, Mapping[int, int]]:
    """What an image's ``start_cmd`` asks for, and its ports together with those of ``port_mapping``.

    :param mounts: folders of the machines that may be mounted.
    :raises BadRequest: one of them cannot be taken, or they contradict each other.
    """
    run = parse_docker_run(image.start_cmd, mounts)
    ports = dict(run.ports)
    for declared, inside in port_mapping(image.port_mapping).items():
        add_port(ports, declared, inside, "start_cmd and port_mapping")
    if not ports:
        raise BadRequest("no port is declared: write -p 8075:4040 in start_cmd, or port_mapping 8075:4040")
    given, named = _bare(image.docker_image_id), _bare(run.image)
    if given and named and not (given.startswith(named) or named.startswith(given)):
        raise BadRequest("start_cmd names another image than docker_image_id")
    return run, ports


def _bare(image: str) -> str:
    """A short or long image id; "" for a name, which may stand for any id."""
    return image.removeprefix("sha256:") if _BARE_ID.fullmatch(image) else ""


def workspace_block(
    workspace_id: str,
    order: WorkspaceAsked,
    image: ImageAsked,
    product: Product,
    areas: Collection[str],
    mounts: Collection[str],
) -> dict[str, Any]:
    """The workspace that an order becomes.

    :param areas: those of the fleet's nodes.
    :raises BadRequest: image and product do not fit each other, or there is no such area.
    """
    run, ports = read_run(image, mounts)
    labels: dict[str, str] = {}
    if order.area != "*":
        if order.area not in areas:
            raise BadRequest(f"no node is in that area; there are {', '.join(['*', *sorted(areas)])}")
        labels["area"] = order.area
    return {
        "id": workspace_id,
        "name": order.workspace_name,
        "image": {"archive": image.wget_url},
        "command": list(run.command),
        "env": dict(run.env),
        "gpus": _gpus(run, product),
        "replicas": order.num,
        "ports": dict(ports),
        "container": _container(run),
        "placement": {"labels": labels},
        "health": {"grace": GRACE},
    }


def _gpus(run: DockerRun, product: Product) -> dict[str, Any]:
    wanted = 1 if run.gpus == ALL_GPUS else run.gpus
    if wanted > product.most:
        has = f"at most {product.most} on a machine" if product.most else "none"
        raise BadRequest(f"the image's start_cmd asks for GPUs ({wanted}), and this product has {has}")
    if not wanted:
        return {"count": 0}
    return {"type": product.gpu, "count": wanted, "memory": f"{product.video_memory}B"}


def _container(run: DockerRun) -> dict[str, Any]:
    mounts: Sequence[Mapping[str, Any]] = [
        {"source": each.source, "target": each.target, "read_only": each.read_only} for each in run.mounts
    ]
    said = {
        "memory": f"{run.memory}B" if run.memory else None,
        "shm": f"{run.shm}B" if run.shm else None,
        "pids": run.pids or None,
        "user": run.user or None,
        "read_only": run.read_only or None,
        "tmpfs": list(run.tmpfs) or None,
        "mounts": mounts or None,
        "stop_grace": None if run.stop_grace is None else f"{run.stop_grace}s",
    }
    return {key: value for key, value in said.items() if value is not None}
