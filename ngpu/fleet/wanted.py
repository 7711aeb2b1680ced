"""What is wanted: from a workspace's settings to what its copies are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ngpu.archives.resuming import is_url
from ngpu.containers import COPY, FLEET, REVISION, WORKSPACE, ContainerSpec, Mount
from ngpu.placing import Demand, IPlacementPolicy
from ngpu.settings import Image, PlacementSettings, Workspace

GPUS = "ngpu.gpus"
"""Label of a container of ours: the GPUs that are its own, so that it can be adopted without its document."""

LEAST_GRACE = 1.0
"""Seconds; no workspace's ``grace`` counts as less."""

MakePolicy = Callable[[PlacementSettings], IPlacementPolicy]


@dataclass(frozen=True, slots=True)
class Source:
    """Where an image comes from: a reference, or an archive (an absolute path or a URL, which may hold a secret).

    ``foreign``: it was given at run time, perhaps by a customer, and must not lead into the operator's network.
    """

    kind: str
    location: str
    foreign: bool = False

    @property
    def key(self) -> str:
        """What its pin is kept under."""
        return f"{self.kind}:{self.location}"

    @property
    def archive(self) -> bool:
        """Whether it is a docker image tar."""
        return self.kind == "archive"


def source_of(image: Image, folder: Path, foreign: bool = False) -> Source:
    """The source that settings name; ``folder`` is where relative paths are taken from."""
    if image.reference is not None:
        return Source("reference", image.reference, foreign)
    location = image.archive or ""
    return Source("archive", location if is_url(location) else str(folder / location), foreign)


def registry_of(reference: str) -> str:
    """The host of a reference's registry, as it stands under ``registries`` (Docker Hub's is docker.io)."""
    first, slash, _ = reference.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a copy's container, but for what is each copy's own.

    ``image`` is the pin of ``source``: a reference with its digest, or the id of the image in an archive; "" until it
    is known. ``ports`` maps declared ports to container ports, ``publish`` declared ports to ports of the host.
    """

    source: Source
    image: str = ""
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[int, int] = field(default_factory=dict)
    publish: Mapping[int, int] = field(default_factory=dict)
    gpus: int = 0
    memory: int = 0
    pids: int = 0
    shm: int = 0
    user: str = ""
    read_only: bool = False
    tmpfs: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    stop_grace: float = 10.0

    @cached_property
    def revision(self) -> str:
        """The same for recipes that make equal containers, whatever the source is called."""
        made_of = self.document()
        del made_of["source"]
        made_of["ports"].sort()
        text = json.dumps(made_of, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @property
    def pinned_ports(self) -> tuple[int, ...]:
        """The ports of the host that it insists on."""
        return tuple(sorted(set(self.publish.values())))

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            **asdict(replace(self, env={}, ports={}, publish={})),
            "env": dict(self.env),
            "ports": [list(pair) for pair in self.ports.items()],
            "publish": [list(pair) for pair in sorted(self.publish.items())],
            "command": list(self.command),
            "tmpfs": list(self.tmpfs),
            "mounts": [asdict(mount) for mount in self.mounts],
        }


def recipe_of(document: Mapping[str, Any]) -> Recipe:
    """The recipe that was kept as this document.

    :raises KeyError, TypeError, ValueError: another version wrote it.
    """
    return Recipe(
        **{
            **document,
            "source": Source(**document["source"]),
            "command": tuple(document["command"]),
            "ports": {int(declared): int(inside) for declared, inside in document["ports"]},
            "publish": {int(declared): int(outside) for declared, outside in document["publish"]},
            "tmpfs": tuple(document["tmpfs"]),
            "mounts": tuple(Mount(**mount) for mount in document["mounts"]),
        }
    )


@dataclass(frozen=True, slots=True)
class Deployment:
    """A workspace that is to be deployed. ``grace`` is the seconds that a copy may take to come up."""

    workspace: str
    label: str
    replicas: int
    recipe: Recipe
    demand: Demand
    policy: IPlacementPolicy = field(compare=False)
    grace: float = 120.0
    slots: int = 1
    _pinned: dict[str, Recipe] = field(default_factory=dict, compare=False, repr=False)

    @property
    def digest(self) -> str:
        """What documents and labels call the workspace, never its id."""
        return digest_of(self.workspace)

    def pinned(self, image: str) -> Recipe:
        """The recipe with its image; the same object each time, as long as it is the same image."""
        if image not in self._pinned:
            self._pinned.clear()
            self._pinned[image] = replace(self.recipe, image=image)
        return self._pinned[image]

    @property
    def patience(self) -> float:
        """Seconds that a copy gets to come up, whatever ``grace`` says."""
        return max(self.grace, LEAST_GRACE)


def digest_of(workspace: str) -> str:
    """What documents and labels call a workspace: its id may be a credential."""
    return hashlib.sha256(workspace.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def deployment_of(
    workspace: Workspace, folder: Path, make_policy: MakePolicy, foreign: bool = False
) -> Deployment | None:
    """What a workspace's settings want deployed; ``None`` where its replicas run already.

    :param folder: that relative paths are taken from.
    :param foreign: whether it was made at run time; see `Source`.
    :raises ConfigError: its placement policy is unknown or refuses its options.
    """
    if workspace.image is None:
        return None
    box = workspace.container
    recipe = Recipe(
        source_of(workspace.image, folder, foreign),
        command=workspace.command,
        env=dict(workspace.env),
        ports=dict(workspace.ports),
        publish=dict(box.publish),
        gpus=workspace.gpus.count,
        memory=box.memory,
        pids=box.pids,
        shm=box.shm,
        user=box.user,
        read_only=box.read_only,
        tmpfs=box.tmpfs,
        mounts=tuple(Mount(mount.source, mount.target, mount.read_only) for mount in box.mounts),
        stop_grace=box.stop_grace,
    )
    demand = Demand(
        digest_of(workspace.id),
        gpu_type=workspace.gpus.type,
        gpu_memory=workspace.gpus.memory,
        labels=dict(workspace.placement.labels),
    )
    return Deployment(
        workspace.id,
        workspace.label,
        workspace.replicas,
        recipe,
        demand,
        make_policy(workspace.placement),
        workspace.health.grace,
        workspace.slots,
    )


def demand_of(deployment: Deployment, recipe: Recipe) -> Demand:
    """What one copy of this recipe needs of its node."""
    return replace(
        deployment.demand, gpus=recipe.gpus, memory=recipe.memory, ports=recipe.pinned_ports, image=recipe.image
    )


def container_name(fleet: str, copy: str) -> str:
    """What the container of a copy is called."""
    return f"ngpu-{fleet}-{copy}"


def container_spec(
    fleet: str, copy: str, workspace: str, gpu_ids: tuple[str, ...], recipe: Recipe, image: str
) -> ContainerSpec:
    """The container of one copy.

    :param workspace: its digest.
    :param image: what the node's engine calls the recipe's image.
    """
    ports: dict[int, int] = {}
    for declared, inside in recipe.ports.items():
        ports[inside] = recipe.publish.get(declared) or ports.get(inside, 0)
    return ContainerSpec(
        container_name(fleet, copy),
        image,
        recipe.command,
        dict(recipe.env),
        ports,
        recipe.gpus,
        gpu_ids,
        recipe.memory,
        recipe.pids,
        recipe.shm,
        recipe.user,
        recipe.read_only,
        recipe.tmpfs,
        recipe.mounts,
        {FLEET: fleet, WORKSPACE: workspace, COPY: copy, REVISION: recipe.revision, GPUS: ",".join(gpu_ids)},
        recipe.stop_grace,
    )
