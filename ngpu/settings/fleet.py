"""The machines and how they are used: ``nodes``, ``registries``, ``fleet``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ngpu.settings.block import Block, written
from ngpu.settings.kinds import (
    Count,
    CountFrom1,
    FilePath,
    Host,
    Labels,
    Name,
    Options,
    PositiveDuration,
    Size,
    Text,
    matching,
)

Address = Annotated[Name, matching(r"\S+", "must be a node's address, without spaces")]
Engine = Annotated[
    Text,
    matching(
        r"([a-z][a-z0-9_]*\+)?(unix:///\S+|tcp://[^\s/:]+:[0-9]{1,5}|ssh://([^\s/@:]+@)?[^\s/:@]+(:[0-9]{1,5})?)",
        "must be unix:///run/docker.sock, tcp://host:2376 or ssh://user@host, with swarm+ before it for a Docker Swarm",
    ),
]


class NodeGpus(Block):
    """The GPUs of a machine; ``memory`` is that of each in bytes, 0 where it is not said.

    ``ids`` names them as the container runtime does (numbers or UUIDs); left out: 0, 1, …
    """

    type: Text = ""
    count: Count = 0
    memory: Size = 0
    ids: tuple[Name, ...] = ()


class EngineTls(Block):
    """The files with which a remote Docker engine is reached over TLS."""

    ca: FilePath
    cert: FilePath
    key: FilePath


class NodeSettings(Block):
    """One machine: its Ethereum address, the host where its published ports are reached, and what it has.

    ``weight`` says how much of the work it gets beside others, ``memory`` how many bytes of it copies may ask for
    (0: what its engine says it has).
    """

    address: Address
    host: Host
    engine: Engine | None = None
    engine_options: Options = written({})
    tls: EngineTls | None = None
    gpus: NodeGpus = written({})
    memory: Size = 0
    labels: Labels = written({})
    weight: CountFrom1 = 1


class Registry(Block):
    """The login at a registry of images; the password is in a file that holds nothing else."""

    username: Name
    password_file: FilePath


class FleetSettings(Block):
    """How copies are kept: ``name`` marks our containers, ``interval`` is the seconds between two looks at the engines.

    ``mounts`` are the folders of hosts that workspaces made at run time may mount; those of the file may mount any.
    """

    name: Annotated[Text, matching(r"[a-z0-9][a-z0-9-]{0,31}", "must be up to 32 letters a-z, digits and '-'")] = "ngpu"
    interval: PositiveDuration = written("5s")
    mounts: tuple[Name, ...] = Field(default=())
